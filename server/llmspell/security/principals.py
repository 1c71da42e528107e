"""Who is calling: principal, tenant and session of every cast."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmspell.values import Object

Door: TypeAlias = Literal["mcp", "a2a", "cli", "rest", "schedule", "spell"]

DEFAULT_TENANT = "default"
DEFAULT_SESSION = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The authenticated context of one request. Never made from what a spell says."""

    principal: str
    tenant: str = DEFAULT_TENANT
    session: str = DEFAULT_SESSION
    door: Door = "cli"
    message: Object | None = None
    """What the door brought beyond the input (`ctx.message`)."""
    scopes: frozenset[str] | None = None
    """What it may do, in the words of `security.scopes`; None = everything."""

    def at(
        self, door: Door, *, session: str | None = None, message: Object | None = None
    ) -> Caller:
        """Return this caller coming through `door`."""
        return Caller(  # `dataclasses.replace` takes three times as long, at every request
            principal=self.principal,
            tenant=self.tenant,
            session=session or self.session,
            door=door,
            message=message,
            scopes=self.scopes,
        )


def local_caller(door: Door = "cli") -> Caller:
    """Return the person who owns this process: stdio, the CLI and the local token's bearer."""
    return Caller(principal=f"local:{os.getuid()}", door=door)


def anonymous_caller(door: Door) -> Caller:
    """Return the caller of a loopback server that asks for no token."""
    return Caller(principal="anonymous", tenant="anonymous", door=door)
