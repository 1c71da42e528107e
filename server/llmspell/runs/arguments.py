"""The arguments of an operation, as a script gave them: each is checked where it is read.

Untrusted values go in. What an operation makes of them is `operations`' part.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from llmspell.effects.effect import StateScope
from llmspell.errors import SpellRaised
from llmspell.values import JSON, Object

_T = TypeVar("_T")
_SCOPES = ("spell", "session", "user", "shared", "run")


class Arguments:
    """The arguments of one request, each read and checked by its name.

    Each reader raises `SpellRaised`, with the operation and the name, for what is not as it says.

    Args:
        values: What the script gave; anything but a table stands for no arguments.
    """

    def __init__(self, operation: str, values: JSON) -> None:
        self._operation = operation
        self._values = cast(Object, values) if isinstance(values, dict) else {}

    def wrong(self, name: str, want: str) -> SpellRaised:
        """Return the error of an argument that is not what it must be."""
        return SpellRaised(f"{self._operation}: {name!r} must be {want}")

    def get(self, name: str) -> Any:
        """Return an argument as it is, or None."""
        return self._values.get(name)

    def of(self, name: str, kind: type[_T], want: str, default: _T | None = None) -> _T:
        """Return an argument of a type, or `default` where there is none."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(name, want)
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string."""
        return self.of(name, str, "a string", default)

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None."""
        return None if self._values.get(name) is None else self.text(name)

    def number(self, name: str, default: float | None = None) -> int | float:
        """Return a number."""
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a number without a fraction."""
        value = self.number(name, default)
        if isinstance(value, float) and not value.is_integer():  # nan and inf are none either
            raise self.wrong(name, "a whole number")
        return int(value)

    def seconds(self, name: str, most: float) -> float:
        """Return a number of seconds from 0 to `most`."""
        seconds = float(self.number(name))
        if not 0 <= seconds <= most:
            raise self.wrong(name, f"between 0 and {most:.0f}")
        return seconds

    def optional_seconds(self, name: str, most: float) -> float | None:
        """Return a number of seconds above 0, to `most`, or None."""
        if self._values.get(name) is None:
            return None
        if not (seconds := self.seconds(name, most)):
            raise self.wrong(name, "more than 0")
        return seconds

    def flag(self, name: str) -> bool:
        """Return true or false; false where there is none."""
        return self.of(name, bool, "true or false", False)

    def target(self, name: str) -> str | Object:
        """Return what is to be cast: the name of something published, or a declaration."""
        value = self._values.get(name)
        if isinstance(value, dict):
            table = cast(Object, value)
            return str(table.get("name")) if table.get("$kind") == "ref" else table
        if isinstance(value, str) and value:
            return value
        raise self.wrong(name, "a name, or a spell, agent, tool or workflow")

    def scope(self) -> StateScope:
        """Return a scope of state; `spell` where there is none."""
        value = self.text("scope", "spell")
        if value not in _SCOPES:
            raise self.wrong("scope", f"one of {', '.join(_SCOPES)}")
        return value
