"""`llmspell state verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmspell.cli.place import place_of
from llmspell.cli.state.scopes import AsJson
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.state.store import Verification


def verify(context: typer.Context, json: AsJson = False) -> None:
    """Read the whole database and say what is damaged.

    Exit 1 when something is. Works through the owner when there is one; starts none. Nothing is
    repaired.
    """
    import msgspec

    from llmspell.cli.outputs import say, show_json
    from llmspell.cli.tables import show_table

    found = perform(_verify(place_of(context).address().state))
    if json:
        show_json(msgspec.to_builtins(found))
    else:
        show_table(("family", "rows"), [(name, str(rows)) for name, rows in found.rows.items()])
        for problem in found.problems:
            say(f"damaged: {problem}")
        say(f"{found.bytes} bytes read, {len(found.problems)} problems")
    if found.problems:
        say("'llmspell stop', then 'llmspell state restore' goes back to a checkpoint")
        raise typer.Exit(1)


async def _verify(state: Path) -> Verification:
    from llmspell.host.remote import RemoteHost

    owner = await RemoteHost.find(state)
    if owner is None:
        from llmspell.host.maintenance import verify_database

        return await verify_database(state)
    async with owner:
        return await owner.state.verify()
