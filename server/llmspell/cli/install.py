"""`llmspell install CLIENT`: puts what starts the bridge into a client's file."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.clients.entry import NAME
from llmspell.cli.clients.known import CLIENTS
from llmspell.cli.place import place_of

if TYPE_CHECKING:
    from llmspell.cli.clients.installing import Result

ClientName = Annotated[str, typer.Argument(metavar="CLIENT", help=f"{', '.join(CLIENTS)}.")]
ScopeName = Annotated[
    str | None,
    typer.Option(
        "--scope", metavar="SCOPE", help="For whom the client knows it: user, project, local."
    ),
]
ServerName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="What the server is called in the client.")
]


def install(
    context: typer.Context,
    client: ClientName,
    print_: Annotated[
        bool, typer.Option("--print", help="Only print the entry and where it goes.")
    ] = False,
    scope: ScopeName = None,
    name: ServerName = NAME,
) -> None:
    """Let a client use this project.

    Shows what changes in the client's file. The rest of it stays as it is, and a copy of it is
    kept beside it. An entry of another project, or of something else, is not replaced. Outside of
    a project the entry is for the user, in every client.
    """
    from llmspell.cli.clients.entry import bridge_command, entry_of
    from llmspell.cli.clients.installing import put_in
    from llmspell.cli.clients.known import Places, client_of
    from llmspell.cli.clients.records import Records
    from llmspell.cli.clients.telling import adding, is_told, tell_in
    from llmspell.cli.outputs import say

    known = client_of(client)
    place = place_of(context)
    address = place.address()
    site = known.site(client, scope, Places.of(address.project, os.environ))
    command = bridge_command(address, with_state=place.state is not None)
    entry = entry_of(known, command)
    if print_ and site.scope in known.told_scopes:
        typer.echo(shlex.join(adding(known, site, name, command)))
        say(f"run this command, then {known.then}")
    elif print_:
        typer.echo(json.dumps({site.keys[-1]: {name: entry}}, indent=2))
        say(f"merge this into {site.path}, then {known.then}")
    elif is_told(known, site, os.environ):
        changed = tell_in(known, site, name, entry, command, address.project)
        said = f"told {known.title}; {known.then}"
        say(said if changed else f"{known.title} has {name!r} already")
    else:
        result = put_in(site, name, entry, Records.of_user(os.environ))
        show(result, (*site.keys, name))
        if not result.changed:
            say(f"{name!r} is in {result.path} already")
            return
        kept = f" (as it was: {result.backup})" if result.backup else ""
        say(f"written to {result.path}{kept}; {known.then}")


def show(result: Result, entry: tuple[str, ...]) -> None:
    """Show what has changed in a file, on stdout."""
    from llmspell.cli.clients.difference import difference

    if result.changed:
        for line in difference(result.path, result.before, result.after, entry):
            typer.echo(line)
