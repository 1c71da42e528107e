"""`llmspell runs`: the runs of this state directory, one command a module."""

from __future__ import annotations

import typer

from llmspell.cli.runs.answer import answer
from llmspell.cli.runs.cancel import cancel
from llmspell.cli.runs.export import export
from llmspell.cli.runs.fork import fork
from llmspell.cli.runs.listing import list_
from llmspell.cli.runs.prune import prune
from llmspell.cli.runs.result import result
from llmspell.cli.runs.show import show
from llmspell.cli.runs.watch import watch

app = typer.Typer(no_args_is_help=True, help="List, follow, answer and keep runs.")

app.command("list")(list_)
app.command()(show)
app.command()(watch)
app.command()(result)
app.command()(cancel)
app.command()(answer)
app.command()(export)
app.command()(fork)
app.command()(prune)
