"""`llmspell keys revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.keys.finding import AsJson, to_value
from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.host.key_interface import ApiKey


def revoke(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Which key, by its id.")],
    json: AsJson = False,
) -> None:
    """Revoke a key: it counts for no request from now on. Its runs and state stay."""
    from llmspell.cli.outputs import say, show_json

    key = perform(_revoke(place_of(context), id))
    if json:
        show_json(to_value(key))
    else:
        say(f"revoked {key.id} ({key.label})")


async def _revoke(place: Place, id: str) -> ApiKey:
    async with await place.attach() as host:
        return await host.api_keys.revoke(id)
