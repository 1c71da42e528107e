"""`llmspell run`: casts a published spell, or a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform
from llmspell.errors import LlmspellError, SpecMissing, UsageError

if TYPE_CHECKING:
    from llmspell.host.catalogue import Published
    from llmspell.host.remote import RemoteHost
    from llmspell.host.run_interface import RunHandle
    from llmspell.runs.record import Outcome
    from llmspell.security.principals import Caller

_DECLARES = re.compile(r"\b(?:Spell|Agent|Tool|Workflow)\s*\.\s*\w+\s*[({]")
_LINE = re.compile(r":\d+$")
_TESTS = "_test.lua"


def run(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="FILE_OR_NAME", help="A published name, or a Lua file.")
    ],
    input: Annotated[
        str | None,
        typer.Option(
            metavar="X", help="JSON, else a text for the only string field; - reads stdin."
        ),
    ] = None,
    arg: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="One field of the input.")
    ] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A file the spell finds in ctx.message.parts."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the whole outcome as JSON, the run's id included.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long the cast may take, e.g. 10m.")
    ] = None,
) -> None:
    """Cast a spell: progress on stderr, the result alone on stdout.

    Exit status: 0 completed, 1 failed, 2 usage, 3 a question, 130 interrupted.
    """
    from llmspell.cli.inputs import read_parts, read_timeout
    from llmspell.cli.outputs import show_outcome
    from llmspell.security.principals import local_caller

    parts = read_parts(file or [])
    caller = local_caller("cli").at("cli", message={"parts": parts} if parts else None)
    seconds = read_timeout(timeout)
    outcome = perform(_run(place_of(context), target, input, arg or [], caller, seconds))
    raise typer.Exit(show_outcome(outcome, as_json=json))


async def _run(
    place: Place,
    target: str,
    given: str | None,
    arguments: list[str],
    caller: Caller,
    timeout: float | None,
) -> Outcome:
    from llmspell.cli.inputs import read_input
    from llmspell.cli.outputs import say

    async with await place.attach() as host:
        project = place.address().project
        published = _published(host, target, project)
        if published is not None:
            value = read_input(given, arguments, published.input_schema)
            return await show_run(
                await host.start(
                    published.name, value, caller=caller, timeout=timeout, attached=True
                )
            )
        source = _read(target)
        if source is None:
            # The owner's error names what is published.
            return await host.cast(target, {}, caller=caller)
        _refuse_broken(host, target, project)
        value = read_input(given, arguments, None)
        outcome = await show_run(
            await host.start_source(*source, value, caller=caller, timeout=timeout, attached=True)
        )
        if outcome.ok and outcome.output is None and _DECLARES.search(source[1]):
            say(f"{target} returned nothing; to cast what it declares, {SpecMissing.hint_text}")
        return outcome


def _refuse_broken(host: RemoteHost, target: str, project: Path) -> None:
    """Refuse a file of the project that should publish something and does not.

    To cast it as a mere script would hide what keeps it from being published.

    Raises:
        LlmspellError: What is wrong with it.
    """
    path = Path(target).resolve()
    for problem in host.catalogue().problems:
        file = _LINE.sub("", str(problem.get("where", "")))
        if file and (project / file).resolve() == path:
            raise LlmspellError.from_value(problem)


def _read(target: str) -> tuple[str, str] | None:
    """Return the path and text of a file; None when `target` looks like a name.

    Raises:
        UsageError: It can't be read, or holds tests.
    """
    path = Path(target)
    if not path.suffix and not path.exists():
        return None
    if target.endswith(_TESTS):
        raise UsageError(f"{target} holds tests", hint=f"run them: llmspell test {target}")
    try:
        return str(path.resolve()), path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = f"what is published is cast by its name: llmspell run {path.stem}"
        raise UsageError(f"{target}: {error.strerror}", hint=hint) from None
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}", hint="") from None
    except UnicodeDecodeError:
        raise UsageError(f"{target}: not UTF-8", hint="") from None


def _published(host: RemoteHost, target: str, project: Path) -> Published | None:
    """Return the published spell that a name or a file stands for, unless its file is newer."""
    catalogue = host.catalogue()
    found = catalogue.get(target)
    if found is not None or not target.endswith(".lua"):
        return found
    path = Path(target).resolve()
    for spell in catalogue.spells:
        if (project / spell.file).resolve() == path and spell.problem is None:
            return spell
    return None


async def show_run(handle: RunHandle) -> Outcome:
    """Show a run's events as they come, and return what came of it.

    What it asks is asked on the terminal, where there is one; then it goes on.
    """
    from llmspell.cli.asking import has_terminal
    from llmspell.cli.outputs import show_event

    last = 0
    while True:
        async for event in handle.events(last, until_pause=True):
            if event.kind != "question" or not has_terminal():  # else it is asked in a moment
                show_event(event)
            last = event.number
        outcome = await handle.result()
        if outcome.state != "input_required" or not has_terminal() or not await _answered(handle):
            return outcome


async def _answered(handle: RunHandle) -> bool:
    """Ask the person everything a run asks; return whether all of it was answered."""
    from llmspell.cli.asking import Unanswered, ask

    questions = (await handle.record()).questions
    try:
        while questions:
            questions = (await ask(handle, questions[0])).questions
            if not questions:
                return True
    except Unanswered:
        return False
    return False  # it waits for something nobody can be asked here
