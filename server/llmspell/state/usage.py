"""What each tenant and each of its scopes holds of family KV, and what they may.

The counts lie in family USAGE, a row for each first two parts of a key, written
in the same batch as the rows they count. Here they are kept at hand once read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from llmspell.errors import StateCorrupt, StateQuota
from llmspell.state.entries import decode, decode_key, encode
from llmspell.state.keys import pack, prefix_range
from llmspell.state.rows import RowsReader
from llmspell.state.store import Family, Key, Quotas, Usage

_COUNTS: Final = struct.Struct(">QQ")
_NOTHING: Final = Usage(0, 0)


def account_of(key: Key) -> Key:
    """Return what a key of family KV counts to: its tenant and scope."""
    return key[:2]


def stored_counts(header: bytes, held: Usage) -> bytes | None:
    """Return the row of an account; None = it has none, as it holds nothing."""
    if not held.keys:
        return None
    return encode(header, _COUNTS.pack(held.bytes, held.keys), None)


class Deltas:
    """By how much a commit makes accounts grow."""

    __slots__ = ("accounts",)

    def __init__(self) -> None:
        self.accounts: dict[Key, list[int]] = {}
        """Bytes and keys of each."""

    def add(self, account: Key, size: int, keys: int) -> None:
        """Count so many bytes and keys more, or less."""
        held = self.accounts.get(account)
        if held is None:
            self.accounts[account] = [size, keys]
        else:
            held[0] += size
            held[1] += keys


class Counters:
    """The counts of all accounts, read as they are needed, held against `quotas`."""

    def __init__(self, rows: RowsReader, quotas: Quotas) -> None:
        self._rows = rows
        self._quotas = quotas
        self._limited = quotas != Quotas()
        self._held: dict[Key, Usage] = {}
        self._packed: dict[Key, bytes] = {}
        self._tenants: dict[Key, Usage] = {}

    def usage(self, prefix: Key) -> Usage:
        """Return what is held under a tenant, a tenant's scope, or `()`: everything.

        Raises:
            ValueError: `prefix` has more parts.
        """
        if len(prefix) > 2:
            raise ValueError(f"usage is counted by tenant and scope, not under {prefix!r}")
        found = [held for _, held in self._read(prefix)]
        return Usage(sum(held.bytes for held in found), sum(held.keys for held in found))

    def after(self, deltas: Deltas) -> dict[Key, Usage]:
        """Return what each account holds once a commit with `deltas` is written.

        Raises:
            StateQuota: More than it may, and the commit makes it grow.
        """
        found: dict[Key, Usage] = {}
        if not deltas.accounts:
            return found
        for account, (size, keys) in deltas.accounts.items():
            held = self._held.get(account)
            if held is None:
                held = self._load(account)
            grown = Usage(held.bytes + size, held.keys + keys)
            if self._limited:
                quotas = self._quotas
                name = f"scope {'/'.join(map(str, account))!r}"
                _hold(name, "state.scope_quota_bytes", quotas.scope_bytes, size, grown.bytes)
                _hold(name, "state.scope_quota_keys", quotas.scope_keys, keys, grown.keys)
            found[account] = grown
        if self._limited:
            self._hold_tenants(deltas)
        return found

    def rows(self, header: bytes, counts: Mapping[Key, Usage]) -> dict[bytes, bytes | None]:
        """Return the rows that keep `counts`."""
        return {
            self._packed[account]: stored_counts(header, held) for account, held in counts.items()
        }

    def keep(self, counts: Mapping[Key, Usage]) -> None:
        """Go by `counts`, which have been written."""
        for account, held in counts.items():
            before = self._held[account]
            total = self._tenants[account[:1]]
            self._tenants[account[:1]] = Usage(
                total.bytes + held.bytes - before.bytes, total.keys + held.keys - before.keys
            )
            self._held[account] = held

    def _hold_tenants(self, deltas: Deltas) -> None:
        tenants = Deltas()
        for account, (size, keys) in deltas.accounts.items():
            tenants.add(account[:1], size, keys)
        for tenant, (size, keys) in tenants.accounts.items():
            held, quotas = self._tenants[tenant], self._quotas
            name = f"tenant {'/'.join(map(str, tenant))!r}"
            _hold(name, "state.quota_bytes", quotas.tenant_bytes, size, held.bytes + size)
            _hold(name, "state.quota_keys", quotas.tenant_keys, keys, held.keys + keys)

    def _load(self, account: Key) -> Usage:
        """Read all accounts of a tenant, and return this one."""
        tenant = account[:1]
        if tenant not in self._tenants:
            total = _NOTHING
            for key, held in self._read(tenant):
                if key[:1] != tenant:
                    continue
                self._held[key] = held
                self._packed[key] = pack(key)
                total = Usage(total.bytes + held.bytes, total.keys + held.keys)
            self._tenants[tenant] = total
        if account not in self._held:
            self._held[account] = _NOTHING
            self._packed[account] = pack(account)
        return self._held[account]

    def _read(self, prefix: Key) -> list[tuple[Key, Usage]]:
        return [
            (decode_key(key), decode_counts(key, stored))
            for key, stored in self._rows.scan(Family.USAGE, *prefix_range(prefix))
        ]


def decode_counts(key: bytes, stored: bytes) -> Usage:
    """Return what the row of an account says.

    Raises:
        StateCorrupt: It is malformed.
    """
    try:
        return Usage(*_COUNTS.unpack(decode(key, stored).value))
    except struct.error as error:
        raise StateCorrupt(f"the usage of {key!r} is no pair of counts") from error


def _hold(name: str, setting: str, limit: int | None, growth: int, held: int) -> None:
    if limit is None or growth <= 0 or held <= limit:
        return
    unit = setting.rpartition("_")[2]
    raise StateQuota(
        f"{name} would hold {held} {unit}, the limit is {limit}",
        data={"limit": setting, "allowed": limit, "needed": held},
    )
