"""The scripted provider: models that say what a file tells them to, without a network.

`scripted/echo` repeats the last user message. `scripted/PATH` follows a JSON
file of the project: a list of steps. Demos, docs and the tests of spells use
it as they would use any model; it is not a language model and costs nothing.

A step says what comes back:

    {"when": "weather in (\\w+)", "calls": [{"name": "weather", "arguments": {"city": "{{1}}"}}]}
    {"system": "editor", "text": "A short brief."}
    {"text": "half a sen", "error": "unavailable", "delay": 0.5}

Of the steps whose `system` fits the conversation's system text, the first whose
`when` is found in the last message answers, any number of times. Otherwise the
n-th step without `when` answers the n-th assistant turn. Nothing is remembered
between calls, so the same conversation gets the same answer, however many
conversations there are at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from llmspell.clock import Clock, SystemClock
from llmspell.effects.messages import (
    Message,
    ModelEvent,
    ModelReply,
    ModelRequest,
    TextDelta,
    ToolCall,
    Usage,
)
from llmspell.errors import CATALOGUE, ModelBadRequest, ModelError, ModelUnknown, nearest
from llmspell.values import JSON, Object, canonical, loads

ECHO = "echo"
"""The model that needs no script."""

_ECHO_MARK = "[scripted/echo] "
_ERRORS = {
    code.removeprefix("model."): cast(type[ModelError], kind)
    for code, kind in CATALOGUE.items()
    if code.startswith("model.")
}
_WORDS = re.compile(r"\s*\S+\s*")
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


class _Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: Object = {}


class _Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    input_tokens: int | None = None
    output_tokens: int | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer of a script."""

    when: str | None = None
    """Regular expression searched in the last message; its groups fill `{{1}}`, `{{name}}`."""
    system: str | None = None
    """Regular expression the system text must contain for this step to count at all."""
    text: str = ""
    calls: tuple[_Call, ...] = ()
    error: str | None = None
    """The answer breaks off with this error, a code without `model.`, after its text."""
    delay: float = 0.0
    """Seconds before the answer begins."""
    usage: _Spent = _Spent()
    """What the answer spent; counted from the characters, four to a token, where absent."""


class ScriptedProvider:
    """A provider that needs no network and no key.

    Args:
        project: Directory that scripts are read from; None = inline scripts only.
        scripts: Scripts given inline, by name: `{"tour": [{"text": "Hello"}]}` is `scripted/tour`.
        clock: Measures the steps' `delay`.

    Raises:
        ModelBadRequest: An inline script is not a list of steps.
    """

    name = "scripted"

    def __init__(
        self,
        project: Path | None = None,
        *,
        scripts: Mapping[str, Sequence[Object]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._project = project
        self._clock = clock or SystemClock()
        self._scripts = {name: _parse(list(s), name) for name, s in (scripts or {}).items()}

    async def stream(
        self, request: ModelRequest, *, model: str, idempotency_key: str = ""
    ) -> AsyncGenerator[ModelEvent]:
        """Answer as script `model` says: words as `TextDelta`s, then one `ModelReply`.

        Raises:
            ModelUnknown: The project has no such script.
            ModelBadRequest: The file is not a script, or no step of it fits.
            ModelError: Whatever the step says.
        """
        step, text, calls = await self._answer(request, model)
        await self._clock.sleep(step.delay)
        for word in _WORDS.findall(text):
            yield TextDelta(word)
        if step.error is not None:
            raise _ERRORS[step.error](f"the script {model!r} says {step.error}")
        yield ModelReply(
            text=text,
            calls=calls,
            finish="tool_calls" if calls else "stop",
            usage=_usage(request, step.usage, text, calls),
            model=f"{self.name}/{model}",
        )

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def _answer(
        self, request: ModelRequest, model: str
    ) -> tuple[Step, str, tuple[ToolCall, ...]]:
        if model == ECHO:
            asked = [message.text for message in request.messages if message.role == "user"]
            return Step(), _ECHO_MARK + (asked[-1] if asked else ""), ()
        steps = self._scripts.get(model)
        if steps is None:
            steps = await asyncio.to_thread(self._read, model)
        position = sum(message.role == "assistant" for message in request.messages)
        step, match = _choose(steps, request.messages, position, model)
        calls = tuple(
            ToolCall(
                id=f"call_{position + 1}_{number}",
                name=call.name,
                arguments=_fill(call.arguments, match),
            )
            for number, call in enumerate(step.calls, 1)
        )
        return step, _fill(step.text, match), calls

    def _read(self, model: str) -> tuple[Step, ...]:
        path = self._path(model)
        if path is None:
            raise ModelUnknown(
                f"the project has no script {model!r}",
                hint="use scripted/echo, or scripted/PATH with a file inside the project "
                "that is a JSON list of steps",
            )
        try:
            content = loads(path.read_bytes())
        except OSError as error:
            raise ModelBadRequest(
                f"the script {model!r} cannot be read: {error.strerror}"
            ) from None
        except ValueError as error:
            raise ModelBadRequest(f"the script {model!r} is not JSON: {error}") from None
        return _parse(content, model)

    def _path(self, model: str) -> Path | None:
        """Return the file a model's name means; None when it is not one inside the project."""
        if self._project is None or "\0" in model or ".." in Path(model).parts:
            return None
        root = self._project.resolve()
        # An absolute path replaces the root, and a link inside the project may lead out of it.
        path = (root / model).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None


def _parse(content: JSON, model: str) -> tuple[Step, ...]:
    """Return the steps of a script.

    Raises:
        ModelBadRequest: With the number of the step that is wrong.
    """
    if not isinstance(content, list):
        raise ModelBadRequest(f"the script {model!r} is not a list of steps")
    return tuple(
        _parse_step(item, f"step {number} of script {model!r}")
        for number, item in enumerate(cast(list[JSON], content), 1)
    )


def _parse_step(item: JSON, what: str) -> Step:
    if isinstance(item, dict):
        known = Step.__struct_fields__
        for key in cast(Object, item):
            if key not in known:
                close = nearest(key, known)
                suggestion = f"did you mean {close!r}? " if close else ""
                raise ModelBadRequest(
                    f"{what}: unknown key {key!r}",
                    hint=f"{suggestion}Allowed: {', '.join(sorted(known))}",
                )
    try:
        step = msgspec.convert(item, Step)
        for pattern in (step.when, step.system):
            re.compile(pattern or "")
    except (msgspec.ValidationError, re.error) as error:
        raise ModelBadRequest(f"{what}: {error}") from None
    if step.error is not None and step.error not in _ERRORS:
        raise ModelBadRequest(
            f"{what}: {step.error!r} is no error of a model",
            hint=f"Allowed: {', '.join(sorted(_ERRORS))}",
        )
    return step


def _choose(
    steps: Sequence[Step], messages: Sequence[Message], position: int, model: str
) -> tuple[Step, re.Match[str] | None]:
    system = "\n".join(message.text for message in messages if message.role == "system")
    fitting = [step for step in steps if step.system is None or re.search(step.system, system)]
    last = messages[-1].text if messages else ""
    for step in fitting:
        if step.when is not None and (match := re.search(step.when, last)):
            return step, match
    ordered = [step for step in fitting if step.when is None]
    if position < len(ordered):
        return ordered[position], None
    patterns = ", ".join(repr(step.when) for step in fitting if step.when is not None)
    steps_in_order = "1 step" if len(ordered) == 1 else f"{len(ordered)} steps"
    raise ModelBadRequest(
        f"the script {model!r} has no step for turn {position + 1}, after {last[:200]!r}",
        hint=f"it has {steps_in_order} in order, and answers to: {patterns or 'nothing else'}",
    )


def _fill(value: Any, match: re.Match[str] | None) -> Any:
    """Return `value` with `{{1}}` and `{{name}}` in its texts replaced by the match's groups."""
    if match is None:
        return value
    if isinstance(value, str):
        groups = {str(n): part for n, part in enumerate((match[0], *match.groups()))}
        groups |= match.groupdict()
        return _PLACEHOLDER.sub(lambda found: groups.get(found[1], found[0]) or "", value)
    if isinstance(value, dict):
        return {key: _fill(item, match) for key, item in cast(Object, value).items()}
    if isinstance(value, list):
        return [_fill(item, match) for item in cast(list[Any], value)]
    return value


def _usage(request: ModelRequest, said: _Spent, text: str, calls: tuple[ToolCall, ...]) -> Usage:
    read = sum(len(message.text) + _length(message.calls) for message in request.messages)
    written = len(text) + _length(calls)
    return Usage(
        input_tokens=_tokens(read) if said.input_tokens is None else said.input_tokens,
        output_tokens=_tokens(written) if said.output_tokens is None else said.output_tokens,
        calls=1,
        usd=0.0,
    )


def _length(calls: Sequence[ToolCall]) -> int:
    return sum(len(call.name) + len(canonical(call.arguments)) for call in calls)


def _tokens(characters: int) -> int:
    return -(-characters // 4)
