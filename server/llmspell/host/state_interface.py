"""What the command line sees of the state layer, in the owner or behind the control socket.

`host.state_admin` performs; `host.remote_state` says the same over the socket.
Spells see state through `state.scopes`, never through this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmspell.effects.effect import StateScope
from llmspell.state.checkpoints import Checkpoint
from llmspell.state.store import Usage, Verification
from llmspell.values import JSON


class StateAdmin(Protocol):
    """The state layer from outside: what spells keep, and how the database does.

    It shows what belongs to the tenant of the person who owns the process. In
    every method `owner` says whose the scope is: the spell's name for `spell`,
    the session's for `session`, the run's id for `run`; "" for `user`, which is
    this person, and for `shared`.

    Every method that takes a scope raises `StateError` for an owner the scope
    does not take, or lacks, and for a key that is empty, too long or no Unicode.
    """

    async def get(self, scope: StateScope, owner: str, key: str) -> StateItem | None:
        """Return a key with its version; None when it is absent."""
        ...

    async def set(
        self,
        scope: StateScope,
        owner: str,
        key: str,
        value: JSON,
        *,
        if_version: str | None = None,
        ttl_seconds: float | None = None,
    ) -> str:
        """Write a key and return its new version.

        Args:
            if_version: Write only while the key has this version; "" = is absent.
            ttl_seconds: Seconds after which the key is absent again; None = it stays.
        Raises:
            StateConflict: The key has another version; nothing was written.
        """
        ...

    async def delete(
        self, scope: StateScope, owner: str, key: str, *, if_version: str | None = None
    ) -> bool:
        """Delete a key and return whether it was there.

        Raises:
            StateConflict: `if_version` is given, and the key has another version.
        """
        ...

    async def scan(
        self,
        scope: StateScope,
        owner: str,
        prefix: str = "",
        *,
        after: str | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> StatePage:
        """Return the keys under a prefix, in order. `limit` is from 1 to 1000.

        Args:
            after: The `next` of the page before.
        """
        ...

    async def watch(
        self, scope: StateScope, owner: str, prefix: str = "", *, since: str | None = None
    ) -> StateChanges:
        """Wait until something has changed under a prefix, and return it.

        Args:
            since: The `next` of an earlier answer; None = from now on.
        """
        ...

    async def usage(self) -> dict[str, Usage]:
        """Return what the tenant holds in each scope, by its name."""
        ...

    async def verify(self) -> Verification:
        """Read every row of the database and return what was found. Changes nothing.

        Raises:
            StateError: This kind of store has nothing to verify.
        """
        ...

    async def backup(self, to: str | None = None) -> Checkpoint:
        """Make a checkpoint of the whole database now.

        Args:
            to: An absolute path that does not exist yet; None = among the automatic ones,
                which are deleted when they are old.
        Raises:
            StateError: It could not be made, or this kind of store has no checkpoints.
        """
        ...

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """Return the checkpoints of the state directory, the newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StateItem:
    """A key of a scope."""

    key: str
    value: JSON
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePage:
    """One page of a scan."""

    items: Sequence[StateItem]
    next: str | None
    """Give it as `after` for the page that follows; None when this is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """The newest state of a key that changed."""

    key: str
    value: JSON = None
    version: str
    deleted: bool = False
    """Whether it is absent now: deleted or expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanges:
    """What happened under a prefix."""

    changes: Sequence[StateChange]
    """At least one, unless `resync`; the newest of each key."""
    next: str
    """Give it as `since` to go on from here."""
    resync: bool = False
    """Changes before these were missed: scan the prefix again."""
