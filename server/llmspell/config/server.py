"""`[server]`: the HTTP door, and who may come in by it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from llmspell.config.section import Seconds, Section

_ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"EdDSA"}


class OAuthSettings(Section):
    """`[server.oauth]`: whose tokens let in, with `auth = "oauth"`."""

    issuer: str = Field(
        default="",
        description="URL of the authorization server, as its tokens name it (the claim iss).",
    )
    audience: list[str] = Field(
        default_factory=list[str],
        description="What tokens must be for (the claim aud); empty = this server's own URL, "
        "with /mcp or /a2a.",
    )
    jwks_uri: str = Field(
        default="",
        description="Where the issuer's keys are; empty = what its metadata says, if that is on "
        "the issuer's own host.",
    )
    algorithms: list[str] = Field(
        default_factory=lambda: ["RS256", "ES256"],
        min_length=1,
        description="Algorithms that tokens may be signed with.",
    )
    scopes: list[str] = Field(
        default_factory=lambda: ["cast", "read"],
        min_length=1,
        description="Scopes the issuer gives out for this server: a client is told to ask for "
        "these.",
    )
    required_scopes: list[str] = Field(
        default_factory=list[str], description="Scopes that every token must have."
    )
    scope_claim: str = Field(
        default="scope", min_length=1, description="Claim with the scopes, a text or a list."
    )
    tenant_claim: str = Field(
        default="",
        description="Claim that is the tenant; empty = everybody is in the tenant default.",
    )
    leeway: Seconds = Field(
        default="30s",
        validate_default=True,
        ge=0,
        le=300,
        description="How far the issuer's clock may be off.",
    )

    @field_validator("issuer", "jwks_uri")
    @classmethod
    def _safe(cls, url: str) -> str:
        if url and not _is_safe(url):
            raise ValueError("must be an https URL (http on this machine only)")
        return url

    @field_validator("algorithms")
    @classmethod
    def _asymmetric(cls, algorithms: list[str]) -> list[str]:
        for algorithm in algorithms:
            if algorithm not in _ALGORITHMS:
                # A symmetric one would take the issuer's public key for a shared secret.
                raise ValueError(f"{algorithm!r} is none of {', '.join(sorted(_ALGORITHMS))}")
        return algorithms


def _is_safe(url: str) -> bool:
    """Return whether what is fetched from a URL comes from who it says."""
    try:
        parts = urlsplit(url)
        name = parts.hostname
    except ValueError:
        return False
    if not name or parts.query or parts.fragment or parts.username is not None:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and name in ("localhost", "127.0.0.1", "::1")
    )


class ServerSettings(Section):
    """`[server]`: the HTTP door."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=7777, ge=0, le=65535, description="Port to listen on; 0 = any free one."
    )
    auth: Literal["token", "none", "keys", "oauth"] = Field(
        default="token",
        description="token: the bearer token of the state directory; keys: API keys, see "
        "'llmspell keys'; oauth: tokens of [server.oauth] issuer; none: everybody, on loopback "
        "only.",
    )
    oauth: OAuthSettings = OAuthSettings()
    public_url: str = Field(
        default="",
        pattern=r"^$|^https?://[^/?#\s]+$",
        description="URL under which clients reach the server where that is not its address, "
        "e.g. a proxy's: scheme and name alone.",
    )
    requests_per_minute: int = Field(
        default=60_000,
        gt=0,
        description="Requests one principal may send in a minute, all at once or evenly.",
    )
    sessions: int = Field(
        default=1000,
        gt=0,
        description="MCP sessions of one principal (protocol versions before 2026-07-28); "
        "one more ends the one that was unused longest.",
    )
    session_idle: Seconds = Field(
        default=7 * 86400.0, gt=0, description='How long an unused MCP session is kept, "7d".'
    )
    resume_within: Seconds = Field(
        default=60.0,
        ge=0,
        description="How long an MCP call goes on once its client has left, in case it comes back "
        "for the answer (protocol versions before 2026-07-28).",
    )
    connections: int = Field(
        default=1000,
        gt=0,
        description="Connections that are open at once; one more is refused with 503.",
    )
    request_within: Seconds = Field(
        default=20.0,
        gt=0,
        description="How long a client may take for the head of a request, for the next piece of "
        "its body, and to take anything of an answer.",
    )
    streams: int = Field(
        default=1000, gt=0, description="Streams of changes one principal may hold open over MCP."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list[str], description="Host names answered besides loopback ones."
    )
    allowed_origins: list[str] = Field(
        default_factory=list[str], description="Browser origins that may call."
    )
