"""`llmspell state backup`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.state.scopes import AsJson
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError

if TYPE_CHECKING:
    from llmspell.state.checkpoints import Checkpoint


def backup(
    context: typer.Context,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="[PATH]",
            help="A directory to make; else one among the hourly checkpoints, which go in time.",
        ),
    ] = None,
    list: Annotated[bool, typer.Option("--list", help="List the checkpoints; make none.")] = False,
    json: AsJson = False,
) -> None:
    """Copy the whole database, while it is in use.

    Prints where the copy is.
    """
    import msgspec

    from llmspell.cli.outputs import show_json
    from llmspell.cli.tables import moment, show_table

    if list:
        if path is not None:
            raise UsageError("--list makes no backup", hint="leave out the path")
        found = _listed(place_of(context))
        if json:
            show_json(msgspec.to_builtins(found))
        else:
            show_table(("name", "made"), [(each.name, moment(each.at)) for each in found])
        return
    made = perform(_backup(place_of(context), None if path is None else os.path.abspath(path)))
    if json:
        show_json(msgspec.to_builtins(made))
    else:
        print(made.path)


def _listed(place: Place) -> Sequence[Checkpoint]:
    from llmspell.state.checkpoints import DIRECTORY, checkpoints_in

    return checkpoints_in(place.address().state / DIRECTORY)


async def _backup(place: Place, path: str | None) -> Checkpoint:
    async with await place.attach() as host:
        return await host.state.backup(path)
