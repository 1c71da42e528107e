"""`llmspell state get`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.state.scopes import AsJson, OfRun, OfSession, OfSpell, OfUser, Scope, scope_of
from llmspell.cli.waiting import perform
from llmspell.errors import StateError

if TYPE_CHECKING:
    from llmspell.host.state_interface import StateItem


def get(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Which key.")],
    spell: OfSpell = None,
    session: OfSession = None,
    run: OfRun = None,
    user: OfUser = False,
    json: AsJson = False,
) -> None:
    """Print the value of a key.

    It is one of State.shared, or of the scope that is named. A text is printed as it is,
    anything else as JSON; with --json its version too.
    """
    import msgspec

    from llmspell.cli.outputs import show_json

    scope = scope_of(spell, session, run, user=user)
    found = perform(_get(place_of(context), scope, key))
    if found is None:
        raise StateError(f"no key {key!r} in {scope}", hint="'llmspell state scan' lists keys")
    if json:
        show_json(msgspec.to_builtins(found))
    elif isinstance(found.value, str):
        print(found.value)
    else:
        show_json(found.value)


async def _get(place: Place, scope: Scope, key: str) -> StateItem | None:
    async with await place.attach() as host:
        return await host.state.get(scope.name, scope.owner, key)
