"""The hub's card: what it says of the catalogue, and how it is cached."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.json_format import ParseDict

from llmspell.endpoints.a2a.cards import SKILL_EXTENSION, build_card
from llmspell.endpoints.app import serve_http
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.endpoints.auth.authenticator import Scheme
from llmspell.host.catalogue import Catalogue, Published
from llmspell_protocols.a2a.connection import BINDING
from tests.support.a2a import SECONDS, SPELLS, open_host, serving

TOKEN = Scheme("bearer", "The token.")


def card_of(
    *spells: Published, scheme: Scheme | None = TOKEN, url: str = "http://h:1"
) -> dict[str, Any]:
    card = build_card(Catalogue(generation=1, spells=spells), url, scheme=scheme)
    validate_proto_required_fields(ParseDict(card, pb.AgentCard()))
    return card


BARE = Published(name="bare")


def test_a_spell_is_a_skill_with_its_title_tags_and_examples():
    full = Published(
        name="full",
        title="Full",
        description="Does it.",
        tags=("a", "b"),
        examples=({"input": {"text": "hi"}}, {"input": "plain"}),
    )
    skill = card_of(full)["skills"][0]
    assert skill == {
        "id": "full",
        "name": "Full",
        "description": "Does it.",
        "tags": ["a", "b"],
        "examples": ['{"text":"hi"}', "plain"],
    }


def test_a_spell_that_says_nothing_of_itself_still_makes_a_valid_skill():
    agent = Published(name="bare", kind="agent")
    skill = card_of(agent)["skills"][0]
    assert skill == {"id": "bare", "name": "bare", "description": "bare", "tags": ["agent"]}


def test_a_spell_that_is_not_exposed_is_no_skill():
    hidden = Published(name="hidden", expose_a2a=False)
    assert [skill["id"] for skill in card_of(BARE, hidden)["skills"]] == ["bare"]


@pytest.mark.parametrize(("base", "socket"), [("http://h:1", "ws://h:1"), ("https://h", "wss://h")])
def test_both_bindings_are_named_under_the_address_that_was_asked(base: str, socket: str):
    interfaces = card_of(BARE, url=base)["supportedInterfaces"]
    assert [(each["protocolBinding"], each["url"]) for each in interfaces] == [
        ("JSONRPC", f"{base}/a2a"),
        (BINDING, f"{socket}/a2a/ws"),
    ]
    assert {each["protocolVersion"] for each in interfaces} == {"1.0"}


def test_capabilities_say_what_is_there_and_what_is_not():
    capabilities = card_of(BARE)["capabilities"]
    assert capabilities["streaming"] is True
    assert capabilities["pushNotifications"] is False
    assert capabilities["extendedAgentCard"] is False
    assert capabilities["extensions"][0]["uri"] == SKILL_EXTENSION


def test_the_bearer_scheme_is_declared_only_where_a_token_is_required():
    assert card_of(BARE)["securityRequirements"] == [{"schemes": {"bearer": {}}}]
    assert "securitySchemes" not in card_of(BARE, scheme=None)


def test_oauth_is_declared_with_the_issuers_endpoints_and_the_scopes():
    scheme = Scheme(
        "oauth2",
        "A token.",
        metadata_url="https://i/.well-known/oauth-authorization-server",
        authorization_url="https://i/authorize",
        token_url="https://i/token",
        scopes={"cast": "Cast.", "read": "Read."},
    )
    card = card_of(BARE, scheme=scheme)
    assert card["securityRequirements"] == [{"schemes": {"oauth2": {"list": ["cast", "read"]}}}]
    declared = card["securitySchemes"]["oauth2"]["oauth2SecurityScheme"]
    assert declared["oauth2MetadataUrl"] == scheme.metadata_url
    assert declared["flows"]["authorizationCode"] == {
        "authorizationUrl": "https://i/authorize",
        "tokenUrl": "https://i/token",
        "scopes": {"cast": "Cast.", "read": "Read."},
        "pkceRequired": True,
    }


async def test_the_card_names_the_public_address_where_one_is_set(tmp_path: Path):
    async with (
        open_host(tmp_path, "echo") as host,
        asyncio.timeout(SECONDS),
        httpx.AsyncClient() as client,
    ):
        server = await serve_http(
            host, port=0, auth=AnonymousAuthenticator(), public_url="https://spells.example"
        )
        url = f"http://127.0.0.1:{server.port}/.well-known/agent-card.json"
        for headers in ({}, {"host": "spells.example"}):
            card = (await client.get(url, headers=headers)).json()
            assert card["supportedInterfaces"][0]["url"] == "https://spells.example/a2a"
            assert card["supportedInterfaces"][1]["url"] == "wss://spells.example/a2a/ws"
        await server.close()


@pytest.mark.parametrize("path", ["/.well-known/agent-card.json", "/.well-known/agent.json"])
async def test_the_card_is_public_and_can_be_validated_by_its_tag(path: str, tmp_path: Path):
    async with serving(tmp_path, "echo") as server, httpx.AsyncClient() as client:
        answer = await client.get(server.url + path)
        assert answer.status_code == 200
        assert "max-age" in answer.headers["cache-control"]
        assert answer.json()["supportedInterfaces"][0]["url"] == f"{server.url}/a2a"
        tag = answer.headers["etag"]
        for tags in (tag, f"W/{tag}", f'"x", {tag}'):
            again = await client.get(server.url + path, headers={"if-none-match": tags})
            assert (again.status_code, again.content) == (304, b"")
        other = await client.get(server.url + path, headers={"if-none-match": '"x"'})
        assert other.status_code == 200


async def test_the_card_follows_the_catalogue_and_the_name_it_is_asked_under(tmp_path: Path):
    auth = AnonymousAuthenticator()
    async with serving(tmp_path, "echo", auth=auth) as server, httpx.AsyncClient() as client:
        url = f"{server.url}/.well-known/agent-card.json"
        before = await client.get(url)
        named = await client.get(url, headers={"host": f"localhost:{server.server.port}"})
        assert named.json()["supportedInterfaces"][0]["url"].startswith("http://localhost:")
        (tmp_path / "spells" / "count.lua").write_text(SPELLS["count"], encoding="utf-8")
        await server.host.reload()
        after = await client.get(url)
        assert [skill["id"] for skill in after.json()["skills"]] == ["count", "echo"]
        assert after.headers["etag"] != before.headers["etag"]
