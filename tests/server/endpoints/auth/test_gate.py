"""The gate: who is let in how often, and the answers of those who are not."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.clock import ManualClock
from llmspell.endpoints.auth.gate import Gate
from llmspell.endpoints.auth.token import TokenAuthenticator
from llmspell.endpoints.limits import FailedAttempts, RateLimit
from llmspell.errors import (
    AccessError,
    AccessForbidden,
    AccessRateLimited,
    AccessUnauthenticated,
    AccessUnavailable,
)

RIGHT = {"authorization": "Bearer s3cret"}
WRONG = {"authorization": "Bearer wrong"}


def scope(address: str = "10.0.0.1") -> dict[str, Any]:
    return {"type": "http", "client": (address, 1234)}


def gate(clock: ManualClock, *, rate: int = 100, attempts: int = 2) -> Gate:
    return Gate(
        TokenAuthenticator("s3cret"), RateLimit(rate, clock), FailedAttempts(attempts, clock)
    )


async def test_each_request_counts_and_one_too_many_is_told_when_to_come_back() -> None:
    clock = ManualClock()
    door = gate(clock, rate=2)
    for _ in range(2):
        assert (await door.admit(scope(), RIGHT, "mcp")).door == "mcp"
    with pytest.raises(AccessRateLimited) as refused:
        await door.admit(scope(), RIGHT, "mcp")
    answer = door.refusal(refused.value, "mcp")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "30"
    assert b"access.rate_limited" in answer.body
    assert "www-authenticate" not in answer.headers
    await clock.advance(30)
    await door.admit(scope(), RIGHT, "mcp")


async def test_guesses_are_refused_unseen_after_a_few() -> None:
    door = gate(ManualClock())
    for _ in range(2):
        with pytest.raises(AccessUnauthenticated):
            await door.admit(scope(), WRONG, "mcp")
    for headers in (WRONG, RIGHT):
        with pytest.raises(AccessRateLimited):
            await door.admit(scope(), headers, "mcp")
    await door.admit(scope("10.0.0.2"), RIGHT, "mcp")


async def test_a_client_behind_the_address_of_a_guesser_goes_on() -> None:
    door = gate(ManualClock())
    await door.admit(scope(), RIGHT, "mcp")
    for _ in range(2):
        with pytest.raises(AccessUnauthenticated):
            await door.admit(scope(), WRONG, "mcp")
    await door.admit(scope(), RIGHT, "mcp")


async def test_asking_without_a_credential_is_no_guess() -> None:
    door = gate(ManualClock())
    for _ in range(10):
        with pytest.raises(AccessUnauthenticated):
            await door.admit({"type": "http", "client": None}, {}, "mcp")
    await door.admit(scope(), RIGHT, "mcp")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AccessUnauthenticated("no"), 401),
        (AccessForbidden("no", data={"scopes": ["cast"]}), 403),
        (AccessRateLimited("no", data={"retry_after": 0.2}), 429),
        (AccessUnavailable("no"), 503),
        (AccessError("no"), 403),
    ],
)
def test_a_refusal_has_the_status_that_http_has_for_it(error: AccessError, status: int) -> None:
    assert gate(ManualClock()).refusal(error, "mcp").status_code == status


def test_a_refusal_is_kept_by_nobody() -> None:
    answer = gate(ManualClock()).refusal(AccessUnauthenticated("no"), "mcp")
    assert answer.headers["cache-control"] == "no-store"
