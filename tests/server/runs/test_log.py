"""The event log: numbered without gaps, and the same for whoever reads it, whenever."""

from __future__ import annotations

import asyncio

import pytest

from llmspell.clock import ManualClock
from llmspell.runs.log import RunLog
from llmspell.runs.record import Event


@pytest.fixture
def log() -> RunLog:
    return RunLog(ManualClock(start=100.0))


def add(log: RunLog, count: int) -> None:
    for _ in range(count):
        log.append(log.next("log", {"message": str(len(log) + 1)}))


async def numbers(log: RunLog, after: int = 0) -> list[int]:
    return [event.number async for event in log.read(after)]


def test_events_are_numbered_from_one_without_gaps(log: RunLog) -> None:
    add(log, 3)
    assert [event.number for event in log.unsaved()] == [1, 2, 3]
    assert [event.at for event in log.unsaved()] == [100.0] * 3


@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_an_event_that_is_not_the_next_one_is_refused(log: RunLog, number: int) -> None:
    add(log, 1)
    with pytest.raises(ValueError, match="after 1"):
        log.append(Event(number=number, at=0.0, kind="log", data={}))
    assert len(log) == 1


def test_looking_at_the_next_event_does_not_take_its_number(log: RunLog) -> None:
    assert log.next("log", {}).number == log.next("log", {}).number == 1


async def test_a_reader_who_comes_late_reads_everything(log: RunLog) -> None:
    add(log, 3)
    log.close()
    assert await numbers(log) == [1, 2, 3]
    assert await numbers(log) == [1, 2, 3]


async def test_a_reader_with_a_cursor_goes_on_where_it_left_off(log: RunLog) -> None:
    add(log, 3)
    log.close()
    assert await numbers(log, after=2) == [3]
    assert await numbers(log, after=3) == []
    assert await numbers(log, after=99) == []


async def test_every_reader_gets_each_event_as_it_comes(log: RunLog) -> None:
    add(log, 1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        readers = [group.create_task(numbers(log)) for _ in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
            add(log, 1)
        log.close()
    assert [reader.result() for reader in readers] == [list(range(1, 22))] * 3


async def test_a_reader_that_leaves_does_not_disturb_the_others(log: RunLog) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        leaves = group.create_task(numbers(log))
        stays = group.create_task(numbers(log))
        await asyncio.sleep(0)
        leaves.cancel()
        add(log, 1)
        await asyncio.sleep(0)
        add(log, 1)
        log.close()
    assert leaves.cancelled()
    assert stays.result() == [1, 2]


async def test_closing_lets_a_waiting_reader_go(log: RunLog) -> None:
    reader = asyncio.get_running_loop().create_task(numbers(log))
    await asyncio.sleep(0)
    assert not log.is_closed
    log.close()
    async with asyncio.timeout(5):
        assert await reader == []
    assert log.is_closed


def test_what_is_saved_is_not_given_to_be_saved_again(log: RunLog) -> None:
    add(log, 3)
    log.mark_saved(2)
    assert [event.number for event in log.unsaved()] == [3]
    log.mark_saved(1)
    assert [event.number for event in log.unsaved()] == [3]


def test_a_log_taken_up_again_goes_on_after_its_last_event() -> None:
    old = [Event(number=n, at=0.0, kind="log", data={}) for n in (1, 2)]
    log = RunLog(ManualClock(), old)
    assert log.next("log", {}).number == 3
    assert log.unsaved() == []
