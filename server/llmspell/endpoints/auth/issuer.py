"""What an authorization server publishes: its metadata and its keys, fetched with care.

Only the host the settings name is asked, redirects are not followed, and an answer has a limit in
size and time: nothing a token or a published document says makes this server reach anywhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2

from llmspell.endpoints.auth.bind import is_loopback
from llmspell.values import Object, loads

FETCH_SECONDS = 5.0
MAX_DOCUMENT = 256 << 10
"""Largest metadata or key set in bytes."""


class IssuerError(Exception):
    """The issuer did not answer as it should; says what it did."""


class Issuer:
    """An authorization server.

    Args:
        url: Its issuer identifier, as the claim `iss` has it.
        jwks_uri: Where its keys are; "" = as its metadata says, if that is on the same host.
    """

    def __init__(self, url: str, jwks_uri: str = "") -> None:
        self.url = url
        self._jwks_uri = jwks_uri
        self.metadata_url = ""
        """Where its metadata was found."""
        self._metadata: Object | None = None

    async def metadata(self) -> Object:
        """Return the metadata (RFC 8414, or of OpenID Connect Discovery), fetched once.

        Raises:
            IssuerError: There is none, or it is another issuer's.
        """
        if self._metadata is None:
            self._metadata = await self._find_metadata()
        return self._metadata

    async def keys(self) -> list[Object]:
        """Return the issuer's keys as they are now (RFC 7517).

        Raises:
            IssuerError: They can't be had.
        """
        uri = self._jwks_uri
        if not uri:
            uri = str((await self.metadata()).get("jwks_uri", ""))
            if _place(uri) != _place(self.url):
                raise IssuerError(
                    f"its metadata names keys at {uri!r}, which is another host: "
                    "if that is right, set server.oauth.jwks_uri"
                )
        try:
            found: Any = (await fetch_json(uri)).get("keys")
        except IssuerError:
            self._metadata = None  # the keys may have moved
            raise
        if not isinstance(found, list):
            raise IssuerError(f"{uri} is no key set")
        return [cast("Object", key) for key in cast("list[Any]", found) if isinstance(key, dict)]

    async def _find_metadata(self) -> Object:
        problems: list[str] = []
        for url in metadata_urls(self.url):
            try:
                found = await fetch_json(url)
            except IssuerError as error:
                problems.append(str(error))
                continue
            # RFC 8414 3.3: who says to be somebody else is not believed.
            if found.get("issuer") != self.url:
                raise IssuerError(f"{url} is the metadata of {found.get('issuer')!r}")
            self.metadata_url = url
            return found
        raise IssuerError("; ".join(problems))


def metadata_urls(issuer: str) -> Iterator[str]:
    """Yield where the metadata of an issuer may be: RFC 8414 3.1, then OpenID's own place."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    yield f"{origin}/.well-known/oauth-authorization-server{path}"
    if path:
        yield f"{origin}/.well-known/openid-configuration{path}"
    yield f"{origin}{path}/.well-known/openid-configuration"


async def fetch_json(url: str) -> Object:
    """Return the JSON object at a URL.

    Raises:
        IssuerError: There is none within the limits.
    """
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await _fetch(url)
    except TimeoutError:
        raise IssuerError(f"{url} did not answer within {FETCH_SECONDS:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise IssuerError(f"{url}: {error or type(error).__name__}") from None


async def _fetch(url: str) -> Object:
    local = is_loopback(urlsplit(url).hostname or "")
    async with (
        # A proxy of the environment has no way to this machine's own loopback.
        httpx2.AsyncClient(follow_redirects=False, trust_env=not local) as client,
        client.stream(
            "GET", url, headers={"accept": "application/json", "accept-encoding": "identity"}
        ) as answer,
    ):
        if answer.status_code != 200:
            raise IssuerError(f"{url} answered {answer.status_code}")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_DOCUMENT:
                raise IssuerError(f"{url} is larger than {MAX_DOCUMENT} bytes")
    try:
        found: Any = loads(bytes(body))
    except ValueError as error:
        raise IssuerError(f"{url} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise IssuerError(f"{url} is no JSON object")
    return cast("Object", found)


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
