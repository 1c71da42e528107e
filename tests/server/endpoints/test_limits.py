"""Token buckets: how much they hold, how they fill, and what they remember."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.clock import ManualClock
from llmspell.endpoints.limits import Buckets, FailedAttempts, RateLimit
from llmspell.errors import AccessRateLimited
from llmspell.security.principals import Caller

ALICE, BOB = Caller(principal="alice"), Caller(principal="bob")


async def test_a_minutes_worth_may_come_at_once_and_then_evenly() -> None:
    clock = ManualClock()
    rate = RateLimit(60, clock)
    for _ in range(60):
        rate.take(ALICE)
    with pytest.raises(AccessRateLimited) as refused:
        rate.take(ALICE)
    assert refused.value.data["retry_after"] == pytest.approx(1.0)
    assert refused.value.retryable
    await clock.advance(1.0)
    rate.take(ALICE)
    with pytest.raises(AccessRateLimited):
        rate.take(ALICE)


async def test_what_was_refused_is_not_counted() -> None:
    clock = ManualClock()
    rate = RateLimit(1, clock)
    rate.take(ALICE)
    for _ in range(10):
        await clock.advance(5.0)
        with pytest.raises(AccessRateLimited):
            rate.take(ALICE)
    await clock.advance(10.0)
    rate.take(ALICE)


async def test_each_principal_has_a_bucket_of_its_own() -> None:
    rate = RateLimit(1, ManualClock())
    rate.take(ALICE)
    rate.take(BOB)
    with pytest.raises(AccessRateLimited):
        rate.take(BOB)


@given(st.integers(1, 100), st.lists(st.floats(0, 5), min_size=1, max_size=200))
async def test_no_more_is_given_out_than_the_bucket_held_and_was_filled_with(
    per_minute: int, pauses: list[float]
) -> None:
    clock = ManualClock()
    buckets = Buckets(per_minute, clock)
    given_out = 0
    for pause in pauses:
        await clock.advance(pause)
        waits = buckets.take("a")
        given_out += not waits
        assert (buckets.wait("a") > 0) or not waits
    assert given_out <= per_minute + sum(pauses) * per_minute / 60 + 1


async def test_buckets_that_are_full_again_are_forgotten() -> None:
    clock = ManualClock()
    buckets = Buckets(60, clock)
    for number in range(25_000):
        buckets.take(str(number))
        await clock.advance(0.1)
    assert len(buckets) <= 10_000


async def test_a_crowd_that_asks_at_once_is_remembered_by_half() -> None:
    buckets = Buckets(60, ManualClock())
    for number in range(25_000):
        buckets.take(str(number))
    assert len(buckets) <= 10_000


async def test_an_address_that_guesses_is_refused_whatever_it_sends_next() -> None:
    clock = ManualClock()
    attempts = FailedAttempts(3, clock)
    for _ in range(3):
        attempts.check("10.0.0.1", "Bearer x")
        attempts.wrong("10.0.0.1")
    with pytest.raises(AccessRateLimited) as refused:
        attempts.check("10.0.0.1", "Bearer right")
    assert refused.value.data["retry_after"] == pytest.approx(20.0)
    attempts.check("10.0.0.2", "Bearer x")
    await clock.advance(20.0)
    attempts.check("10.0.0.1", "Bearer right")


async def test_who_was_right_before_goes_on_beside_somebody_who_guesses() -> None:
    attempts = FailedAttempts(1, ManualClock())
    attempts.right("Bearer right")
    attempts.wrong("127.0.0.1")
    attempts.check("127.0.0.1", "Bearer right")
    with pytest.raises(AccessRateLimited):
        attempts.check("127.0.0.1", "Bearer other")


async def test_a_network_of_ipv6_guesses_as_one() -> None:
    attempts = FailedAttempts(1, ManualClock())
    attempts.wrong("2001:db8::1")
    with pytest.raises(AccessRateLimited):
        attempts.check("2001:db8::2%eth0", "Bearer x")
    attempts.check("2001:db8:0:1::1", "Bearer x")
