"""A resource server for the tokens of a test's own issuer, without HTTP before it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from llmspell.clock import ManualClock
from llmspell.config import OAuthSettings
from llmspell.endpoints.auth.oauth import OAuthAuthenticator
from llmspell.errors import AccessUnauthenticated
from tests.support.authorization_server import AuthorizationServer, SigningKey

BASE = "http://127.0.0.1:7777"
MCP, A2A = f"{BASE}/mcp", f"{BASE}/a2a"

KEYS = [SigningKey.make("rsa"), SigningKey.make("elliptic", "ES256")]
"""What the issuer signs with."""
STRANGE = SigningKey.make("strange")
"""What it does not."""


def clock() -> ManualClock:
    """Return a clock that shows the time at which tokens are made."""
    return ManualClock(time.time())


def resource_server(
    issuer: AuthorizationServer, on: ManualClock | None = None, **settings: Any
) -> OAuthAuthenticator:
    """Return a resource server for an issuer, with these of its settings."""
    return OAuthAuthenticator(OAuthSettings(issuer=issuer.url, **settings), BASE, on or clock())


def bearer(token: str) -> dict[str, str]:
    """Return the header of a token's bearer."""
    return {"authorization": f"Bearer {token}"}


async def refused(auth: OAuthAuthenticator, token: str) -> AccessUnauthenticated:
    """Return what the bearer of a token is refused with."""
    with pytest.raises(AccessUnauthenticated) as told:
        await auth.caller(bearer(token), "mcp")
    return told.value
