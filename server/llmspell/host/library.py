"""The library of a host: what there is to read, to fill in and to complete. See `Library`.

What a function makes is cast like a spell, with the rights of the file it stands in; the rest
(sources of spells, files, runs, texts with placeholders) is answered here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from llmspell.components.arguments import from_texts
from llmspell.components.template import as_text, render
from llmspell.config import Project
from llmspell.errors import (
    AccessForbidden,
    InputInvalid,
    LlmspellError,
    OutputInvalid,
    PromptNotFound,
    ResourceNotFound,
    RunError,
    RunNotFound,
)
from llmspell.host import run_resources
from llmspell.host.interface import Catalogue, RunHandle, RunPage, WaitedHandle
from llmspell.host.library_interface import (
    Completions,
    PromptMessage,
    PromptRef,
    PublishedResource,
    ResourceContent,
    ResourceRef,
)
from llmspell.host.project_files import ProjectFiles
from llmspell.host.shelf import SOURCE_TYPE, PromptEntry, ResourceEntry, Shelf
from llmspell.host.skills import SKILL_TYPE, Skill, skills_of
from llmspell.host.spellbook import Spellbook
from llmspell.runs.castable import Castable
from llmspell.runs.log import ListKind
from llmspell.runs.parts import variables_schema
from llmspell.runs.record import Event, Outcome
from llmspell.security.principals import Caller
from llmspell.security.scopes import require_read
from llmspell.values import JSON, Object, dumps

MAX_COMPLETIONS = 100
"""Most values that are proposed at once (completion, "Completion Results")."""

MAX_MESSAGES = 200
"""Most messages of one prompt."""

_log = logging.getLogger(__name__)


class LibraryHost(Protocol):
    """What the library needs of its host."""

    @property
    def project(self) -> Project:
        """The project."""
        ...

    async def run(self, run_id: str, *, caller: Caller) -> RunHandle:
        """Return the handle of a run of the caller."""
        ...

    async def runs(self, *, caller: Caller, limit: int = 50) -> RunPage:
        """Return the caller's runs, the last updated first."""
        ...

    def begin_part(self, castable: Castable, input: JSON, caller: Caller) -> WaitedHandle:
        """Begin a cast of a part of a file for a caller that waits."""
        ...


class ProjectLibrary:
    """See `Library`."""

    def __init__(self, host: LibraryHost, book: Spellbook) -> None:
        project = host.project
        self._host = host
        self._book = book
        self._files = ProjectFiles(
            project.root,
            project.settings.mcp.resources,
            state=project.state,
            limit_bytes=project.settings.limits.output_bytes,
        )
        self._shelf: Shelf = book.shelf
        self._documented: tuple[Catalogue, Mapping[str, Skill]] | None = None
        self._listeners: list[Callable[[str, str | None], None]] = []
        self._watcher: asyncio.Task[None] | None = None
        self._detach: Callable[[], None] = lambda: None
        self._list_listeners: list[Callable[[ListKind], None]] = []

    # -- resources

    async def resources(self) -> Sequence[PublishedResource]:
        """Return what the catalogue has and the project's files, sorted by URI."""
        files = await self._files.list()
        everything = [*self._book.catalogue.resources, *files]
        return sorted(everything, key=lambda each: (each.is_template, each.uri))

    async def read(self, uri: str, *, caller: Caller) -> Sequence[ResourceContent] | WaitedHandle:
        """Return a resource's contents, or the run that makes them.

        Raises:
            ResourceNotFound: There is none the caller may read.
            OutputTooLarge: It is larger than the limit.
        """
        run = run_resources.parse(uri)
        if run is not None:
            return await self._read_run(uri, run, caller)
        require_read(caller)
        shelf = self._book.shelf
        skill = self._skills().get(uri)
        if skill is not None:
            return [ResourceContent(uri=uri, media_type=SKILL_TYPE, text=skill.text)]
        source = shelf.sources.get(uri)
        if source is not None and source.program is not None:
            text = source.program.source.decode("utf-8", "replace")
            return [ResourceContent(uri=uri, media_type=SOURCE_TYPE, text=text)]
        found = shelf.find(uri)
        if found is None:
            return [await self._files.read(uri)]
        entry, values = found
        schema = variables_schema(entry.spec.template, entry.spec.params)
        try:
            return self._host.begin_part(entry.castable, from_texts(schema, values), caller)
        except InputInvalid as error:
            # The URI is of the template's form, and names nothing the template has.
            raise ResourceNotFound(f"there is no resource {uri[:200]!r}: {error.message}") from None

    def contents(self, uri: str, outcome: Outcome) -> Sequence[ResourceContent]:
        """Return the contents that a completed run of `read` made.

        Raises:
            ResourceNotFound: The function of the resource returned nothing.
            OutputInvalid: What it returned is no content.
            LlmspellError: The run did not complete.
        """
        _check(outcome)
        found = self._book.shelf.find(uri)
        media_type = found[0].spec.media_type if found is not None else ""
        if outcome.content is not None:
            return run_resources.contents_of(uri, outcome.content, media_type)
        if outcome.output is None:
            raise ResourceNotFound(f"there is no resource {uri[:200]!r}", run_id=outcome.run_id)
        return [run_resources.value_content(uri, outcome.output, media_type)]

    async def has(self, uri: str, *, caller: Caller) -> bool:
        """Return whether the caller may subscribe to this URI. Runs are not asked for here."""
        try:
            require_read(caller)
        except AccessForbidden:
            return False
        shelf = self._book.shelf
        if uri in shelf.sources or uri in self._skills() or shelf.find(uri) is not None:
            return True
        return await self._files.has(uri)

    def skills(self, *, caller: Caller) -> Sequence[Skill]:
        """Return the documentation of the spells, sorted by URI.

        Raises:
            AccessForbidden: The caller may not read it.
        """
        require_read(caller)
        return [*self._skills().values()]

    def _skills(self) -> Mapping[str, Skill]:
        catalogue = self._book.catalogue
        if self._documented is None or self._documented[0] is not catalogue:
            self._documented = catalogue, skills_of(catalogue.spells)
        return self._documented[1]

    async def _read_run(
        self, uri: str, asked: run_resources.RunUri, caller: Caller
    ) -> Sequence[ResourceContent]:
        try:
            handle = await self._host.run(asked.run_id, caller=caller)
            run = await handle.record()
            match asked.part:
                case "record":
                    return [run_resources.record_content(uri, run)]
                case "result":
                    return run_resources.result_content(uri, run)
                case "log":
                    events = await _page(handle, asked.after, run.generation)
                    return [run_resources.log_content(asked, events)]
        except RunNotFound as error:
            raise ResourceNotFound(error.message) from None

    # -- prompts

    async def prompt(
        self, name: str, arguments: Mapping[str, str], *, caller: Caller
    ) -> Sequence[PromptMessage] | WaitedHandle:
        """Return a prompt's messages, or the run that makes them.

        Raises:
            PromptNotFound: There is none of this name.
            InputInvalid: An argument is missing, unknown or does not fit.
            TemplateError: Its text has a placeholder that nothing fills.
        """
        require_read(caller)
        entry = self._prompt(name)
        limit = self._host.project.settings.limits.input_bytes
        # An empty text is what a form gives for an argument that was left out.
        required = {each.name for each in entry.published.arguments if each.required}
        given = {key: text for key, text in arguments.items() if text != "" or key in required}
        schema = entry.castable.spec.input
        try:
            input = entry.castable.accept_input(from_texts(schema, given), limit_bytes=limit)
        except InputInvalid as error:
            raise _unfit(name, error) from None
        if entry.is_call:
            return [_text(_call_of(entry, input))]
        if entry.text is None:
            return self._host.begin_part(entry.castable, input, caller)
        absent: Object = {each.name: None for each in entry.published.arguments}
        return [_text(as_text(render(entry.text, {"input": {**absent, **input}})))]

    def messages(self, outcome: Outcome) -> Sequence[PromptMessage]:
        """Return the messages that a completed run of `prompt` made.

        Raises:
            OutputInvalid: What the function returned is no list of messages.
            LlmspellError: The run did not complete.
        """
        _check(outcome)
        if outcome.content is not None:
            return [PromptMessage(role="user", part=part) for part in outcome.content]
        output = outcome.output
        items: list[Any] = cast("list[Any]", output) if isinstance(output, list) else [output]
        if not items or len(items) > MAX_MESSAGES:
            raise _no_messages(outcome, f"a prompt has 1 to {MAX_MESSAGES} messages")
        return [message for item in items for message in _messages(item, outcome)]

    def _prompt(self, name: str) -> PromptEntry:
        entry = self._book.shelf.by_name.get(name)
        if entry is None:
            raise PromptNotFound(f"there is no prompt {name[:64]!r}")
        return entry

    # -- completion

    async def complete(
        self,
        ref: PromptRef | ResourceRef,
        argument: str,
        value: str,
        context: Mapping[str, str],
        *,
        caller: Caller,
    ) -> Completions:
        """Return what an argument's value may go on to, from its schema or its own function.

        Raises:
            PromptNotFound: There is no such prompt.
            ResourceNotFound: There is no such template.
            InputInvalid: It has no such argument.
        """
        require_read(caller)
        kind, name = ref
        if kind == "resource" and name.startswith("run://"):
            return await self._run_ids(name, argument, value, caller)
        if kind == "prompt":
            entry: PromptEntry | ResourceEntry = self._prompt(name)
            schema = entry.castable.spec.input
        else:
            entry = self._template(name)
            schema = variables_schema(entry.spec.template, entry.spec.params)
        fields: Object = schema.get("properties") or {}
        if argument not in fields:
            raise InputInvalid(
                f"{name[:200]!r} has no argument {argument[:64]!r}",
                hint=f"it has: {', '.join(fields) or 'none'}",
            )
        function = entry.completions.get(argument)
        if function is not None:
            return await self._completed(function, value, context, caller)
        return _matching(_values_of(fields[argument]), value)

    def _template(self, uri: str) -> ResourceEntry:
        shelf = self._book.shelf
        entry = shelf.by_template.get(uri) or shelf.by_uri.get(uri)
        if entry is None:
            raise ResourceNotFound(f"there is no resource template {uri[:200]!r}")
        return entry

    async def _run_ids(
        self, template: str, argument: str, value: str, caller: Caller
    ) -> Completions:
        if template not in {each.uri for each in run_resources.TEMPLATES} or argument != "id":
            raise ResourceNotFound(f"there is no resource template {template[:200]!r}")
        page = await self._host.runs(caller=caller, limit=MAX_COMPLETIONS)
        # What only read or filled in something has nothing worth reading.
        spells = [run for run in page.runs if ":" not in run.spell]
        found = tuple(run.id for run in spells if run.id.startswith(value))
        return Completions(values=found, total=len(found))

    async def _completed(
        self, function: Castable, value: str, context: Mapping[str, str], caller: Caller
    ) -> Completions:
        waiting = self._host.begin_part(
            function, {"value": value, "context": dict(context)}, caller
        )
        try:
            outcome = await waiting.result()
            _check(outcome)
        finally:
            await waiting.leave()
        output: Any = outcome.output
        if not isinstance(output, list) and output not in ({}, None):
            raise OutputInvalid("a function that completes returns a list", run_id=outcome.run_id)
        listed = cast("list[Any]", output or [])
        values = [item if isinstance(item, str) else dumps(item) for item in listed]
        unique = tuple(dict.fromkeys(values))
        return Completions(values=unique[:MAX_COMPLETIONS], total=len(unique))

    # -- changes

    def on_update(self, listener: Callable[[str, str | None], None]) -> Callable[[], None]:
        """Call `listener` with each URI whose content changed; return what ends that."""
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def on_list(self, listener: Callable[[ListKind], None]) -> Callable[[], None]:
        """Call `listener` with what changed beside the catalogue: resources when files came or
        went, and whatever list a run says has changed. Return what ends that.
        """
        self._list_listeners.append(listener)

        def end() -> None:
            if listener in self._list_listeners:
                self._list_listeners.remove(listener)

        return end

    def list_changed(self, kind: ListKind) -> None:
        """Tell that a list changed."""
        for listener in list(self._list_listeners):
            listener(kind)

    def updated(self, uri: str, tenant: str | None = None) -> None:
        """Tell that a resource's content changed."""
        for listener in list(self._listeners):
            listener(uri, tenant)

    def begin(self, *, watch: bool) -> None:
        """Begin to follow the spellbook, and with `watch` the published files."""
        self._shelf = self._book.shelf
        self._detach = self._book.on_change(self._catalogue_changed)
        if watch:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Follow nothing any more. Closing twice is no error."""
        self._detach()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _watch(self) -> None:
        try:
            await self._files.watch(self._files_changed)
        except Exception:  # a lost watcher must be seen, and must not end the server
            _log.exception("watching the published files failed; their changes are not told of")

    def _files_changed(self, uris: Sequence[str], is_list_changed: bool) -> None:
        if is_list_changed:
            self.list_changed("resources")
        for uri in uris:
            self.updated(uri)

    def _catalogue_changed(self, catalogue: Catalogue) -> None:
        before, self._shelf = self._shelf, self._book.shelf
        for uri, castable in self._shelf.sources.items():
            old = before.sources.get(uri)
            if old is not None and old.version != castable.version:
                self.updated(uri)
        self._skills_changed()
        for uri, entry in self._shelf.by_uri.items():
            known = before.by_uri.get(uri)
            if known is not None and known.castable.version != entry.castable.version:
                self.updated(uri)

    def _skills_changed(self) -> None:
        if self._documented is None:
            return  # nobody has read one
        before = self._documented[1]
        for uri, skill in self._skills().items():
            old = before.get(uri)
            if old is not None and old.digest != skill.digest:
                self.updated(uri)


async def _page(handle: RunHandle, after: int, last: int) -> list[Event]:
    """Return the events of one page of a log and one more, where there is one."""
    events: list[Event] = []
    if after >= last:
        return events  # nothing is there yet: reading on would wait for it
    async for event in handle.events(after):
        events.append(event)
        if event.number >= last or len(events) > run_resources.LOG_PAGE:
            break
    return events


def _check(outcome: Outcome) -> None:
    if outcome.ok:
        return
    if outcome.error is not None:
        raise LlmspellError.from_value(outcome.error).with_run(outcome.run_id)
    raise RunError(
        f"the run of {outcome.spell!r} is {outcome.state}: nobody could answer what it asks",
        run_id=outcome.run_id,
    )


def _unfit(name: str, error: InputInvalid) -> InputInvalid:
    problems: list[Object] = (error.data or {}).get("errors", [])
    about = [": ".join(filter(None, (each["field"], each["message"]))) for each in problems]
    return InputInvalid(
        f"the arguments of the prompt {name!r} do not fit: {'; '.join(about) or error.message}",
        hint="prompts/list says what it takes",
        data=error.data,
    )


def _text(text: str) -> PromptMessage:
    return PromptMessage(role="user", part={"type": "text", "text": text})


def _call_of(entry: PromptEntry, input: JSON) -> str:
    about = entry.published.description
    lines = [f"Use the tool {entry.published.name!r}" + (f": {about}" if about else ".")]
    if input:
        lines.append(f"Its input:\n{dumps(input)}")
    return "\n\n".join(lines)


def _messages(item: Any, outcome: Outcome) -> list[PromptMessage]:
    if isinstance(item, str):
        return [_text(item)]
    if not isinstance(item, dict):
        raise _no_messages(outcome, "a message is a text or a table")
    table = cast(Object, item)
    role = table.get("role", "user")
    body: Any = table.get("content", table.get("text"))
    if role not in ("user", "assistant") or not set(table) <= {"role", "content", "text"}:
        raise _no_messages(outcome, "a message is { role = 'user' or 'assistant', text | content }")
    if isinstance(body, str):
        return [PromptMessage(role=role, part={"type": "text", "text": body})]
    parts: Any = cast(Object, body).get("$content") if isinstance(body, dict) else None
    if not isinstance(parts, list) or not parts:
        raise _no_messages(outcome, "the content of a message is a text or made by Content.*")
    return [PromptMessage(role=role, part=part) for part in cast("list[Object]", parts)]


def _no_messages(outcome: Outcome, what: str) -> OutputInvalid:
    return OutputInvalid(f"{outcome.spell!r} returned no messages: {what}", run_id=outcome.run_id)


def _values_of(schema: Any) -> list[str]:
    table = cast(Object, schema) if isinstance(schema, dict) else {}
    values: Any = table.get("enum")
    if isinstance(values, list):
        listed = cast("list[Any]", values)
        return [value if isinstance(value, str) else dumps(value) for value in listed]
    return ["true", "false"] if table.get("type") == "boolean" else []


def _matching(values: Sequence[str], value: str) -> Completions:
    """Return the values that begin with a text, then those that hold it, in any case."""
    typed = value.casefold()
    first = [each for each in values if each.casefold().startswith(typed)]
    then = [each for each in values if typed in each.casefold() and each not in first]
    found = (*first, *then)
    return Completions(values=found[:MAX_COMPLETIONS], total=len(found))
