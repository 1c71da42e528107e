"""The methods of `StateAdmin` on the control socket. See `host.control`."""

from __future__ import annotations

import msgspec

from llmspell.effects.effect import StateScope
from llmspell.host.control_methods import Client, Handler
from llmspell.values import JSON


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class _Scope(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    scope: StateScope
    owner: str = ""


class _Key(_Scope):
    key: str


class _Set(_Key):
    value: JSON
    if_version: str | None = None
    ttl_seconds: float | None = None


class _Delete(_Key):
    if_version: str | None = None


class _Scan(_Scope):
    prefix: str = ""
    after: str | None = None
    limit: int = 100
    reverse: bool = False


class _Watch(_Scope):
    prefix: str = ""
    since: str | None = None


class _Backup(msgspec.Struct, forbid_unknown_fields=True):
    to: str | None = None


async def _get(client: Client, _: int | str, params: _Key) -> JSON:
    return await client.host.state.get(params.scope, params.owner, params.key)


async def _set(client: Client, _: int | str, params: _Set) -> JSON:
    return await client.host.state.set(
        params.scope,
        params.owner,
        params.key,
        params.value,
        if_version=params.if_version,
        ttl_seconds=params.ttl_seconds,
    )


async def _delete(client: Client, _: int | str, params: _Delete) -> JSON:
    return await client.host.state.delete(
        params.scope, params.owner, params.key, if_version=params.if_version
    )


async def _scan(client: Client, _: int | str, params: _Scan) -> JSON:
    return await client.host.state.scan(
        params.scope,
        params.owner,
        params.prefix,
        after=params.after,
        limit=params.limit,
        reverse=params.reverse,
    )


async def _watch(client: Client, _: int | str, params: _Watch) -> JSON:
    return await client.host.state.watch(
        params.scope, params.owner, params.prefix, since=params.since
    )


async def _usage(client: Client, _: int | str, __: _Nothing) -> JSON:
    return await client.host.state.usage()


async def _verify(client: Client, _: int | str, __: _Nothing) -> JSON:
    return await client.host.state.verify()


async def _backup(client: Client, _: int | str, params: _Backup) -> JSON:
    return await client.host.state.backup(params.to)


async def _checkpoints(client: Client, _: int | str, __: _Nothing) -> JSON:
    return await client.host.state.checkpoints()


METHODS: dict[str, tuple[type[msgspec.Struct], Handler]] = {
    "state.get": (_Key, _get),
    "state.set": (_Set, _set),
    "state.delete": (_Delete, _delete),
    "state.scan": (_Scan, _scan),
    "state.watch": (_Watch, _watch),
    "state.usage": (_Nothing, _usage),
    "state.verify": (_Nothing, _verify),
    "state.backup": (_Backup, _backup),
    "state.checkpoints": (_Nothing, _checkpoints),
}
"""By the names they have on the wire."""
