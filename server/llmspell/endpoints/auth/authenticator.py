"""What proves who calls: the interface of the modes, and how a refusal is told.

A mode reads headers and nothing else of a request. How often somebody may call is the gate's
concern, what a caller may do the host's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from llmspell.endpoints.auth.admission import Admission
from llmspell.errors import AccessError, AccessForbidden, AccessUnauthenticated
from llmspell.security.principals import Caller, Door
from llmspell.values import Object

AuthMode: TypeAlias = Literal["token", "none", "keys", "oauth"]

REALM = "llmspell"


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a client needs to know to authenticate, for the doors that publish it."""

    kind: Literal["bearer", "oauth2"]
    description: str
    metadata_url: str = ""
    """The issuer's metadata (RFC 8414), with `oauth2`."""
    authorization_url: str = ""
    token_url: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Each scope and what it allows."""


class Authenticator(Protocol):
    """Maps the headers of a request to its caller."""

    @property
    def mode(self) -> AuthMode:
        """Which of the modes it is."""
        ...

    async def caller(self, headers: Mapping[str, str], door: Door) -> Caller:
        """Return who sends these headers (lower-case names).

        Raises:
            AccessUnauthenticated: Nobody known does.
            AccessForbidden: Somebody known does who may not enter at all.
            AccessUnavailable: What it takes to tell can't be had now.
        """
        ...

    def admission(self, headers: Mapping[str, str], door: Door) -> Admission:
        """Return for how long what these headers opened may stay open.

        Args:
            headers: Of a request that was let in; they are not checked again.
        """
        ...

    def challenge(self, error: AccessError, door: Door) -> dict[str, str]:
        """Return the headers that tell a refused client how to go on (RFC 6750 3)."""
        ...

    async def scheme(self) -> Scheme | None:
        """Return what the doors publish of this mode; None when nothing is needed."""
        ...

    def documents(self) -> Mapping[str, Object]:
        """Return what anybody may read about this mode, by path."""
        ...


def bearer(headers: Mapping[str, str]) -> str | None:
    """Return the bearer token of a request, or None when it carries none (RFC 6750 2.1)."""
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    return sent.strip() if scheme.lower() == "bearer" else None


def unauthenticated(
    headers: Mapping[str, str], *, wrong: str, missing: str, hint: str | None = None
) -> AccessUnauthenticated:
    """Return the error for a request whose credential is missing or wrong."""
    if headers.get("authorization"):
        return AccessUnauthenticated(wrong, hint=hint, data={"reason": "invalid_token"})
    return AccessUnauthenticated(missing, hint=hint, data={"reason": "missing_token"})


def www_authenticate(error: AccessError, parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the header `WWW-Authenticate` for an error; none for what no credential changes.

    Args:
        error: 401 names `invalid_token` when a token was sent, 403 all scopes it would take.
        parameters: What comes first, e.g. the realm.
    """
    found = list(parameters)
    if isinstance(error, AccessForbidden):
        found.append(("error", "insufficient_scope"))
        found = [*((n, v) for n, v in found if n != "scope"), ("scope", " ".join(scopes_of(error)))]
    elif not isinstance(error, AccessUnauthenticated):
        return {}
    elif error.data.get("reason") == "invalid_token":
        found += [("error", "invalid_token"), ("error_description", error.message)]
    return {"www-authenticate": "Bearer " + ", ".join(_quoted(n, v) for n, v in found if v)}


def scopes_of(error: AccessForbidden) -> Sequence[str]:
    """Return the scopes that a refused operation needs."""
    scopes: Any = error.data.get("scopes", ())
    return [str(scope) for scope in scopes]


def _quoted(name: str, value: str) -> str:
    # RFC 6750 3: printable ASCII without quotes and backslashes.
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in value)
    return f'{name}="{plain}"'
