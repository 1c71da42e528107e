"""`llmspell uninstall CLIENT`: takes out of a client's file what `install` has put into it."""

from __future__ import annotations

import os

import typer

from llmspell.cli.clients.entry import NAME
from llmspell.cli.install import ClientName, ScopeName, ServerName, show
from llmspell.cli.place import place_of


def uninstall(
    context: typer.Context,
    client: ClientName,
    scope: ScopeName = None,
    name: ServerName = NAME,
) -> None:
    """Undo 'install': the client's file is then what it was before.

    Where somebody has edited the file since, only the entry is taken out.
    """
    from llmspell.cli.clients.installing import take_out
    from llmspell.cli.clients.known import Places, client_of
    from llmspell.cli.clients.records import Records
    from llmspell.cli.clients.telling import is_told, tell_out
    from llmspell.cli.outputs import say

    known = client_of(client)
    project = place_of(context).address().project
    site = known.site(client, scope, Places.of(project, os.environ))
    if is_told(known, site, os.environ):
        if tell_out(known, site, name, project):
            say(f"told {known.title}; {known.then}")
        else:
            say(f"there is no {name!r} in {site.path}")
        return
    result = take_out(site, name, Records.of_user(os.environ))
    show(result, (*site.keys, name))
    if not result.changed:
        say(f"there is no {name!r} in {result.path}")
    elif result.after is None:
        say(f"deleted {result.path}, which held nothing else; {known.then}")
    else:
        kept = f" (as it was: {result.backup})" if result.backup else ""
        say(f"taken out of {result.path}{kept}; {known.then}")
