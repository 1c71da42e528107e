"""Entry-point groups: how engines, providers and stores are found, built-ins included."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeAlias

from llmspell.errors import ConfigError

Group: TypeAlias = Literal["engines", "providers", "stores"]


@cache
def _points(group: Group) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"llmspell.{group}")}


def names(group: Group) -> list[str]:
    """Return the names registered in a group, sorted. Imports none of them."""
    return sorted(_points(group))


def load(group: Group, name: str) -> Any:
    """Import and return what is registered under `name`.

    Raises:
        ConfigError: Nothing is.
    """
    point = _points(group).get(name)
    if point is None:
        known = ", ".join(names(group)) or "none; is llmspell installed?"
        raise ConfigError(f"no {group[:-1]} named {name!r}", hint=f"installed: {known}")
    return point.load()
