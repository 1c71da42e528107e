"""Which scope a command means: the options that say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from llmspell.errors import UsageError

if TYPE_CHECKING:
    from llmspell.effects.effect import StateScope

OfSpell: TypeAlias = Annotated[
    str | None, typer.Option("--spell", metavar="NAME", help="What State holds for this spell.")
]
OfSession: TypeAlias = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="State.session of this session.")
]
OfRun: TypeAlias = Annotated[
    str | None, typer.Option("--run", metavar="ID", help="State.run of this run.")
]
OfUser: TypeAlias = Annotated[bool, typer.Option("--user", help="State.user, of this person.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Scope(NamedTuple):
    """A scope, and whose it is."""

    name: StateScope
    owner: str

    def __str__(self) -> str:
        return f"State.{self.name} of {self.owner!r}" if self.owner else f"State.{self.name}"


def scope_of(spell: str | None, session: str | None, run: str | None, *, user: bool) -> Scope:
    """Return the scope the options name; `State.shared` when they name none.

    Raises:
        UsageError: They name several.
    """
    named: list[Scope] = []
    if spell is not None:
        named.append(Scope("spell", spell))
    if session is not None:
        named.append(Scope("session", session))
    if run is not None:
        named.append(Scope("run", run))
    if user:
        named.append(Scope("user", ""))
    if len(named) > 1:
        raise UsageError(
            "several scopes are named", hint="give one of --spell, --session, --run, --user"
        )
    return named[0] if named else Scope("shared", "")
