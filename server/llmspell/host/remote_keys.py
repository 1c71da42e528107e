"""The API keys of the owner, seen through the control socket."""

from __future__ import annotations

from collections.abc import Sequence

from llmspell.host.key_interface import ApiKey, NewKey
from llmspell.host.remote_wire import Wire
from llmspell.security.principals import DEFAULT_TENANT


class RemoteKeys:
    """The owner's keys. See `KeyAdmin`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def add(
        self,
        label: str,
        *,
        tenant: str = DEFAULT_TENANT,
        scopes: Sequence[str] | None = None,
        seconds: float | None = None,
    ) -> NewKey:
        """Make a key. See `KeyAdmin.add`."""
        params = {
            "label": label,
            "tenant": tenant,
            "scopes": None if scopes is None else list(scopes),
            "seconds": seconds,
        }
        return await self._wire.ask("keys.add", params, NewKey)

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first."""
        return await self._wire.ask("keys.list", {}, list[ApiKey])

    async def revoke(self, id: str) -> ApiKey:
        """Delete a key, and return what it was. See `KeyAdmin.revoke`."""
        return await self._wire.ask("keys.revoke", {"id": id}, ApiKey)
