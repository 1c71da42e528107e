"""The state layer of the owner, seen through the control socket."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from llmspell.effects.effect import StateScope
from llmspell.host.remote_wire import Wire
from llmspell.host.state_interface import StateChanges, StateItem, StatePage
from llmspell.state.checkpoints import Checkpoint
from llmspell.state.store import Usage, Verification
from llmspell.values import JSON


class RemoteState:
    """The owner's state. See `StateAdmin`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def get(self, scope: StateScope, owner: str, key: str) -> StateItem | None:
        """Return a key with its version; None when it is absent."""
        params = {"scope": scope, "owner": owner, "key": key}
        found = await self._wire.call("state.get", params)
        return None if found is None else msgspec.convert(found, StateItem)

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
        params = {
            "scope": scope,
            "owner": owner,
            "key": key,
            "value": value,
            "if_version": if_version,
            "ttl_seconds": ttl_seconds,
        }
        return await self._wire.ask("state.set", params, str)

    async def delete(
        self, scope: StateScope, owner: str, key: str, *, if_version: str | None = None
    ) -> bool:
        """Delete a key and return whether it was there. See `StateAdmin.delete`."""
        params = {"scope": scope, "owner": owner, "key": key, "if_version": if_version}
        return await self._wire.ask("state.delete", params, bool)

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
        params = {
            "scope": scope,
            "owner": owner,
            "prefix": prefix,
            "after": after,
            "limit": limit,
            "reverse": reverse,
        }
        return await self._wire.ask("state.scan", params, StatePage)

    async def watch(
        self, scope: StateScope, owner: str, prefix: str = "", *, since: str | None = None
    ) -> StateChanges:
        """Wait until something has changed under a prefix. See `StateAdmin.watch`."""
        params = {"scope": scope, "owner": owner, "prefix": prefix, "since": since}
        return await self._wire.ask("state.watch", params, StateChanges)

    async def usage(self) -> dict[str, Usage]:
        """Return what the tenant holds in each scope, by its name."""
        return await self._wire.ask("state.usage", {}, dict[str, Usage])

    async def verify(self) -> Verification:
        """Read every row of the database and return what was found."""
        return await self._wire.ask("state.verify", {}, Verification)

    async def backup(self, to: str | None = None) -> Checkpoint:
        """Make a checkpoint of the whole database now. See `StateAdmin.backup`."""
        return await self._wire.ask("state.backup", {"to": to}, Checkpoint)

    async def checkpoints(self) -> Sequence[Checkpoint]:
        """Return the checkpoints of the state directory, the newest first."""
        return await self._wire.ask("state.checkpoints", {}, list[Checkpoint])
