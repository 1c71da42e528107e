"""The mode `token`: whoever has the token of the state directory is the person who owns it.

The token is made once and kept in a file that only its owner can read.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from llmspell.endpoints.auth.admission import Admission
from llmspell.endpoints.auth.authenticator import (
    REALM,
    AuthMode,
    Scheme,
    unauthenticated,
    www_authenticate,
)
from llmspell.errors import AccessError, ConfigError
from llmspell.security.principals import Caller, Door, local_caller
from llmspell.values import Object

TOKEN_FILE = "token"
"""Name of the token's file in the state directory."""


class TokenAuthenticator:
    """Knows one secret.

    Args:
        token: The secret; its bearer is the person who owns this process.
    """

    mode: AuthMode = "token"

    def __init__(self, token: str) -> None:
        if not token:
            raise ConfigError("auth 'token' needs a token")
        self._token = token.encode()
        self._callers: dict[Door, Caller] = {}

    async def caller(self, headers: Mapping[str, str], door: Door) -> Caller:
        """Return the owner of this process, when the token is theirs. Never suspends."""
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        # Compared as bytes: compare_digest refuses text beyond ASCII.
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            sent.strip().encode(), self._token
        ):
            raise unauthenticated(
                headers, wrong="the token is wrong", missing="a token is required"
            )
        found = self._callers.get(door)
        if found is None:
            found = self._callers[door] = local_caller(door)
        return found

    def admission(self, headers: Mapping[str, str], door: Door) -> Admission:
        """Return one without an end."""
        return Admission()

    def challenge(self, error: AccessError, door: Door) -> dict[str, str]:
        """Return the header of a 401 (RFC 6750 3)."""
        return www_authenticate(error, [("realm", REALM)])

    async def scheme(self) -> Scheme | None:
        """Return the bearer scheme."""
        return Scheme("bearer", "The token of the server's state directory.")

    def documents(self) -> Mapping[str, Object]:
        """Return nothing."""
        return {}


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
