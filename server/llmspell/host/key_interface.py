"""API keys as their operator sees them, in this process or behind the control socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmspell.security.principals import DEFAULT_TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; its secret is not."""

    id: str
    label: str
    tenant: str
    scopes: tuple[str, ...] | None
    """What its bearer may do (`security.scopes`); None = everything."""
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    """When it was last used, give or take a minute; None = never."""
    has_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made."""

    key: ApiKey
    secret: str
    """What its bearer sends. It is shown this once, and kept nowhere."""


class KeyAdmin(Protocol):
    """Makes and revokes the keys that `auth = "keys"` lets in."""

    async def add(
        self,
        label: str,
        *,
        tenant: str = DEFAULT_TENANT,
        scopes: Sequence[str] | None = None,
        seconds: float | None = None,
    ) -> NewKey:
        """Make a key; it is durable when this returns.

        Args:
            label: What it is for, to tell it from others.
            tenant: Whose data its bearer sees.
            scopes: What its bearer may do; None = everything.
            seconds: How long it counts; None = until it is revoked.

        Raises:
            UsageError: A scope is none, or label or tenant has no form of one.
        """
        ...

    async def list(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first, expired ones too."""
        ...

    async def revoke(self, id: str) -> ApiKey:
        """Delete a key: from now on nobody gets in with it. Return what it was.

        Raises:
            KeyNotFound: There is none of this id.
        """
        ...
