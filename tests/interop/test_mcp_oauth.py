"""The official Python client gets itself a token: discovery, registration, PKCE, step-up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp_types import TextContent
from pydantic import AnyUrl

from llmspell.clock import SystemClock
from llmspell.config import OAuthSettings
from llmspell.endpoints.app import HttpServer, address_of, listen, serve_http, url_of
from llmspell.endpoints.auth.oauth import OAuthAuthenticator
from llmspell.host.host import Host
from tests.support.authorization_server import AuthorizationServer, serving_issuer
from tests.support.mcp import LEGACY, MODERN, SECONDS, open_host

ERAS = {"legacy": LEGACY, "auto": MODERN}
REDIRECT = "http://127.0.0.1:1/callback"
"""Nobody listens there: the test plays the browser and reads where it was sent."""


@dataclass
class Storage:
    """What a client keeps between its starts."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@dataclass
class Person:
    """Somebody with a browser, who agrees to everything."""

    storage: Storage = field(default_factory=Storage)
    visits: list[str] = field(default_factory=list[str])
    _back: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    async def open(self, url: str) -> None:
        """Follow the client to the issuer, and keep what it sends back."""
        self.visits.append(url)
        async with httpx2.AsyncClient(follow_redirects=False) as browser:
            answer = await browser.get(url)
        assert answer.status_code == 302
        self._back = parse_qs(urlsplit(answer.headers["location"]).query)

    async def come_back(self) -> AuthorizationCodeResult:
        """Return what the issuer gave the browser for the client."""
        back = self._back
        return AuthorizationCodeResult(
            code=back["code"][0], state=back["state"][0], iss=back["iss"][0]
        )

    @asynccontextmanager
    async def connect(self, server: HttpServer, era: str) -> AsyncGenerator[Client]:
        """Open a client of this person's."""
        url = f"{server.url}/mcp"
        metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(REDIRECT)], client_name="a client")
        auth = OAuthClientProvider(url, metadata, self.storage, self.open, self.come_back)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=None) as http,
            Client(streamable_http_client(url, http_client=http), mode=era) as client,
        ):
            assert client.protocol_version == ERAS[era]
            yield client


@dataclass
class House:
    host: Host
    issuer: AuthorizationServer
    server: HttpServer


@asynccontextmanager
async def open_house(directory: Path, **settings: Any) -> AsyncGenerator[House]:
    """A host behind HTTP that takes the tokens of an issuer."""
    async with (
        asyncio.timeout(2 * SECONDS),
        serving_issuer() as issuer,
        open_host(directory) as host,
    ):
        listener = listen("127.0.0.1", 0)
        url = url_of(*address_of(listener))
        oauth = OAuthSettings(issuer=issuer.url, **settings)
        auth = OAuthAuthenticator(oauth, url, SystemClock())
        server = await serve_http(host, auth=auth, listener=listener)
        try:
            yield House(host, issuer, server)
        finally:
            await server.close()


async def say(client: Client, text: str) -> str:
    """Call the tool `echo` and return what it says."""
    result = await client.call_tool("echo", {"text": text})
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_knows_only_the_address_gets_itself_a_token(
    tmp_path: Path, era: str
) -> None:
    async with open_house(tmp_path) as house:
        person = Person()
        async with person.connect(house.server, era) as client:
            assert await say(client, "hello") == "hello"
            assert await say(client, "again") == "again"
        assert len(person.visits) == 1
        asked = parse_qs(urlsplit(person.visits[0]).query)
        assert asked["resource"] == [f"{house.server.url}/mcp"]
        assert asked["scope"] == ["cast read"]
        async with person.connect(house.server, era) as client:
            assert await say(client, "a third time") == "a third time"
        assert len(person.visits) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_is_asked_for_more_when_an_operation_needs_more(
    tmp_path: Path, era: str
) -> None:
    settings = {"required_scopes": ["read"], "scopes": ["read", "cast:echo", "cast"]}
    async with open_house(tmp_path, **settings) as house:
        person = Person()
        async with person.connect(house.server, era) as client:
            assert (await client.list_tools()).tools
            assert house.issuer.scopes == ["read"]
            assert await say(client, "hello") == "hello"
        assert house.issuer.scopes == ["read", "read cast:echo"]


async def test_a_token_of_another_resource_is_not_taken(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, httpx2.AsyncClient(timeout=SECONDS) as http:
        url = f"{house.server.url}/mcp"
        for audience, status in ((url, 400), (f"{house.server.url}/a2a", 401)):
            headers = {"authorization": f"Bearer {house.issuer.token(audience)}"}
            answer = await http.post(
                url,
                content=b"{nope",
                headers={
                    **headers,
                    "accept": "application/json, text/event-stream",
                    "content-type": "application/json",
                },
            )
            assert answer.status_code == status


async def test_the_card_says_how_to_get_a_token_and_the_metadata_is_public(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house, httpx2.AsyncClient(timeout=SECONDS) as http:
        url = house.server.url
        card = (await http.get(f"{url}/.well-known/agent-card.json")).json()
        flow = card["securitySchemes"]["oauth2"]["oauth2SecurityScheme"]["flows"]
        assert flow["authorizationCode"]["tokenUrl"] == f"{house.issuer.url}/token"
        refused = await http.post(f"{url}/a2a", json={})
        assert refused.status_code == 401
        where = f"{url}/.well-known/oauth-protected-resource/a2a"
        assert f'resource_metadata="{where}"' in refused.headers["www-authenticate"]
        metadata = (await http.get(where)).json()
        assert metadata["resource"] == f"{url}/a2a"
        assert metadata["authorization_servers"] == [house.issuer.url]
        token = house.issuer.token(metadata["resource"], scope="read")
        message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
        told = await http.post(
            f"{url}/a2a",
            headers={"authorization": f"Bearer {token}", "a2a-version": "1.0"},
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "SendMessage",
                "params": {"message": {**message, "metadata": {"llmspell/skill": "echo"}}},
            },
        )
        assert told.status_code == 403
        assert 'error="insufficient_scope", scope="cast"' in told.headers["www-authenticate"]


async def test_people_of_two_tenants_see_nothing_of_each_other(tmp_path: Path) -> None:
    async with open_house(tmp_path, tenant_claim="org") as house:
        for name, tenant in (("alice", "acme"), ("alice", "other")):
            house.issuer.subject, house.issuer.claims = name, {"org": tenant}
            async with Person().connect(house.server, "auto") as client:
                who = await client.call_tool("who", {})
                assert who.structured_content is not None
                assert who.structured_content["user"] == f"{house.issuer.url}#alice"
