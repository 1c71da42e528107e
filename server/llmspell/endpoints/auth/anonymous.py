"""The mode `none`: everybody who reaches the server is the same stranger. Loopback only."""

from __future__ import annotations

from collections.abc import Mapping

from llmspell.endpoints.auth.admission import Admission
from llmspell.endpoints.auth.authenticator import AuthMode, Scheme
from llmspell.errors import AccessError
from llmspell.security.principals import Caller, Door, anonymous_caller
from llmspell.values import Object


class AnonymousAuthenticator:
    """Asks for nothing; see `bind.check_bind` for where that is allowed."""

    mode: AuthMode = "none"

    async def caller(self, headers: Mapping[str, str], door: Door) -> Caller:
        """Return the anonymous caller."""
        return anonymous_caller(door)

    def admission(self, headers: Mapping[str, str], door: Door) -> Admission:
        """Return one without an end."""
        return Admission()

    def challenge(self, error: AccessError, door: Door) -> dict[str, str]:
        """Return nothing: no credential would help."""
        return {}

    async def scheme(self) -> Scheme | None:
        """Return None."""
        return None

    def documents(self) -> Mapping[str, Object]:
        """Return nothing."""
        return {}
