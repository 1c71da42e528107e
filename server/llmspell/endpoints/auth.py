"""Who may call over HTTP: the local token, and what a request's headers prove.

Two things are decided here and nowhere else: which principal a request speaks
for, and which `Host` and `Origin` are answered. The second holds with every
mode, because a web page that rebinds its name to this address would otherwise
speak with the rights of the person who opened it.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from llmspell.errors import (
    AccessHost,
    AccessOrigin,
    AccessUnauthenticated,
    ConfigError,
    LlmspellError,
)
from llmspell.security.principals import Caller, Door, anonymous_caller, local_caller

AuthMode = Literal["token", "none"]

TOKEN_FILE = "token"
"""Name of the token's file in the state directory."""

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Maps the headers of a request to its caller.

    Args:
        mode: `token`: the bearer of `token` is the person who owns this
            process. `none`: everybody is anonymous (loopback only).
        token: The secret; unused with `none`.
    """

    mode: AuthMode
    token: str = ""

    def __post_init__(self) -> None:
        if self.mode == "token" and not self.token:
            raise ConfigError("auth 'token' needs a token")

    def caller(self, headers: Mapping[str, str], door: Door) -> Caller | None:
        """Return who sends these headers (lower-case names), or None when nobody known does."""
        if self.mode == "none":
            return anonymous_caller(door)
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        # Compared as bytes: compare_digest refuses text beyond ASCII.
        if hmac.compare_digest(sent.strip().encode(), self.token.encode()):
            return local_caller(door)
        return None

    def challenge(self, headers: Mapping[str, str]) -> tuple[AccessUnauthenticated, dict[str, str]]:
        """Return what a request without a caller is told, and the headers of its 401 (RFC 6750)."""
        if headers.get("authorization"):
            error = AccessUnauthenticated("the token is wrong")
            return error, {"www-authenticate": 'Bearer realm="llmspell", error="invalid_token"'}
        error = AccessUnauthenticated("a token is required")
        return error, {"www-authenticate": 'Bearer realm="llmspell"'}


def is_loopback(bind_host: str) -> bool:
    """Return whether only this machine can reach a server bound to `bind_host`."""
    if bind_host == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind_host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(auth: Authenticator, bind_host: str) -> None:
    """Refuse to serve everybody on an address that others can reach.

    Raises:
        ConfigError: The mode is `none` and `bind_host` is not a loopback address.
    """
    if auth.mode == "none" and not is_loopback(bind_host):
        raise ConfigError(
            f"auth 'none' is refused on {bind_host!r}: others can reach that address",
            hint="use auth 'token', or listen on 127.0.0.1",
        )


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


def token_path(state_dir: Path) -> Path:
    """Return where the token of a state directory is kept."""
    return state_dir / TOKEN_FILE


def read_token(state_dir: Path) -> str | None:
    """Return the token of a state directory, or None when it has none.

    Raises:
        ConfigError: The file is empty or cannot be read.
    """
    path = token_path(state_dir)
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {str(path)!r} cannot be read: {error}") from None
    if not token:
        raise ConfigError(f"the token file {str(path)!r} is empty", hint="delete it")
    return token


def ensure_token(state_dir: Path) -> str:
    """Return the token of a state directory, making it (32 random bytes) when there is none.

    The file is readable by its owner only (0600) and appears whole: of several
    processes that make it at once, one wins and all return the same token.

    Raises:
        ConfigError: The file is empty, or cannot be read or written.
    """
    path = token_path(state_dir)
    if read_token(state_dir) is None:
        fresh = path.with_name(f"{TOKEN_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(descriptor, secrets.token_urlsafe(32).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass  # another process was first; its token is read below
            finally:
                fresh.unlink()
        except OSError as error:
            raise ConfigError(f"the token file {str(path)!r} cannot be made: {error}") from None
    token = read_token(state_dir)
    if token is None:
        raise ConfigError(f"the token file {str(path)!r} disappeared", hint="try again")
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return token
