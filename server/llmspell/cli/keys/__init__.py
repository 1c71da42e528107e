"""`llmspell keys`: the API keys that `serve --auth keys` lets in, one command a module."""

from __future__ import annotations

import typer

from llmspell.cli.keys.add import add
from llmspell.cli.keys.listing import list_keys
from llmspell.cli.keys.revoke import revoke

app = typer.Typer(no_args_is_help=True, help="Make and revoke API keys, for serve --auth keys.")

app.command()(add)
app.command("list")(list_keys)
app.command()(revoke)
