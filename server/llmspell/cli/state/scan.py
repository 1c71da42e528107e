"""`llmspell state scan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.state.scopes import AsJson, OfRun, OfSession, OfSpell, OfUser, Scope, scope_of
from llmspell.cli.waiting import perform
from llmspell.errors import OutputTooLarge
from llmspell.values import dumps

if TYPE_CHECKING:
    from llmspell.host.state_interface import StateItem

_PAGE = 1000


def scan(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="How the keys begin.")] = "",
    spell: OfSpell = None,
    session: OfSession = None,
    run: OfRun = None,
    user: OfUser = False,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Begin behind this key.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 100,
    all: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="The last key first.")] = False,
    json: AsJson = False,
) -> None:
    """List keys with values and versions.

    They are those of State.shared, or of the scope that is named.
    """
    import msgspec

    from llmspell.cli.outputs import say, show_json
    from llmspell.cli.tables import show_table

    wanted = None if all else limit
    scope = scope_of(spell, session, run, user=user)
    items, following = perform(
        _scan(place_of(context), scope, prefix, after, wanted, reverse=reverse)
    )
    if json:
        show_json({"items": msgspec.to_builtins(items), "next": following})
        return
    rows = [(item.key, dumps(item.value), item.version) for item in items]
    show_table(("key", "value", "version"), rows)
    if following is not None:
        say(f"there are more: --after {following!r}, --limit N, or --all")


async def _scan(
    place: Place, scope: Scope, prefix: str, after: str | None, wanted: int | None, *, reverse: bool
) -> tuple[list[StateItem], str | None]:
    items: list[StateItem] = []
    largest = _PAGE
    async with await place.attach() as host:
        while True:
            limit = largest if wanted is None else min(largest, wanted - len(items))
            try:
                page = await host.state.scan(
                    scope.name, scope.owner, prefix, after=after, limit=limit, reverse=reverse
                )
            except OutputTooLarge:
                if limit == 1:
                    raise
                largest = max(1, limit // 8)  # large values
                continue
            items += page.items
            after = page.next
            if after is None or len(items) == wanted:
                return items, after
