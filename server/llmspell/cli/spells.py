"""`llmspell spells`: what is published, and one spell with its schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform
from llmspell.errors import LlmspellError, SpellNotFound

if TYPE_CHECKING:
    from llmspell.host.catalogue import Catalogue, Published


app = typer.Typer(invoke_without_command=True)
"""The command with its one subcommand."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def spells(context: typer.Context, json: AsJson = False) -> None:
    """List what is published."""
    if context.invoked_subcommand is None:
        _list(perform(_catalogue(place_of(context))), as_json=json)


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one.")],
    json: AsJson = False,
) -> None:
    """Show one spell with its schemas."""
    _show(perform(_catalogue(place_of(context))), name, as_json=json)


async def _catalogue(place: Place) -> Catalogue:
    async with await place.attach() as host:
        return host.catalogue()


def _list(catalogue: Catalogue, *, as_json: bool) -> None:
    import msgspec

    from llmspell.cli.outputs import say, show_json

    if as_json:
        show_json(msgspec.to_builtins(catalogue))
        return
    width = max((len(spell.name) for spell in catalogue.spells), default=0)
    for spell in catalogue.spells:
        note = "  (a newer source does not load)" if spell.problem else ""
        summary = spell.description.partition("\n")[0]
        typer.echo(f"{spell.name:<{width}}  {summary}{note}".rstrip())
    for problem in catalogue.problems:
        say(LlmspellError.from_value(problem).report())


def _show(catalogue: Catalogue, name: str, *, as_json: bool) -> None:
    import msgspec

    from llmspell.cli.outputs import show_json

    spell = catalogue.get(name)
    if spell is None:
        raise SpellNotFound(f"no spell named {name!r}", hint=catalogue.suggest(name))
    if as_json:
        show_json(msgspec.to_builtins(spell))
        return
    typer.echo(f"{spell.name}  ({spell.kind}, {spell.file})")
    if spell.description:
        typer.echo(spell.description)
    typer.echo(f"annotations: {_annotations(spell)}")
    typer.echo("input:")
    show_json(spell.input_schema)
    if spell.output_schema is not None:
        typer.echo("output:")
        show_json(spell.output_schema)
    for example in spell.examples:
        typer.echo("example:")
        show_json(example)


def _annotations(spell: Published) -> str:
    given = {
        "read_only": spell.read_only,
        "destructive": spell.destructive,
        "idempotent": spell.idempotent,
        "open_world": spell.open_world,
    }
    return ", ".join(label for label, value in given.items() if value) or "none"
