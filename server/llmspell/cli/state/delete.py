"""`llmspell state delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.state.scopes import AsJson, OfRun, OfSession, OfSpell, OfUser, Scope, scope_of
from llmspell.cli.waiting import perform


def delete(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Which key.")],
    spell: OfSpell = None,
    session: OfSession = None,
    run: OfRun = None,
    user: OfUser = False,
    if_version: Annotated[
        str | None,
        typer.Option(metavar="V", help="Delete only while the key has this version."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Delete a key; an absent one is no error.

    It is one of State.shared, or of the scope that is named.
    """
    from llmspell.cli.outputs import say, show_json

    scope = scope_of(spell, session, run, user=user)
    was_there = perform(_delete(place_of(context), scope, key, if_version))
    if json:
        show_json({"key": key, "deleted": was_there})
    else:
        say("deleted" if was_there else f"no key {key!r} in {scope}")


async def _delete(place: Place, scope: Scope, key: str, if_version: str | None) -> bool:
    async with await place.attach() as host:
        return await host.state.delete(scope.name, scope.owner, key, if_version=if_version)
