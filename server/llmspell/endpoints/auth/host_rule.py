"""Which `Host` and `Origin` are answered, with every mode.

A web page that rebinds its name to this address would otherwise speak with the rights of the
person who opened it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from llmspell.endpoints.auth.bind import is_loopback
from llmspell.errors import AccessHost, AccessOrigin, LlmspellError

_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class HostRule:
    """Which `Host` and `Origin` headers are answered.

    Loopback names always are, and what the settings name. A server bound to
    more than loopback also answers to IP addresses: a name can be rebound to
    this machine, an address can't. A request without `Origin` is no web page's.

    Args:
        bind_host: Address the server listens on.
        hosts: Further names, with or without a port; without one, any port.
        origins: Further origins, `scheme://name[:port]`, compared whole.
    """

    def __init__(
        self, bind_host: str = "127.0.0.1", hosts: Sequence[str] = (), origins: Sequence[str] = ()
    ) -> None:
        self._names = _LOOPBACK_NAMES | {bind_host.strip("[]").lower()}
        self._names |= {host.strip("[]").lower() for host in hosts}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._addresses = not is_loopback(bind_host)
        self._answered: set[str] = set()
        """Values of `Host` that were answered: clients say the same with every request."""

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, LlmspellError] | None:
        """Return the HTTP status and error to refuse a request with, or None to let it in."""
        host = headers.get("host", "")
        if not self._answers(host):
            return 421, AccessHost(f"this server does not answer to the host {host!r}")
        origin = headers.get("origin")
        if origin is not None and not self._trusts(origin):
            return 403, AccessOrigin(f"web pages of {origin!r} may not call this server")
        return None

    def _answers(self, authority: str) -> bool:
        if authority in self._answered:
            return True
        is_answered = self._names_us(authority)
        is_short = len(authority) <= _LONGEST_REMEMBERED
        if is_answered and is_short and len(self._answered) < _REMEMBERED:
            self._answered.add(authority)
        return is_answered

    def _names_us(self, authority: str) -> bool:
        if authority.lower() in self._names:
            return True
        try:
            name = urlsplit(f"//{authority}").hostname
        except ValueError:
            return False
        if not name:
            return False
        return name in self._names or (self._addresses and _is_address(name))

    def _trusts(self, origin: str) -> bool:
        if origin.lower() in self._origins:
            return True
        scheme, _, authority = origin.partition("://")
        return scheme in ("http", "https") and self._answers(authority)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
