"""What is told about tokens: metadata, challenges, and settings that are refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import Response

from llmspell.config import OAuthSettings
from llmspell.endpoints.auth.documents import documents
from llmspell.endpoints.auth.issuer import metadata_urls
from llmspell.endpoints.auth.oauth import OAuthAuthenticator
from llmspell.errors import (
    AccessForbidden,
    AccessUnauthenticated,
    ConfigError,
)
from tests.support.authorization_server import METADATA_PATH, AuthorizationServer
from tests.support.resource_server import (
    A2A,
    BASE,
    MCP,
    clock,
    resource_server,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_metadata_is_looked_for_where_the_standards_have_it() -> None:
    assert list(metadata_urls("https://i.example")) == [
        "https://i.example/.well-known/oauth-authorization-server",
        "https://i.example/.well-known/openid-configuration",
    ]
    assert list(metadata_urls("https://i.example/realm")) == [
        "https://i.example/.well-known/oauth-authorization-server/realm",
        "https://i.example/.well-known/openid-configuration/realm",
        "https://i.example/realm/.well-known/openid-configuration",
    ]


async def test_each_door_is_described_as_a_resource_of_its_own(
    issuer: AuthorizationServer,
) -> None:
    documents = resource_server(issuer, scopes=["cast", "read", "profile"]).documents()
    root = "/.well-known/oauth-protected-resource"
    assert sorted(documents) == [root, f"{root}/a2a", f"{root}/mcp"]
    assert documents[root] == documents[f"{root}/mcp"]
    assert documents[f"{root}/a2a"] == {
        "resource": A2A,
        "resource_name": "llmspell",
        "authorization_servers": [issuer.url],
        "scopes_supported": ["cast", "read", "profile"],
        "bearer_methods_supported": ["header"],
    }


async def test_the_documents_are_read_by_anybody_pages_included(
    issuer: AuthorizationServer,
) -> None:
    app = Starlette(routes=documents(resource_server(issuer).documents()))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
        path = "/.well-known/oauth-protected-resource/mcp"
        answer = await client.get(path, headers={"origin": "https://page.example"})
        assert answer.json()["resource"] == MCP
        assert answer.headers["access-control-allow-origin"] == "*"
        asked = {"access-control-request-headers": "mcp-protocol-version"}
        before = await client.options(path, headers=asked)
        assert before.status_code == 204
        assert before.headers["access-control-allow-headers"] == "mcp-protocol-version"
        assert (await client.post(path)).status_code == 405


async def test_a_request_without_a_token_is_told_where_to_get_one(
    issuer: AuthorizationServer,
) -> None:
    auth = resource_server(issuer)
    with pytest.raises(AccessUnauthenticated) as told:
        await auth.caller({}, "a2a")
    assert auth.challenge(told.value, "a2a") == {
        "www-authenticate": f'Bearer resource_metadata="{BASE}/.well-known/'
        'oauth-protected-resource/a2a", scope="cast read"'
    }
    assert issuer.url in told.value.hint
    assert issuer.asked.total() == 0


async def test_a_step_up_names_the_narrowest_scopes_that_the_issuer_has(
    issuer: AuthorizationServer,
) -> None:
    error = AccessForbidden("no", data={"scopes": ["cast:note_add"]})

    def scope(**settings: Any) -> str:
        header = resource_server(issuer, **settings).challenge(error, "mcp")["www-authenticate"]
        return header.partition('scope="')[2].partition('"')[0]

    assert scope() == "cast"
    assert scope(scopes=["cast", "cast:note_*"]) == "cast:note_*"
    assert scope(scopes=["read"]) == "cast:note_add"
    assert scope(required_scopes=["read"]) == "read cast"


async def test_the_scheme_is_oauth_where_the_issuer_says_how_and_a_bearer_otherwise(
    issuer: AuthorizationServer,
) -> None:
    scheme = await resource_server(issuer).scheme()
    assert scheme is not None
    assert (scheme.kind, scheme.token_url) == ("oauth2", f"{issuer.url}/token")
    assert scheme.metadata_url == f"{issuer.url}{METADATA_PATH}"
    assert set(scheme.scopes) == {"cast", "read"}
    issuer.changed[METADATA_PATH] = lambda: Response(status_code=500)
    issuer.asked.clear()
    auth = resource_server(issuer)
    for _ in range(3):
        scheme = await auth.scheme()
        assert scheme is not None
        assert scheme.kind == "bearer"
    assert issuer.asked[METADATA_PATH] == 1


async def test_without_an_issuer_the_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="issuer"):
        OAuthAuthenticator(OAuthSettings(), BASE, clock())


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://i.example"},
        {"issuer": "https://i.example/?a=b"},
        {"issuer": "https://i.example/#a"},
        {"issuer": "https://user@i.example"},
        {"issuer": "ftp://i.example"},
        {"jwks_uri": "http://i.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"leeway": "1h"},
    ],
    ids=str,
)
async def test_settings_that_would_open_the_door_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="OAuthSettings"):
        OAuthSettings(**wrong)
