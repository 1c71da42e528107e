"""The keys of an issuer: kept, fetched anew, and what happens while they cannot be had."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Callable

import jwt
import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from llmspell.endpoints.auth.issuer import MAX_DOCUMENT
from llmspell.endpoints.auth.key_set import KEEP_SECONDS, RETRY_SECONDS, STALE_SECONDS
from llmspell.endpoints.auth.oauth import CHECKED_SECONDS
from llmspell.errors import AccessUnauthenticated, AccessUnavailable
from tests.support.authorization_server import METADATA_PATH, AuthorizationServer, SigningKey
from tests.support.resource_server import (
    KEYS,
    MCP,
    STRANGE,
    bearer,
    clock,
    refused,
    resource_server,
)

SECONDS = 20.0

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_keys_are_fetched_once_for_all_who_ask_at_once(issuer: AuthorizationServer) -> None:
    auth = resource_server(issuer)
    tokens = [issuer.token(MCP, sub=f"s{n}") for n in range(20)]
    await asyncio.gather(*(auth.caller(bearer(token), "mcp") for token in tokens))
    assert issuer.asked["/jwks"] == 1


async def test_a_new_key_is_found_when_the_first_token_names_it(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    await auth.caller(bearer(issuer.token(MCP)), "mcp")
    issuer.keys = [SigningKey.make("next", "ES256")]
    await on.advance(RETRY_SECONDS)
    assert await auth.caller(bearer(issuer.token(MCP)), "mcp")
    assert "key" in (await refused(auth, issuer.token(MCP, key=KEYS[0]))).message


async def test_unknown_keys_make_the_issuer_be_asked_now_and_then_only(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    for number in range(30):
        await refused(auth, issuer.token(MCP, key=STRANGE, kid=f"k{number}"))
        await on.advance(1)
    assert issuer.asked["/jwks"] <= 1 + 30 / RETRY_SECONDS


async def test_a_key_that_was_taken_back_counts_no_more_after_a_while(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    token = issuer.token(MCP, key=KEYS[0], exp=int(on.time()) + 10_000)
    await auth.caller(bearer(token), "mcp")
    issuer.keys = [KEYS[1]]
    await on.advance(KEEP_SECONDS + 1)
    await refused(auth, token)


async def test_a_token_without_a_key_name_needs_a_single_key_that_fits(
    issuer: AuthorizationServer,
) -> None:
    claims = {"iss": issuer.url, "sub": "a", "aud": MCP, "exp": int(time.time()) + 60}
    token = jwt.encode(claims, KEYS[0].private, algorithm="RS256")
    assert await resource_server(issuer).caller(bearer(token), "mcp")
    issuer.keys = [*KEYS, STRANGE]
    await refused(resource_server(issuer), token)


async def test_keys_for_encryption_and_broken_keys_sign_nothing(
    issuer: AuthorizationServer,
) -> None:
    for change in ({"use": "enc"}, {"alg": "PS256"}, {"n": "!"}, {"n": None}, {"kty": "oct"}):
        answer = {"keys": [{**KEYS[0].public(), **change}, "nonsense"]}
        issuer.changed["/jwks"] = lambda answer=answer: JSONResponse(answer)
        await refused(resource_server(issuer), issuer.token(MCP, key=KEYS[0]))


def _broken(content: bytes, status: int = 200) -> Callable[[], Response]:
    return lambda: Response(content, status, media_type="application/json")


BROKEN: dict[str, tuple[str, Callable[[], Response]]] = {
    "keys fail": ("/jwks", _broken(b"", 500)),
    "keys are no json": ("/jwks", _broken(b"<html>")),
    "keys are no object": ("/jwks", _broken(b"[]")),
    "keys are no set": ("/jwks", _broken(b'{"keys": 1}')),
    "keys are too large": ("/jwks", _broken(b" " * (MAX_DOCUMENT + 1))),
    "keys are elsewhere": ("/jwks", lambda: RedirectResponse("http://127.0.0.1:1/jwks")),
    "metadata is missing": (METADATA_PATH, _broken(b"", 404)),
    "metadata is of another": (METADATA_PATH, _broken(b'{"issuer": "https://evil.example"}')),
}


@pytest.mark.parametrize(("path", "answer"), BROKEN.values(), ids=BROKEN)
async def test_while_the_keys_cannot_be_had_nobody_is_let_in(
    issuer: AuthorizationServer, path: str, answer: Callable[[], Response]
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    issuer.changed[path] = answer
    token = bearer(issuer.token(MCP))
    with pytest.raises(AccessUnavailable) as told:
        await auth.caller(token, "mcp")
    assert told.value.retryable
    asked = issuer.asked.total()
    with pytest.raises(AccessUnavailable):
        await auth.caller(token, "mcp")
    assert issuer.asked.total() == asked
    issuer.changed.clear()
    await on.advance(RETRY_SECONDS)
    assert await auth.caller(token, "mcp")


async def test_keys_on_another_host_are_not_fetched_unless_the_settings_name_them(
    issuer: AuthorizationServer,
) -> None:
    keys = f"{issuer.url}/jwks".replace("127.0.0.1", "localhost")
    issuer.changed[METADATA_PATH] = lambda: JSONResponse({**issuer.metadata(), "jwks_uri": keys})
    with pytest.raises(AccessUnavailable):
        await resource_server(issuer).caller(bearer(issuer.token(MCP)), "mcp")
    assert issuer.asked["/jwks"] == 0
    auth = resource_server(issuer, jwks_uri=keys)
    assert await auth.caller(bearer(issuer.token(MCP)), "mcp")


async def test_nobody_waits_for_an_issuer_that_has_failed_while_its_old_keys_count(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    asked, answering = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncGenerator[bytes]:
        asked.set()
        await answering.wait()
        yield json.dumps({"keys": [KEYS[1].public()]}).encode()

    taken_back = issuer.token(MCP, key=KEYS[0], exp=int(on.time()) + 10_000)
    kept = issuer.token(MCP, key=KEYS[1], exp=int(on.time()) + 10_000)
    await auth.caller(bearer(taken_back), "mcp")
    issuer.changed["/jwks"] = _broken(b"", 503)
    await on.advance(KEEP_SECONDS + 1)
    assert await auth.caller(bearer(taken_back), "mcp")
    issuer.changed["/jwks"] = lambda: StreamingResponse(slow(), media_type="application/json")
    async with asyncio.timeout(SECONDS):
        await on.advance(CHECKED_SECONDS + 1)
        assert await auth.caller(bearer(taken_back), "mcp")
        await asked.wait()
        answering.set()
        for number in itertools.count():  # until the answer has come
            another = issuer.token(MCP, key=KEYS[0], exp=int(on.time()) + 60, jti=str(number))
            try:
                await auth.caller(bearer(another), "mcp")
            except AccessUnauthenticated:
                break
            await asyncio.sleep(0)
    assert await auth.caller(bearer(kept), "mcp")


async def test_known_keys_are_used_while_the_issuer_is_away_but_not_for_long(
    issuer: AuthorizationServer,
) -> None:
    on = clock()
    auth = resource_server(issuer, on)
    token = bearer(issuer.token(MCP, exp=int(on.time()) + 100_000))
    await auth.caller(token, "mcp")
    issuer.changed["/jwks"] = _broken(b"", 503)
    await on.advance(STALE_SECONDS)
    assert await auth.caller(token, "mcp")
    await on.advance(CHECKED_SECONDS + 1)
    with pytest.raises(AccessUnavailable):
        await auth.caller(token, "mcp")
