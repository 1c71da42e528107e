"""Options that the commands for keys share, and how a key is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from llmspell.host.key_interface import ApiKey
    from llmspell.values import Object

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def to_value(key: ApiKey) -> Object:
    """Return a key as JSON; its secret is not part of it."""
    import msgspec

    return msgspec.to_builtins(key)


def scopes_text(key: ApiKey) -> str:
    """Return what a key allows, in one line."""
    return "everything" if key.scopes is None else " ".join(key.scopes)
