"""The mode `oauth`: an OAuth 2.1 resource server for the tokens of one issuer.

It checks tokens (RFC 9068) and says where they are to be had (RFC 9728); it gives none out, and
passes none on. What a token's bearer may do is decided at the host's door, by its scopes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn, cast

import jwt

from llmspell.clock import Clock
from llmspell.config import OAuthSettings
from llmspell.endpoints.auth.admission import Admission
from llmspell.endpoints.auth.authenticator import (
    AuthMode,
    Scheme,
    bearer,
    scopes_of,
    unauthenticated,
    www_authenticate,
)
from llmspell.endpoints.auth.issuer import Issuer, IssuerError
from llmspell.endpoints.auth.key_set import RETRY_SECONDS, KeySet
from llmspell.errors import AccessError, AccessForbidden, AccessUnauthenticated, ConfigError
from llmspell.security.principals import DEFAULT_TENANT, Caller, Door
from llmspell.security.scopes import SCOPES, covers
from llmspell.values import Object

METADATA_PATH = "/.well-known/oauth-protected-resource"
"""Where the metadata of a protected resource is, before the resource's own path (RFC 9728 3.1)."""

CHECKED_SECONDS = 60.0
"""How long a token counts as checked: a key that the issuer took back counts so much longer."""

_MOST_CHECKED = 2048
_MOST_TEXT = 512
_DOORS: tuple[Door, ...] = ("mcp", "a2a")

_log = logging.getLogger(__name__)


class OAuthAuthenticator:
    """Knows one issuer.

    Args:
        settings: `[server.oauth]`.
        base_url: URL under which clients reach this server; its doors are resources below it.

    Raises:
        ConfigError: The settings name no issuer.
    """

    mode: AuthMode = "oauth"

    def __init__(self, settings: OAuthSettings, base_url: str, clock: Clock) -> None:
        if not settings.issuer:
            raise ConfigError(
                "auth 'oauth' needs an issuer", hint="set issuer under [server.oauth]"
            )
        self._settings = settings
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._issuer = Issuer(settings.issuer, settings.jwks_uri)
        self._keys = KeySet(self._issuer, clock)
        self._audiences = {
            door: tuple(settings.audience) or (self.resource(door),) for door in _DOORS
        }
        self._ask_again = -math.inf
        self._checked: dict[tuple[Door, str], tuple[Caller, float]] = {}

    def resource(self, door: Door) -> str:
        """Return the identifier of a door as a protected resource: its URL."""
        return f"{self._base_url}/{door}"

    async def caller(self, headers: Mapping[str, str], door: Door) -> Caller:
        """Return whom a token speaks for.

        Raises:
            AccessUnauthenticated: There is none, or it does not count here and now.
            AccessForbidden: It lacks a scope that every token must have.
            AccessUnavailable: The issuer's keys can't be had.
        """
        token = bearer(headers)
        if not token:
            raise unauthenticated(
                headers, wrong="no bearer token", missing="a token is required", hint=self._hint()
            )
        checked = self._checked.get((door, token))
        if checked is not None and self._clock.time() < checked[1]:
            return checked[0]
        claims = await self._check(token, door)
        caller = self._caller_of(claims, door)
        if len(self._checked) >= _MOST_CHECKED:
            self._checked.clear()
        until = min(claims["exp"] + self._settings.leeway, self._clock.time() + CHECKED_SECONDS)
        self._checked[door, token] = caller, until
        return caller

    def admission(self, headers: Mapping[str, str], door: Door) -> Admission:
        """Return one that ends with the token: with its own time, whenever it was checked last."""
        # Its signature was looked at when these headers were let in.
        claims: Object = jwt.decode(bearer(headers) or "", options={"verify_signature": False})
        return Admission(until=claims["exp"] + self._settings.leeway, clock=self._clock)

    async def _check(self, token: str, door: Door) -> Object:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            self._refuse("it is no JSON Web Token")
        algorithm: Any = header.get("alg")
        if algorithm not in self._settings.algorithms:
            self._refuse("its algorithm is not allowed")
        if "crit" in header:
            self._refuse("it has header parameters that are not understood")
        kid: Any = header.get("kid")
        key = await self._keys.find(None if kid is None else str(kid), str(algorithm))
        if key is None:
            self._refuse("its key is none of the issuer's")
        try:
            claims: Object = jwt.decode(
                token,
                key,
                algorithms=[str(algorithm)],
                audience=self._audiences[door],
                issuer=self._issuer.url,
                # Times are checked below, by the one clock.
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError:
            self._refuse("it is for another audience")
        except jwt.PyJWTError as error:
            self._refuse(str(error))
        self._check_times(claims)
        return claims

    def _check_times(self, claims: Object) -> None:
        now, leeway = self._clock.time(), self._settings.leeway
        expires: Any = claims["exp"]
        begins: Any = claims.get("nbf", 0)
        if not _is_number(expires) or not _is_number(begins):
            self._refuse("its times are no numbers")
        # Said so that what is not a number counts for nothing.
        if not now < expires + leeway:
            self._refuse("it has expired")
        if not now >= begins - leeway:
            self._refuse("it is not valid yet")

    def _caller_of(self, claims: Object, door: Door) -> Caller:
        subject: Any = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_TEXT:
            self._refuse("it names no subject")
        tenant: Any = DEFAULT_TENANT
        if self._settings.tenant_claim:
            tenant = claims.get(self._settings.tenant_claim)
            if not isinstance(tenant, str) or not 0 < len(tenant) <= _MOST_TEXT:
                self._refuse(f"its claim {self._settings.tenant_claim!r} names no tenant")
        scopes = _scopes(claims.get(self._settings.scope_claim))
        missing = [scope for scope in self._settings.required_scopes if scope not in scopes]
        if missing:
            raise AccessForbidden(
                f"the token lacks {', '.join(missing)}", data={"scopes": list(missing)}
            )
        # An issuer has no fragment (RFC 8414 2), so that no two of these are the same text.
        principal = f"{self._issuer.url}#{subject}"
        return Caller(principal=principal, tenant=str(tenant), door=door, scopes=scopes)

    def _refuse(self, reason: str) -> NoReturn:
        raise AccessUnauthenticated(
            f"the token does not count: {reason}",
            hint=self._hint(),
            data={"reason": "invalid_token"},
        )

    def _hint(self) -> str:
        return f"get a token from {self._issuer.url} for the resource you call"

    def challenge(self, error: AccessError, door: Door) -> dict[str, str]:
        """Return the header of a 401 or 403: where tokens are described, and which scopes to ask
        for (RFC 9728 5.1, RFC 6750 3.1)."""
        required = self._settings.required_scopes
        if isinstance(error, AccessForbidden):
            needed = [self._known(scope) for scope in scopes_of(error)]
            scopes = list(dict.fromkeys([*required, *needed]))
            error = AccessForbidden(error.message, data={"scopes": scopes})
        url = f"{self._base_url}{METADATA_PATH}/{door}"
        wanted = " ".join(required or self._settings.scopes)
        return www_authenticate(error, [("resource_metadata", url), ("scope", wanted)])

    def _known(self, needed: str) -> str:
        """Return the narrowest scope that the issuer gives out and that is enough."""
        enough = [scope for scope in self._settings.scopes if covers(scope, needed)]
        return max(enough, key=len, default=needed)

    async def scheme(self) -> Scheme | None:
        """Return the scheme: OAuth 2 as far as the issuer's metadata can be had."""
        description = f"A token of {self._issuer.url}."
        bare = Scheme("bearer", description)
        now = self._clock.monotonic()
        if not self._issuer.metadata_url and now < self._ask_again:
            return bare
        # Anybody may read a card, so that the issuer is not asked each time while it fails.
        self._ask_again = now + RETRY_SECONDS
        try:
            metadata = await self._issuer.metadata()
        except IssuerError as error:
            # The keys may be set by hand, and then nobody else needs the metadata.
            _log.warning("the card names no OAuth endpoints: %s", error)
            return bare
        authorization: Any = metadata.get("authorization_endpoint")
        token: Any = metadata.get("token_endpoint")
        if not isinstance(authorization, str) or not isinstance(token, str):
            return bare
        return replace(
            bare,
            kind="oauth2",
            metadata_url=self._issuer.metadata_url,
            authorization_url=authorization,
            token_url=token,
            scopes={scope: SCOPES.get(scope, scope) for scope in self._settings.scopes},
        )

    def documents(self) -> dict[str, Object]:
        """Return the metadata of each door as a protected resource (RFC 9728 2), by its path.

        Without a door's path it is that of MCP, where clients look last.
        """
        found = {f"{METADATA_PATH}/{door}": self._document(door) for door in _DOORS}
        return {METADATA_PATH: self._document("mcp"), **found}

    def _document(self, door: Door) -> Object:
        return {
            "resource": self.resource(door),
            "resource_name": "llmspell",
            "authorization_servers": [self._issuer.url],
            "scopes_supported": list(self._settings.scopes),
            "bearer_methods_supported": ["header"],
        }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scopes(claim: Any) -> frozenset[str]:
    """Return the scopes of a claim: a text with blanks (RFC 8693 4.2), or a list of texts."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list):
        return frozenset(scope for scope in cast("list[Any]", claim) if isinstance(scope, str))
    return frozenset()
