"""`llmspell runs list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError, nearest

if TYPE_CHECKING:
    from llmspell.runs.record import Run, RunState


def list_(
    context: typer.Context,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only runs in this state.")
    ] = None,
    spell: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only runs of this spell.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Only runs of this session.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 20,
    all: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    json: AsJson = False,
) -> None:
    """List runs, the last changed first."""
    from llmspell.cli.outputs import say, show_json

    found = perform(
        _find(place_of(context), _state(state), spell, session, None if all else limit + 1)
    )
    shown = found if all else found[:limit]
    if json:
        import msgspec

        show_json(msgspec.to_builtins(shown))
        return
    _show(shown)
    if len(found) > len(shown):
        say("there are more: --limit N, or --all")


async def _find(
    place: Place, state: RunState | None, spell: str | None, session: str | None, limit: int | None
) -> list[Run]:
    from llmspell.cli.runs.finding import all_runs

    found: list[Run] = []
    async with await place.attach() as host:
        async for run in all_runs(host, state=state, session=session):
            if spell is None or run.spell == spell:
                found.append(run)
                if len(found) == limit:
                    break
    return found


def _state(text: str | None) -> RunState | None:
    from llmspell.runs.record import RunState

    states = get_args(RunState)
    if text is not None and text not in states:
        near = nearest(text, states)
        hint = f"did you mean {near!r}? " if near else ""
        raise UsageError(
            f"no state {text!r}",
            hint=f"{hint}states: {', '.join(states)}; a state directory is named before the "
            "command: llmspell --state DIR runs list",
        )
    return cast("RunState | None", text)


def _show(runs: list[Run]) -> None:
    from llmspell.cli.tables import moment, show_table

    rows = [
        (
            run.id,
            run.spell or "-",
            run.state,
            run.door,
            run.session,
            moment(run.created_at),
            moment(run.updated_at),
        )
        for run in runs
    ]
    show_table(("id", "spell", "state", "door", "session", "begun", "changed"), rows)
