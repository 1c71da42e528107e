"""The resource server: which tokens count, and for whom."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from llmspell.endpoints.auth.oauth import CHECKED_SECONDS
from llmspell.errors import (
    AccessForbidden,
)
from llmspell.security.principals import Caller
from tests.support.authorization_server import AuthorizationServer, SigningKey
from tests.support.resource_server import (
    A2A,
    KEYS,
    MCP,
    STRANGE,
    bearer,
    clock,
    refused,
    resource_server,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.algorithm)
async def test_a_token_of_the_issuer_is_its_subject_with_its_scopes(
    issuer: AuthorizationServer, key: SigningKey
) -> None:
    token = issuer.token(MCP, key=key, scope="cast:echo openid")
    assert await resource_server(issuer).caller(bearer(token), "mcp") == Caller(
        principal=f"{issuer.url}#alice",
        tenant="default",
        door="mcp",
        scopes=frozenset({"cast:echo", "openid"}),
    )


@pytest.mark.parametrize("claim", [{"scope": None}, {"scope": ""}, {"scope": 7}, {"scope": [7]}])
async def test_a_token_without_scopes_may_do_nothing(
    issuer: AuthorizationServer, claim: dict[str, Any]
) -> None:
    caller = await resource_server(issuer).caller(bearer(issuer.token(MCP, **claim)), "mcp")
    assert caller.scopes == frozenset()


async def test_the_scopes_may_be_a_list_in_another_claim(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer, scope_claim="scp")
    caller = await auth.caller(bearer(issuer.token(MCP, scp=["cast", "read"])), "mcp")
    assert caller.scopes == {"cast", "read"}


async def test_a_door_takes_tokens_for_itself_only(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer)
    both = bearer(issuer.token([MCP, A2A]))
    assert (await auth.caller(both, "mcp")).door == "mcp"
    assert (await auth.caller(both, "a2a")).door == "a2a"
    assert await auth.caller(bearer(issuer.token(A2A)), "a2a")
    assert "audience" in (await refused(auth, issuer.token(A2A))).message


async def test_an_audience_that_is_set_holds_for_both_doors(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer, audience=["api://spells"])
    for door in ("mcp", "a2a"):
        assert await auth.caller(bearer(issuer.token("api://spells")), door)
    await refused(auth, issuer.token(MCP))


async def test_the_tenant_is_what_the_mapped_claim_says(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer, tenant_claim="org")
    assert (await auth.caller(bearer(issuer.token(MCP, org="acme")), "mcp")).tenant == "acme"
    for wrong in (None, "", 7, ["acme"], "x" * 1000):
        assert "'org'" in (await refused(auth, issuer.token(MCP, org=wrong))).message


async def test_a_required_scope_that_is_missing_is_named(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer, required_scopes=["read", "profile"])
    with pytest.raises(AccessForbidden) as told:
        await auth.caller(bearer(issuer.token(MCP, scope="cast profile")), "mcp")
    assert told.value.data == {"scopes": ["read"]}
    challenge = auth.challenge(told.value, "mcp")["www-authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="read profile"' in challenge


def unsigned(issuer: AuthorizationServer) -> str:
    header, body, _ = issuer.token(MCP).split(".")
    head = json.loads(base64.urlsafe_b64decode(header + "=="))
    plain = base64.urlsafe_b64encode(json.dumps({**head, "alg": "none"}).encode()).rstrip(b"=")
    return f"{plain.decode()}.{body}."


def signed_with_the_public_key(issuer: AuthorizationServer) -> str:
    """The classic confusion: the public key of the issuer as a shared secret."""
    public = KEYS[0].private.public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = issuer.token(MCP).split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa","typ":"JWT"}').rstrip(b"=")
    text = f"{header.decode()}.{body}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def altered(issuer: AuthorizationServer) -> str:
    header, _, signature = issuer.token(MCP, sub="alice").split(".")
    return f"{header}.{issuer.token(MCP, sub='root').split('.')[1]}.{signature}"


def spliced_key(issuer: AuthorizationServer) -> str:
    """A token that brings its own key along."""
    claims = {"iss": issuer.url, "sub": "root", "aud": MCP, "exp": int(time.time()) + 60}
    headers = {"jwk": STRANGE.public(), "jku": f"{issuer.url}/evil", "kid": "rsa"}
    return jwt.encode(claims, STRANGE.private, algorithm="RS256", headers=headers)


FORGED: dict[str, Callable[[AuthorizationServer], str]] = {
    "another audience": lambda issuer: issuer.token("https://elsewhere.example"),
    "an audience that only begins so": lambda issuer: issuer.token(MCP + "x"),
    "no audience": lambda issuer: issuer.token(None),
    "another issuer": lambda issuer: issuer.token(MCP, iss="https://evil.example"),
    "no issuer": lambda issuer: issuer.token(MCP, iss=None),
    "expired": lambda issuer: issuer.token(MCP, exp=int(time.time()) - 31),
    "no expiry": lambda issuer: issuer.token(MCP, exp=None),
    "an expiry that is no time": lambda issuer: issuer.token(MCP, exp="soon"),
    "an expiry that is a truth": lambda issuer: issuer.token(MCP, exp=True),
    "not a number": lambda issuer: issuer.token(MCP, exp=float("nan")),
    "not valid yet": lambda issuer: issuer.token(MCP, nbf=int(time.time()) + 60),
    "a beginning that is no time": lambda issuer: issuer.token(MCP, nbf="soon"),
    "no subject": lambda issuer: issuer.token(MCP, sub=None),
    "an empty subject": lambda issuer: issuer.token(MCP, sub=""),
    "a subject that is no text": lambda issuer: issuer.token(MCP, sub=7),
    "an unknown key": lambda issuer: issuer.token(MCP, key=STRANGE),
    "a known name for an unknown key": lambda issuer: issuer.token(MCP, key=STRANGE, kid="rsa"),
    "the name of a key of another kind": lambda issuer: issuer.token(MCP, kid="rsa"),
    "unsigned": unsigned,
    "signed with the public key": signed_with_the_public_key,
    "claims of another token": altered,
    "a key of its own": spliced_key,
    "no token at all": lambda _: "nonsense",
    "empty parts": lambda _: "..",
    "beyond ascii": lambda _: "é.é.é",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_token_that_is_not_for_here_and_now_is_refused(
    issuer: AuthorizationServer, forge: Callable[[AuthorizationServer], str]
) -> None:
    auth = resource_server(issuer)
    error = await refused(auth, forge(issuer))
    assert error.code == "access.unauthenticated"
    assert 'error="invalid_token"' in auth.challenge(error, "mcp")["www-authenticate"]
    assert "/evil" not in issuer.asked


async def test_an_algorithm_that_is_not_allowed_is_refused(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer, algorithms=["ES256"])
    assert await auth.caller(bearer(issuer.token(MCP, key=KEYS[1])), "mcp")
    assert "algorithm" in (await refused(auth, issuer.token(MCP, key=KEYS[0]))).message


async def test_headers_that_must_be_understood_and_are_not_refuse_a_token(
    issuer: AuthorizationServer,
) -> None:
    claims = {"iss": issuer.url, "sub": "a", "aud": MCP, "exp": int(time.time()) + 60}
    headers = {"kid": "rsa", "crit": ["b64"], "b64": True}
    token = jwt.encode(claims, KEYS[0].private, algorithm="RS256", headers=headers)
    await refused(resource_server(issuer), token)


async def test_the_clocks_may_differ_by_the_leeway(issuer: AuthorizationServer) -> None:
    on = clock()
    auth = resource_server(issuer, on, leeway="10s")
    token = issuer.token(MCP, exp=int(on.time()) + 5, nbf=int(on.time()) + 5)
    assert await auth.caller(bearer(token), "mcp")
    await on.advance(20)
    assert "expired" in (await refused(auth, token)).message


async def test_a_token_is_checked_once_a_minute_and_never_beyond_its_end(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    token = issuer.token(MCP)
    first = await auth.caller(bearer(token), "mcp")
    assert await auth.caller(bearer(token), "mcp") is first
    await on.advance(CHECKED_SECONDS)
    assert await auth.caller(bearer(token), "mcp") is not first
    await on.advance(400)
    await refused(auth, token)


async def test_a_checked_token_counts_until_its_end_and_not_until_the_next_check(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on, leeway=0)
    token = issuer.token(MCP, exp=int(on.time()) + CHECKED_SECONDS / 2)
    first = await auth.caller(bearer(token), "mcp")
    await on.advance(CHECKED_SECONDS / 2 - 2)
    assert await auth.caller(bearer(token), "mcp") is first
    await on.advance(2)
    assert "expired" in (await refused(auth, token)).message
