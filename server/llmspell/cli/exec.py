"""`llmspell exec`: casts a piece of Lua given on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.run import show_run
from llmspell.cli.waiting import perform
from llmspell.errors import SpecSyntax

if TYPE_CHECKING:
    from llmspell.runs.record import Outcome


def exec_(
    context: typer.Context,
    chunk: Annotated[str, typer.Argument(metavar="LUA", help="For example: 'return 1 + 1'.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print the whole outcome as JSON, the run's id included.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long the cast may take, e.g. 10m.")
    ] = None,
) -> None:
    """Cast a piece of Lua and print what it returns."""
    from llmspell.cli.inputs import read_timeout
    from llmspell.cli.outputs import show_outcome

    outcome = perform(_exec(place_of(context), chunk, read_timeout(timeout)))
    raise typer.Exit(show_outcome(outcome, as_json=json))


async def _exec(place: Place, chunk: str, timeout: float | None) -> Outcome:
    async with await place.attach() as host:
        handle = await host.start_source("exec", chunk, {}, timeout=timeout, attached=True)
        return _explained(await show_run(handle), chunk)


def _explained(outcome: Outcome, chunk: str) -> Outcome:
    """Return an outcome that says what is wrong with the piece of Lua where it is none."""
    error = outcome.error
    if error is None or error["code"] != SpecSyntax.code:
        return outcome
    import msgspec

    from llmspell.authoring.syntax_hints import syntax_hint

    line = chunk if "\n" not in chunk else ""
    hint = syntax_hint(str(error["message"]), line)
    if not hint and line and not line.startswith("return"):
        hint = f"a value is printed when it is returned: return {line}"
    return msgspec.structs.replace(outcome, error={**error, "hint": hint})
