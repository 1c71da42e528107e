"""The mode `keys`: the bearer of an API key is that key, in its tenant and with its scopes.

The token of the state directory does not count in this mode: each client has a key of its own,
so that one can be revoked without the others. The keys themselves are in `host.api_keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from llmspell.endpoints.auth.admission import Admission
from llmspell.endpoints.auth.authenticator import (
    REALM,
    AuthMode,
    Scheme,
    bearer,
    unauthenticated,
    www_authenticate,
)
from llmspell.errors import AccessError, ConfigError
from llmspell.host.api_keys import ApiKeys, id_of
from llmspell.security.principals import Caller, Door
from llmspell.values import Object

HINT = "send 'Authorization: Bearer KEY'; a key is made with: llmspell keys add LABEL"


class KeyAuthenticator:
    """Knows the keys of the owner.

    Args:
        keys: Whoever is revoked there is refused here from the next request on, and what they
            hold open is ended.
    """

    mode: AuthMode = "keys"

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    @classmethod
    async def open(cls, keys: ApiKeys) -> KeyAuthenticator:
        """Return the mode, once it is known to let somebody in.

        Raises:
            ConfigError: There is no key that counts.
        """
        if not await keys.any():
            raise ConfigError(
                "auth 'keys' lets nobody in: there is no key",
                hint="make one: llmspell keys add LABEL",
            )
        return cls(keys)

    async def caller(self, headers: Mapping[str, str], door: Door) -> Caller:
        """Return who the bearer of a key is."""
        sent = bearer(headers)
        found = await self._keys.caller(sent, door) if sent else None
        if found is None:
            raise unauthenticated(
                headers,
                wrong="this key is unknown, revoked or expired",
                missing="a key is required",
                hint=HINT,
            )
        return found

    def admission(self, headers: Mapping[str, str], door: Door) -> Admission:
        """Return one that ends with the key."""
        id = id_of(bearer(headers) or "")
        return Admission(
            until=self._keys.until(id),
            watch=partial(self._keys.on_revoke, id),
            clock=self._keys.clock,
        )

    def challenge(self, error: AccessError, door: Door) -> dict[str, str]:
        """Return the header of a 401 or 403 (RFC 6750 3)."""
        return www_authenticate(error, [("realm", REALM)])

    async def scheme(self) -> Scheme | None:
        """Return the bearer scheme."""
        return Scheme("bearer", "An API key of this server.")

    def documents(self) -> Mapping[str, Object]:
        """Return nothing."""
        return {}
