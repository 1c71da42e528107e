"""`llmspell state set`."""

from __future__ import annotations

from typing import Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.state.scopes import AsJson, OfRun, OfSession, OfSpell, OfUser, Scope, scope_of
from llmspell.cli.streams import read_stdin
from llmspell.cli.waiting import perform
from llmspell.values import JSON, loads


def set_(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Which key.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="JSON, else a text; - reads stdin.")
    ],
    spell: OfSpell = None,
    session: OfSession = None,
    run: OfRun = None,
    user: OfUser = False,
    if_version: Annotated[
        str | None,
        typer.Option(
            metavar="V", help='Write only while the key has this version; "" = is absent.'
        ),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it is kept, e.g. 30d; else for good."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Write a key and print its new version.

    It is one of State.shared, or of the scope that is named.
    """
    from llmspell.cli.inputs import read_duration
    from llmspell.cli.outputs import show_json

    seconds = None if ttl is None else read_duration("--ttl", ttl)
    scope = scope_of(spell, session, run, user=user)
    version = perform(_set(place_of(context), scope, key, _read(value), if_version, seconds))
    if json:
        show_json({"key": key, "version": version})
    else:
        print(version)


def _read(given: str) -> JSON:
    text = read_stdin() if given == "-" else given
    try:
        return loads(text)
    except ValueError:
        return text.removesuffix("\n") if given == "-" else text


async def _set(
    place: Place,
    scope: Scope,
    key: str,
    value: JSON,
    if_version: str | None,
    ttl_seconds: float | None,
) -> str:
    async with await place.attach() as host:
        return await host.state.set(
            scope.name, scope.owner, key, value, if_version=if_version, ttl_seconds=ttl_seconds
        )
