"""Whatever a worker sends that was taken over, only its own cast is lost, with a clean error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmspell.errors import CATALOGUE, LlmspellError
from llmspell.runtime import wire
from tests.attacks.house import ATTACKER, HONEST, SECONDS, SOAKS, Attacked, open_house
from tests.attacks.takeover import orders, taken_over

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEW = settings(max_examples=2000 if SOAKS else 50, suppress_health_check=[HealthCheck.too_slow])

CAST_SECONDS = 0.2
"""What a cast may take: a worker that keeps its cast waiting for nothing is ended by that."""

# --- what a worker may send

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)
OPERATIONS = st.sampled_from(
    [
        "cast",
        "agent.run",
        "state.get",
        "state.set",
        "state.scan",
        "state.increment",
        "state.delete",
        "log",
        "progress",
        "emit",
        "template",
        "sleep",
        "__class__",
        "state.set\x00",
        "\x00",
    ]
)
NUMBERS = st.integers(-2, 3) | st.integers(-(2**63), 2**63 - 1)
ARGUMENTS = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "target": VALUES,
        "agent": VALUES,
        "input": VALUES,
        "prompt": VALUES,
        "messages": VALUES,
        "scope": st.sampled_from(["spell", "session", "user", "shared", "other"]),
        "key": st.text(max_size=8) | VALUES,
        "value": VALUES,
        "limit": VALUES,
        "by": VALUES,
        "level": st.sampled_from(["info", "root"]),
        "message": st.text(max_size=8) | VALUES,
        "part": VALUES,
        "text": st.text(max_size=8),
        "data": VALUES,
        "seconds": st.sampled_from([0, -1, "x", 2**63]),
    },
)
ERRORS = VALUES | st.fixed_dictionaries(
    {"code": st.sampled_from(sorted(set(CATALOGUE) - {"internal"}))},
    optional={"message": st.text(max_size=20), "hint": st.text(max_size=20)},
)
EVENTS = st.one_of(
    st.tuples(st.just("request"), NUMBERS, NUMBERS, OPERATIONS, ARGUMENTS),
    st.tuples(st.just("done"), st.just(1) | NUMBERS, st.just(True), VALUES),
    st.tuples(st.just("done"), st.just(1) | NUMBERS, st.booleans() | VALUES, ERRORS),
    st.tuples(st.just("cancel"), NUMBERS),
    st.tuples(st.just("loaded")),
    st.tuples(st.just("loaded"), VALUES, VALUES),
    st.tuples(st.just("failed"), ERRORS),
    st.tuples(st.text(max_size=8), VALUES),
)


def framed(payload: bytes, *, size: int | None = None, cpu_us: int = 0) -> bytes:
    """Return a payload as a worker's reply; `size` is what its header claims."""
    return wire.REPLY.pack(len(payload) if size is None else size, cpu_us) + payload


def events(*found: Any) -> bytes:
    return framed(msgspec.msgpack.encode(found))


@st.composite
def replies(draw: st.DrawFn) -> list[bytes]:
    """Up to four replies, each well made up to some layer."""
    made: list[bytes] = []
    for _ in range(draw(st.integers(1, 4))):
        match draw(st.integers(0, 5)):
            case 0:
                made.append(draw(st.binary(min_size=1, max_size=200)))
            case 1:
                made.append(framed(draw(st.binary(max_size=200))))
            case 2:
                payload = draw(st.binary(max_size=50))
                size = draw(st.integers(0, 2**32 - 1))
                made.append(framed(payload, size=size, cpu_us=draw(st.integers(0, 2**64 - 1))))
            case 3:
                whole = events(*draw(st.lists(EVENTS, min_size=1, max_size=4)))
                made.append(whole[: draw(st.integers(1, len(whole)))])
            case _:
                made.append(events(*draw(st.lists(EVENTS, min_size=1, max_size=4))))
    return made


# --- the house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Attacked]:
    directory = tmp_path_factory.mktemp("border")
    async with open_house(directory / "house") as house:
        async with taken_over(house, directory / "package"):
            yield house
        await house.is_unharmed()
        await house.holds_no_leak()


async def cast(house: Attacked, sent: str) -> str:
    """Cast with orders for the worker, and return the code of the error; "" when it completed."""
    try:
        async with asyncio.timeout(SECONDS):
            outcome = await house.host.cast(
                "honest", {"value": sent}, caller=ATTACKER, timeout=CAST_SECONDS
            )
    except LlmspellError as error:
        return error.code
    await house.is_clean(outcome, ATTACKER)
    if outcome.error is None:
        return ""
    error = LlmspellError.from_value(outcome.error)
    assert error.code in CATALOGUE
    assert error.report()
    # An error of ours must be one that was foreseen, not a fault met on the way.
    assert "Error(" not in error.message, error.message
    return error.code


# --- the tests


@FEW
@given(sent=replies())
@example(sent=[b"\0"])
@example(sent=[framed(b"", size=2**32 - 1)])
@example(sent=[framed(b"\xdd\xff\xff\xff\xff")])
@example(sent=[framed(b"\x91\xdd\xff\xff\xff\xff" + b"\xc0" * 100)])
@example(sent=[framed(b"\x91\x92\xa4done\xd9\x02\xff\xfe")])
@example(sent=[events(("done", 1, True, 1)) * 3])
@example(sent=[events(["loaded"], ["done", 1, True, 1], ["done", 1, True, 2])])
@example(sent=[events(["done", 1, False, None])])
@example(sent=[events(["more"])] * 4)
async def test_replies_of_any_shape_end_one_cast_with_a_clean_error(
    house: Attacked, sent: list[bytes]
) -> None:
    await cast(house, orders(sent))


async def test_a_flood_of_requests_ends_with_the_worker(house: Attacked) -> None:
    flood = [["loaded"]] + [["request", 1, n, "state.get", {"key": "k"}] for n in range(500)]
    # It says nothing more: on a busy machine the clock may end it before its own end is seen.
    ends = ("limit.worker_died", "limit.exceeded", "limit.wall_clock")
    assert await cast(house, orders([events(*flood)])) in ends


async def test_requests_to_the_vault_are_refused_whoever_asks(house: Attacked) -> None:
    targets: list[Any] = [
        "vault",
        {"$kind": "ref", "name": "vault"},
        {"$kind": "spell", "name": "x", "needs": {"tools": ["vault"]}, "workflow": "vault"},
        {"$kind": "workflow", "type": "sequential", "steps": ["vault"]},
        {"$kind": "agent", "name": "x", "tools": ["vault"]},
    ]
    asked: list[list[Any]] = [
        ["request", 1, number, "cast", {"target": target, "input": {}}]
        for number, target in enumerate(targets, 1)
    ]
    await cast(house, orders([events(["loaded"], *asked), events(["done", 1, True, "ended"])]))


async def test_a_worker_that_ends_in_the_middle_is_reported_as_such(house: Attacked) -> None:
    # On a busy machine the clock may end it before its own end is seen.
    ends = ("limit.worker_died", "limit.wall_clock")
    for sent in ([b""], [wire.REPLY.pack(100, 0)], [framed(b"\x91", size=5)]):
        assert await cast(house, orders(sent)) in ends


async def test_a_worker_that_stays_silent_is_ended_in_time(house: Attacked) -> None:
    for sent in ([b"\x01"], [events(["loaded"])], [events(["loaded"]), b"\x01"]):
        code = await cast(house, orders(sent, stays=True))
        assert code in ("limit.wall_clock", "limit.worker_died")


async def test_a_list_of_runs_survives_what_taken_over_workers_left(house: Attacked) -> None:
    for caller in (ATTACKER, HONEST):
        page = await house.host.runs(caller=caller, limit=100)
        assert page.total >= len(page.runs) > 0


FUNCTION = msgspec.msgpack.Ext(1, b"\0\0\0\1")
WILD: dict[str, Any] = {
    "function": FUNCTION,
    "bytes": b"\xff",
    "bytes as a name": {b"a": 1},
    "numbers as names": {1: 1, 2: 2},
    "a list as a name": {(1, 2): 1},
    "a time": msgspec.msgpack.Ext(-1, b"\0\0\0\1"),
    "an unknown extension": msgspec.msgpack.Ext(77, b"x"),
    "not a number": float("nan"),
    "an integer beyond 64 bits": 2**64 - 1,
    "content": {"$content": 5},
    "content of nothing": {"$content": [5, {"type": 5}]},
}


@pytest.mark.parametrize("value", WILD.values(), ids=WILD)
async def test_what_is_no_json_does_not_get_in(house: Attacked, value: Any) -> None:
    error = {"code": "spell.raised", "message": value, "hint": value, "where": value}
    places = [
        ["done", 1, True, value],
        ["done", 1, False, {**error, "data": value, "traceback": value, "run_id": value}],
        ["request", 1, 1, "state.set", {"key": "k", "value": value}],
        ["request", 1, 1, "log", {"message": "x", "fields": {"x": value}}],
        ["request", 1, 1, "emit", {"part": {"data": value}}],
        ["request", 1, 1, "cast", {"target": "honest", "input": value}],
        ["failed", {**error, "data": value}],
    ]
    for place in places:
        await cast(house, orders([events(["loaded"], place), events(["done", 1, True, 1])]))
    assert (await house.host.runs(caller=ATTACKER)).runs


async def test_a_reply_without_a_bottom_ends_one_cast(house: Attacked) -> None:
    for opened in (b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"):
        assert await cast(house, orders([framed(opened * 8000)])) == "limit.worker_died"


@pytest.mark.parametrize("error", [{}, {"code": 5}, {"message": "no code"}])
async def test_a_failure_without_a_code_ends_one_cast(
    house: Attacked, error: dict[str, Any]
) -> None:
    ended = await cast(house, orders([events(["failed", error])]))
    assert ended == "limit.worker_died"
