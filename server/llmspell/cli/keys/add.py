"""`llmspell keys add`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.keys.finding import AsJson, scopes_text, to_value
from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError

if TYPE_CHECKING:
    from llmspell.host.key_interface import NewKey


def add(
    context: typer.Context,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="What its bearer may do: cast, cast:NAME, cast:PREFIX*, read. May be given "
            "several times.  [default: everything]",
        ),
    ] = None,
    tenant: Annotated[
        str, typer.Option(metavar="T", help="Whose data its bearer sees.")
    ] = "default",
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="How long it counts, e.g. 90d.  [default: until it is revoked]"
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a key. The key alone goes to stdout, this once: it is kept nowhere."""
    from llmspell.cli.outputs import say, show_json
    from llmspell.cli.tables import moment

    made = perform(_add(place_of(context), label, scope, tenant, _seconds(expires)))
    key = made.key
    if json:
        show_json({**to_value(key), "secret": made.secret})
        return
    until = "until it is revoked" if key.expires_at is None else f"until {moment(key.expires_at)}"
    say(f"key {key.id} of tenant {key.tenant} may do: {scopes_text(key)}; it counts {until}")
    say("it is shown this once; send it as 'Authorization: Bearer KEY'")
    typer.echo(made.secret)


def _seconds(text: str | None) -> float | None:
    from llmspell.durations import seconds_of

    if text is None:
        return None
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise UsageError(f"--expires: {error}", hint="") from None
    return float(seconds)


async def _add(
    place: Place, label: str, scopes: list[str] | None, tenant: str, seconds: float | None
) -> NewKey:
    async with await place.attach() as host:
        return await host.api_keys.add(label, tenant=tenant, scopes=scopes or None, seconds=seconds)
