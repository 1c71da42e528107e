"""`llmspell state watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.state.scopes import AsJson, OfRun, OfSession, OfSpell, OfUser, Scope, scope_of
from llmspell.cli.waiting import perform
from llmspell.values import dumps

if TYPE_CHECKING:
    from llmspell.host.state_interface import StateChanges


def watch(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="How the keys begin.")] = "",
    spell: OfSpell = None,
    session: OfSession = None,
    run: OfRun = None,
    user: OfUser = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="V", help="Begin behind this version; else with what comes now."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Print each change of keys until Ctrl-C.

    They are those of State.shared, or of the scope that is named. One line a change: the newest
    value of a key, or that it is gone. Changes that follow each other quickly may be one. With
    --json each line is an object.
    """
    scope = scope_of(spell, session, run, user=user)
    perform(_watch(place_of(context), scope, prefix, since, as_json=json))


async def _watch(
    place: Place, scope: Scope, prefix: str, since: str | None, *, as_json: bool
) -> None:
    async with await place.attach() as host:
        while True:
            found = await host.state.watch(scope.name, scope.owner, prefix, since=since)
            since = found.next
            _show(found, as_json=as_json)


def _show(found: StateChanges, *, as_json: bool) -> None:
    from llmspell.cli.outputs import say
    from llmspell.cli.tables import clean

    if found.resync:
        say("changes were missed: 'llmspell state scan' shows what is there")
    for change in found.changes:
        if as_json:
            print(dumps(change), flush=True)
        else:
            value = "(deleted)" if change.deleted else dumps(change.value)
            print(f"{clean(change.key)}  {clean(value)}  {change.version}", flush=True)
