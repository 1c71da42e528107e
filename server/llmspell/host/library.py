"""The library of a host: what there is to read and to fill in. See `Library`.

What a function makes is cast like a spell, with the rights of the file it stands in; the
rest (sources of spells, files, runs, texts with placeholders) is answered here. Completion
is `completing`'s part, telling of changes `library_changes`'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmspell.components.arguments import from_texts
from llmspell.components.template import as_text, render
from llmspell.config import Project
from llmspell.errors import (
    AccessForbidden,
    InputInvalid,
    ResourceNotFound,
    RunNotFound,
)
from llmspell.host import run_resources
from llmspell.host.completing import Completing
from llmspell.host.library_changes import LibraryChanges
from llmspell.host.library_interface import (
    Completions,
    PromptMessage,
    PromptRef,
    PublishedResource,
    ResourceContent,
    ResourceRef,
)
from llmspell.host.part_casts import PartHost, check_completed
from llmspell.host.project_files import ProjectFiles
from llmspell.host.prompt_messages import call_message, messages_of, text_message
from llmspell.host.run_interface import RunHandle, WaitedHandle
from llmspell.host.shelf import SOURCE_TYPE
from llmspell.host.skills import SKILL_TYPE, Skill, Skills
from llmspell.host.spellbook import Spellbook
from llmspell.runs.log import ListKind
from llmspell.runs.parts import variables_schema
from llmspell.runs.record import Event, Outcome
from llmspell.security.principals import Caller
from llmspell.security.scopes import require_read
from llmspell.values import Object


class ProjectLibrary:
    """See `Library`."""

    def __init__(self, host: PartHost, project: Project, book: Spellbook) -> None:
        self._host = host
        self._book = book
        self._limits = project.settings.limits
        self._files = ProjectFiles(
            project.root,
            project.settings.mcp.resources,
            state=project.state,
            limit_bytes=self._limits.output_bytes,
        )
        self._skills = Skills(book)
        self._completing = Completing(host, book)
        self._changes = LibraryChanges(book, self._files, self._skills)

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
        skill = self._skills.now().get(uri)
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
        check_completed(outcome)
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
        if uri in shelf.sources or uri in self._skills.now() or shelf.find(uri) is not None:
            return True
        return await self._files.has(uri)

    def skills(self, *, caller: Caller) -> Sequence[Skill]:
        """Return the documentation of the spells, sorted by URI.

        Raises:
            AccessForbidden: The caller may not read it.
        """
        require_read(caller)
        return [*self._skills.now().values()]

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
        entry = self._book.shelf.prompt(name)
        limit = self._limits.input_bytes
        # An empty text is what a form gives for an argument that was left out.
        required = {each.name for each in entry.published.arguments if each.required}
        given = {key: text for key, text in arguments.items() if text != "" or key in required}
        schema = entry.castable.spec.input
        try:
            input = entry.castable.accept_input(from_texts(schema, given), limit_bytes=limit)
        except InputInvalid as error:
            raise _unfit(name, error) from None
        if entry.is_call:
            return [call_message(entry, input)]
        if entry.text is None:
            return self._host.begin_part(entry.castable, input, caller)
        absent: Object = {each.name: None for each in entry.published.arguments}
        return [text_message(as_text(render(entry.text, {"input": {**absent, **input}})))]

    def messages(self, outcome: Outcome) -> Sequence[PromptMessage]:
        """Return the messages that a completed run of `prompt` made.

        Raises:
            OutputInvalid: What the function returned is no list of messages.
            LlmspellError: The run did not complete.
        """
        check_completed(outcome)
        return messages_of(outcome)

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
        return await self._completing.complete(ref, argument, value, context, caller)

    # -- changes

    def on_update(self, listener: Callable[[str, str | None], None]) -> Callable[[], None]:
        """Call `listener` with each URI whose content changed; return what ends that."""
        return self._changes.on_update(listener)

    def on_list(self, listener: Callable[[ListKind], None]) -> Callable[[], None]:
        """Call `listener` with what changed beside the catalogue; return what ends that.

        Resources when files came or went, and whatever list a run says has changed.
        """
        return self._changes.on_list(listener)

    def list_changed(self, kind: ListKind) -> None:
        """Tell that a run says a list changed."""
        self._changes.list_changed(kind)

    def resource_changed(self, tenant: str, uri: str) -> None:
        """Tell that a run changed what a resource holds."""
        self._changes.updated(uri, tenant)

    def begin(self, *, watch: bool) -> None:
        """Begin to follow the spellbook, and with `watch` the published files."""
        self._changes.begin(watch=watch)

    async def close(self) -> None:
        """Follow nothing any more. Closing twice is no error."""
        await self._changes.close()


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


def _unfit(name: str, error: InputInvalid) -> InputInvalid:
    problems: list[Object] = (error.data or {}).get("errors", [])
    about = [": ".join(filter(None, (each["field"], each["message"]))) for each in problems]
    return InputInvalid(
        f"the arguments of the prompt {name!r} do not fit: {'; '.join(about) or error.message}",
        hint="prompts/list says what it takes",
        data=error.data,
    )
