"""Runs as A2A tasks: a run's record and log in, tasks and stream items out.

What is made here is A2A's JSON itself, not the SDK's protobuf messages: those
would turn whole numbers of an output into floats, forget the order of its
keys, and cost 20 us an event. Tests parse all of it with the SDK's types.

How a log reads as a task:
    `state`          a status update; a question or an error becomes its message
    `part`           a chunk of the artifact of that name
    `model.delta`    text that is part of the answer: a chunk of an artifact, one for
                     each model call; other text: a status update with a message,
                     because a draft is no output of the task
    `progress`       a status update with a message
The output is the last artifact, unless the last artifact's text is the output already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from llmspell.errors import LlmspellError
from llmspell.runs.record import TERMINAL, Event, Run, RunState
from llmspell.values import JSON, Object

GENERATION_KEY = "llmspell/generation"
"""Metadata of tasks and updates: the number of the log's event they stand at."""

SPELL_KEY = "llmspell/spell"
"""Metadata of a task: the spell it casts."""

SOURCE_KEY = "llmspell/source"
"""Metadata of a message: the agent whose text it is."""

ERROR_KEY = "llmspell/error"
"""Metadata of a failed task's status message: the error, with code, hint and run id."""

_RESULT = "result"
_RESTING = TERMINAL | {"input_required", "auth_required"}


def state_name(state: RunState) -> str:
    """Return a run's state as A2A writes it."""
    return f"TASK_STATE_{state.upper()}"


def timestamp(seconds: float) -> str:
    """Return a Unix time as RFC 3339 in UTC, to the microsecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def history_of(run: Run, length: int | None) -> list[Object]:
    """Return a task's messages in their order, the last `length` of them; None = all.

    A run that did not begin with an A2A message has none.
    """
    message = run.message
    if message is None or "messageId" not in message:
        return []
    latest = {name: part for name, part in message.items() if name != "history"}
    messages = [*cast("list[Object]", message.get("history", [])), latest]
    if length is not None:
        messages = messages[len(messages) - length :] if length < len(messages) else messages
    return [{**each, "contextId": run.session, "taskId": run.id} for each in messages]


class TaskView:
    """A run's log, read as a task: feed it the events in their order."""

    def __init__(self, run: Run) -> None:
        self._id = run.id
        self._context = run.session
        self._spell = run.spell
        self._state: RunState = "submitted"
        self._at = run.created_at
        self._said: Object | None = None
        self._artifacts: dict[str, _Artifact] = {}
        self._streaming: dict[str, _Artifact] = {}
        self.generation = 0
        """Number of the last event it was fed."""

    def task(self, history: list[Object], *, artifacts: bool = True) -> Object:
        """Return the task as it stands."""
        status: Object = {"state": state_name(self._state), "timestamp": timestamp(self._at)}
        if self._said is not None:
            status["message"] = self._said
        metadata: Object = {GENERATION_KEY: self.generation}
        if self._spell:
            metadata[SPELL_KEY] = self._spell
        task: Object = {"id": self._id, "contextId": self._context, "status": status}
        if artifacts and self._artifacts:
            task["artifacts"] = [artifact.to_value() for artifact in self._artifacts.values()]
        if history:
            task["history"] = history
        task["metadata"] = metadata
        return task

    def apply(self, event: Event, run: Run) -> list[Object]:
        """Take in the next event, and return the stream items it makes.

        Args:
            run: The record as it stands at this event or later; its output and
                error count when the event is the run's end.
        """
        self.generation = event.number
        data = event.data
        match event.kind:
            case "state":
                return self._changed(event, run)
            case "part":
                return [self._part(data)]
            case "model.delta" if data.get("answer"):
                return [self._streamed(data)]
            case "model.delta":
                return [self._status(event, self._message([{"text": data["text"]}], data))]
            case "model.ended":
                return self._stream_ended(str(data.get("source", "")))
            case "progress":
                self._said = self._message([{"text": _progress_text(data)}], {})
                return [self._status(event, self._said)]
            case _:
                return []

    def _changed(self, event: Event, run: Run) -> list[Object]:
        self._state = state = cast("RunState", event.data["state"])
        self._at = event.at
        self._spell = run.spell
        self._said = self._status_message(event.data, run)
        items: list[Object] = []
        if state == "completed":
            items += self._result(run)
        items.append(self._status(event, self._said))
        return items

    def _status_message(self, data: Object, run: Run) -> Object | None:
        error = data.get("error")
        if error is not None:
            problem = LlmspellError.from_value(error).with_run(self._id)
            message = self._message([{"text": problem.report()}], {})
            message["metadata"] = {ERROR_KEY: problem.to_value()}
            return message
        question = data.get("message")
        if question is None:
            return None
        parts: list[Object] = [{"text": question}]
        if not run.spell and run.input is not None:
            # The run waits for the choice of a spell: its input is what it may be chosen from.
            parts.append({"data": run.input, "mediaType": "application/json"})
        return self._message(parts, {})

    def _result(self, run: Run) -> list[Object]:
        parts = _parts_of(run)
        if not parts or self._is_said_already(run.output):
            return []
        artifact = self._artifacts[_RESULT] = _Artifact(_RESULT, _RESULT, parts)
        return [self._chunk(artifact, parts, last=True)]

    def _is_said_already(self, output: JSON) -> bool:
        if not isinstance(output, str) or not self._artifacts:
            return False
        return next(reversed(self._artifacts.values())).text() == output

    def _part(self, data: Object) -> Object:
        name = str(data.get("name") or "")
        id = f"part:{name}" if name else "part"
        part: Object = {kind: data[kind] for kind in ("text", "data") if kind in data}
        if data.get("media_type"):
            part["mediaType"] = data["media_type"]
        # Without a name it goes on where the last one ended; with one it is whole, unless told.
        append = bool(data.get("append", not name)) and id in self._artifacts
        if append:
            artifact = self._artifacts[id]
            artifact.parts.append(part)
        else:
            self._artifacts.pop(id, None)
            artifact = self._artifacts[id] = _Artifact(id, name, [part])
        return self._chunk(artifact, [part], append=append, last=bool(data.get("last")))

    def _streamed(self, data: Object) -> Object:
        source = str(data.get("source", ""))
        part: Object = {"text": data["text"]}
        artifact = self._streaming.get(source)
        if artifact is not None:
            artifact.parts.append(part)
            return self._chunk(artifact, [part], append=True)
        artifact = _Artifact(f"text-{len(self._artifacts) + 1}", source, [part])
        self._artifacts[artifact.id] = self._streaming[source] = artifact
        return self._chunk(artifact, [part])

    def _stream_ended(self, source: str) -> list[Object]:
        artifact = self._streaming.pop(source, None)
        if artifact is None:
            return []
        # Nobody knows which chunk is the last before this: an empty one says so.
        return [self._chunk(artifact, [{"text": ""}], append=True, last=True)]

    def _chunk(
        self,
        artifact: _Artifact,
        parts: list[Object],
        *,
        append: bool = False,
        last: bool = False,
    ) -> Object:
        body: Object = {"artifactId": artifact.id, "parts": parts}
        if artifact.name:
            body["name"] = artifact.name
        update: Object = {"taskId": self._id, "contextId": self._context, "artifact": body}
        if append:
            update["append"] = True
        if last:
            update["lastChunk"] = True
        update["metadata"] = {GENERATION_KEY: self.generation}
        return {"artifactUpdate": update}

    def _status(self, event: Event, message: Object | None) -> Object:
        status: Object = {"state": state_name(self._state), "timestamp": timestamp(event.at)}
        if message is not None:
            status["message"] = message
        return {
            "statusUpdate": {
                "taskId": self._id,
                "contextId": self._context,
                "status": status,
                "metadata": {GENERATION_KEY: self.generation},
            }
        }

    def _message(self, parts: list[Object], data: Object) -> Object:
        message: Object = {
            "messageId": f"{self._id}-{self.generation}",
            "contextId": self._context,
            "taskId": self._id,
            "role": "ROLE_AGENT",
            "parts": parts,
        }
        if data.get("source"):
            message["metadata"] = {SOURCE_KEY: data["source"]}
        return message


@dataclass(slots=True)
class _Artifact:
    """An artifact as it grows."""

    id: str
    name: str
    parts: list[Object] = field(default_factory=list[Object])

    def text(self) -> str | None:
        """Return its text when it holds nothing else."""
        if any("text" not in part for part in self.parts):
            return None
        return "".join(part["text"] for part in self.parts)

    def to_value(self) -> Object:
        """Return it as A2A JSON, neighbouring texts joined."""
        parts: list[Object] = []
        run: list[str] = []
        for part in self.parts:
            if part.keys() == {"text"}:
                run.append(part["text"])
                continue
            if run:
                parts.append({"text": "".join(run)})
                run = []
            parts.append(part)
        if run:
            parts.append({"text": "".join(run)})
        value: Object = {"artifactId": self.id}
        if self.name:
            value["name"] = self.name
        value["parts"] = parts
        return value


def is_rest(event: Event) -> bool:
    """Return whether the run has ended with this event, or waits for an answer."""
    return event.kind == "state" and event.data["state"] in _RESTING


def _parts_of(run: Run) -> list[Object]:
    if run.content is not None:
        return [part_of(each) for each in run.content]
    if run.output is None:
        return []
    if isinstance(run.output, str):
        return [{"text": run.output}]
    return [{"data": run.output, "mediaType": "application/json"}]


def part_of(content: Object) -> Object:
    """Return a typed part of an answer (what `Content.*` made in a spell) as an A2A part.

    A part this wire has no form for is sent as data.
    """
    part: Object
    match content:
        case {"type": "text" | "resource", "text": str(text)}:
            part = {"text": text}
        case {"type": "image" | "audio" | "resource", "data": str(data)}:
            part = {"raw": data}
        case {"type": "resource", "uri": str(uri)}:
            part = {"url": uri}
        case _:
            return {"data": content, "mediaType": "application/json"}
    media_type: Any = content.get("media_type") or _MEDIA_TYPES.get(content["type"])
    if media_type:
        part["mediaType"] = media_type
    if content.get("name"):
        part["filename"] = content["name"]
    return part


_MEDIA_TYPES = {"image": "image/png", "audio": "audio/wav"}


def _progress_text(data: Object) -> str:
    done, total = data.get("done"), data.get("total")
    count = f"{done:g}/{total:g}" if total is not None else f"{done:g}"
    message = data.get("message")
    return f"{message} ({count})" if message else count
