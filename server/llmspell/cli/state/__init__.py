"""`llmspell state`: the state layer from outside, one command a module."""

from __future__ import annotations

import typer

from llmspell.cli.state.backup import backup
from llmspell.cli.state.delete import delete
from llmspell.cli.state.get import get
from llmspell.cli.state.restore import restore
from llmspell.cli.state.scan import scan
from llmspell.cli.state.set import set_
from llmspell.cli.state.verify import verify
from llmspell.cli.state.watch import watch

app = typer.Typer(
    no_args_is_help=True, help="Read and change what spells keep; look after the database."
)

app.command()(get)
app.command("set")(set_)
app.command()(delete)
app.command()(scan)
app.command()(watch)
app.command()(verify)
app.command()(backup)
app.command()(restore)
