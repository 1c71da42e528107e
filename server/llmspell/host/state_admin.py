"""The state layer as the person who owns the process sees it: the one `StateAdmin` that performs.

What spells keep is read and written by the same `Scopes` spells use, so the
same limits hold; the caller is always the local one, and so is the tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from llmspell.effects.effect import StateScope
from llmspell.errors import StateError
from llmspell.host.state_interface import StateChanges, StateItem, StatePage
from llmspell.security.principals import Caller, local_caller
from llmspell.state.checkpoints import Checkpoint, Checkpoints
from llmspell.state.scopes import Scopes
from llmspell.state.store import Store, Usage, Verification
from llmspell.values import JSON

_OWNERS = {"spell": "a spell's name", "session": "a session's id", "run": "a run's id"}
"""What says whose a scope is, for the scopes that are not this person's or everybody's."""


class StateOperations:
    """A store's state, and its checkpoints. See `StateAdmin`."""

    def __init__(self, store: Store, scopes: Scopes, checkpoints: Checkpoints) -> None:
        self._store = store
        self._scopes = scopes
        self._checkpoints = checkpoints

    async def get(self, scope: StateScope, owner: str, key: str) -> StateItem | None:
        """Return a key with its version; None when it is absent."""
        place, run = _place(scope, owner)
        value, version = await self._scopes.get(*place, key, run_id=run)
        return None if version is None else StateItem(key=key, value=value, version=version)

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
        """Write a key and return its new version. See `StateAdmin.set`."""
        place, run = _place(scope, owner)
        return await self._scopes.set(
            *place, key, value, if_version=if_version, ttl_seconds=ttl_seconds, run_id=run
        )

    async def delete(
        self, scope: StateScope, owner: str, key: str, *, if_version: str | None = None
    ) -> bool:
        """Delete a key and return whether it was there. See `StateAdmin.delete`."""
        place, run = _place(scope, owner)
        return await self._scopes.delete(*place, key, if_version=if_version, run_id=run)

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
        """Return the keys under a prefix, in order. See `StateAdmin.scan`."""
        place, run = _place(scope, owner)
        found = await self._scopes.scan(
            *place, prefix, after=after, limit=limit, reverse=reverse, run_id=run
        )
        return msgspec.convert(found, StatePage)

    async def watch(
        self, scope: StateScope, owner: str, prefix: str = "", *, since: str | None = None
    ) -> StateChanges:
        """Wait until something has changed under a prefix. See `StateAdmin.watch`."""
        place, run = _place(scope, owner)
        found = await self._scopes.watch(*place, prefix, since=since, run_id=run)
        return msgspec.convert(found, StateChanges)

    async def usage(self) -> dict[str, Usage]:
        """Return what the tenant holds in each scope, by its name."""
        tenant = local_caller().tenant
        return {scope: await self._store.usage((tenant, scope)) for scope in get_args(StateScope)}

    async def verify(self) -> Verification:
        """Read every row of the database. See `StateAdmin.verify`."""
        return await verify(self._store)

    async def backup(self, to: str | None = None) -> Checkpoint:
        """Make a checkpoint of the whole database now. See `StateAdmin.backup`."""
        return await self._checkpoints.backup(None if to is None else Path(to))

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """Return the checkpoints of the state directory, the newest first."""
        return self._checkpoints.list()


async def verify(store: Store) -> Verification:
    """Read every row of a store and return what was found.

    Raises:
        StateError: It does not live in files.
    """
    read: Any = getattr(store, "verify", None)
    if read is None:
        raise StateError("a store in memory has nothing to verify")
    return await read()


def _place(scope: StateScope, owner: str) -> tuple[tuple[Caller, str, StateScope], str]:
    """Return caller, spell and scope as `Scopes` takes them, and the run.

    Raises:
        StateError: The scope lacks an owner, or takes none.
    """
    needed = _OWNERS.get(scope)
    if needed and not owner:
        raise StateError(f"scope {scope!r} needs an owner", hint=f"name {needed}")
    if owner and not needed:
        raise StateError(f"scope {scope!r} takes no owner, and so not {owner!r}")
    caller = local_caller("cli")
    if scope == "session":
        caller = caller.at("cli", session=owner)
    return (caller, owner, scope), owner if scope == "run" else ""
