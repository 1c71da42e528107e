"""A run's events as progress: numbers that only grow."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmspell.endpoints.mcp.progress import Reporter
from llmspell.runs.record import Event
from tests.support.exchange import RecordingExchange

Sent = list[tuple[float, float | None, str | None]]


def event(kind: str, **data: Any) -> Event:
    return Event(number=1, at=0.0, kind=kind, data=data)


async def reported(*events: Event) -> Sent:
    exchange = RecordingExchange(progress_token="t")
    reporter = Reporter(exchange)
    for one in events:
        await reporter.event(one)
    assert all(method == "notifications/progress" for method, _ in exchange.sent)
    return [
        (params["progress"], params.get("total"), params.get("message"))
        for _, params in exchange.sent
    ]


async def test_the_spells_own_progress_is_passed_on() -> None:
    sent = await reported(
        event("progress", done=0, total=3, message="reading"), event("progress", done=2.5, total=3)
    )
    assert sent == [(0, 3, "reading"), (2.5, 3, None)]


async def test_progress_that_goes_back_or_stands_still_is_not_sent() -> None:
    sent = await reported(
        event("progress", done=2), event("progress", done=2), event("progress", done=1)
    )
    assert sent == [(2, None, None)]


async def test_steps_models_children_and_parts_give_messages() -> None:
    sent = await reported(
        event("step.started", name="search"),
        event("model.started", model="p/m", source="writer"),
        event("cast.started", spell="hello", run_id="r", label=""),
        event("part", text="so far"),
    )
    assert [message for _, _, message in sent] == [
        "step search",
        "writer is thinking",
        "casting hello",
        "so far",
    ]


async def test_messages_leave_room_for_the_spells_own_numbers() -> None:
    sent = await reported(
        *(event("step.started", name=str(number)) for number in range(20)),
        event("progress", done=1, total=2),
        event("step.started", name="last"),
        event("progress", done=2, total=2),
    )
    assert [progress for progress, _, _ in sent if progress in (1, 2)] == [1, 2]
    assert sent[-2][1] == 2


async def test_other_events_tell_a_waiting_person_nothing() -> None:
    quiet = ("state", "log", "model.delta", "model.ended", "cast.ended", "step.ended")
    assert await reported(*(event(kind, text="x", message="x") for kind in quiet)) == []


@given(
    st.lists(
        st.tuples(st.just("progress"), st.integers(-5, 50) | st.floats(0, 1e18))
        | st.tuples(st.just("step.started"), st.just(0))
    )
)
async def test_what_is_sent_always_grows(events: list[tuple[str, float]]) -> None:
    sent = await reported(*(event(kind, done=done, name="s") for kind, done in events))
    numbers = [progress for progress, _, _ in sent]
    assert all(a < b for a, b in itertools.pairwise(numbers))


async def test_log_messages_are_sent_from_the_level_that_was_asked_for() -> None:
    exchange = RecordingExchange(log_level="warning")
    reporter = Reporter(exchange)
    for level in ("debug", "info", "warn", "error"):
        await reporter.event(event("log", level=level, message=level))
    assert [params["level"] for _, params in exchange.sent] == ["warning", "error"]
    assert exchange.sent[0] == (
        "notifications/message",
        {"level": "warning", "logger": "llmspell", "data": "warn"},
    )
