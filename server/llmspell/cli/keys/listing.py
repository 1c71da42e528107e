"""`llmspell keys list`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from llmspell.cli.keys.finding import AsJson, scopes_text, to_value
from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.host.key_interface import ApiKey

_COLUMNS = ("id", "label", "tenant", "scopes", "made", "last used", "counts until")


def list_keys(context: typer.Context, json: AsJson = False) -> None:
    """List the keys, the oldest first. What they are is not kept, and so not shown."""
    from llmspell.cli.outputs import say, show_json
    from llmspell.cli.tables import show_table

    keys = perform(_list(place_of(context)))
    if json:
        show_json([to_value(key) for key in keys])
    elif keys:
        show_table(_COLUMNS, [_row(key) for key in keys])
    else:
        say("no keys; make one with: llmspell keys add LABEL")


def _row(key: ApiKey) -> list[str]:
    from llmspell.cli.tables import moment

    used = "never" if key.last_used_at is None else moment(key.last_used_at)
    until = "it is revoked" if key.expires_at is None else moment(key.expires_at)
    return [
        key.id,
        key.label,
        key.tenant,
        scopes_text(key),
        moment(key.created_at),
        used,
        f"{until} (expired)" if key.has_expired else until,
    ]


async def _list(place: Place) -> Sequence[ApiKey]:
    async with await place.attach() as host:
        return await host.api_keys.list()
