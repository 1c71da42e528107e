"""`llmspell state restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.state.scopes import AsJson
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError


def restore(
    context: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="A name that 'state backup --list' shows, or a path."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Go back to a checkpoint.

    What was kept and run since is not in the database any more. Needs that no owner lives. The
    checkpoint is verified first and stays as it is; the database that was there is moved aside,
    not deleted.
    """
    import msgspec

    from llmspell.cli.outputs import say, show_json
    from llmspell.host.maintenance import restore_checkpoint

    state = place_of(context).address().state
    if not yes:
        _confirm(checkpoint, state)
    done = perform(restore_checkpoint(checkpoint, state))
    if json:
        show_json(msgspec.to_builtins(done))
        return
    say(f"{done.database} is now a copy of {done.checkpoint}: {done.rows} rows, {done.bytes} bytes")
    if done.aside is not None:
        say(f"what was there before is in {done.aside}; delete it when you need it no more")


def _confirm(checkpoint: str, state: Path) -> None:
    if not sys.stdin.isatty():
        raise UsageError("restoring replaces the database", hint="say --yes if this is meant")
    if not typer.confirm(f"Replace the database of {state} by {checkpoint}?", err=True):
        raise typer.Exit(1)
