"""The methods of `KeyAdmin` on the control socket. See `host.control`."""

from __future__ import annotations

import msgspec

from llmspell.host.control_methods import Client, Handler
from llmspell.security.principals import DEFAULT_TENANT
from llmspell.values import JSON


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Add(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    label: str
    tenant: str = DEFAULT_TENANT
    scopes: list[str] | None = None
    seconds: float | None = None


class _Revoke(msgspec.Struct, forbid_unknown_fields=True):
    id: str


async def _add(client: Client, _: int | str, params: _Add) -> JSON:
    return await client.host.api_keys.add(
        params.label, tenant=params.tenant, scopes=params.scopes, seconds=params.seconds
    )


async def _list(client: Client, _: int | str, __: _Nothing) -> JSON:
    return await client.host.api_keys.list()


async def _revoke(client: Client, _: int | str, params: _Revoke) -> JSON:
    return await client.host.api_keys.revoke(params.id)


METHODS: dict[str, tuple[type[msgspec.Struct], Handler]] = {
    "keys.add": (_Add, _add),
    "keys.list": (_Nothing, _list),
    "keys.revoke": (_Revoke, _revoke),
}
"""By the names they have on the wire."""
