"""A stream of events on its own: what is kept, what is dropped, and who is written to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from llmspell.endpoints.mcp.http.sse import MOST_READERS, EventStream

SECONDS = 10.0


class Wire:
    """A connection: everything that is sent on it, in order."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.has_ended = False
        self._changed = asyncio.Condition()

    async def send(self, message: Message) -> None:
        async with self._changed:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = dict(message["headers"])
            else:
                self.body += message["body"]
                self.has_ended = not message["more_body"]
            self._changed.notify_all()

    async def until(self, is_so: Callable[[], Any]) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(is_so)

    @property
    def data(self) -> list[bytes]:
        """What the events say."""
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]


@asynccontextmanager
async def reading(stream: EventStream, **options: Any) -> AsyncGenerator[Wire]:
    wire = Wire()
    task = asyncio.ensure_future(stream.write(wire.send, [(b"x-a", b"b")], **options))
    try:
        await wire.until(lambda: wire.status is not None)
        yield wire
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_stream_is_written_as_it_grows_and_ends_with_it() -> None:
    stream = EventStream("s")
    stream.add(b"1")
    async with reading(stream) as wire:
        assert wire.status == 200
        assert wire.headers[b"content-type"] == b"text/event-stream"
        assert wire.headers[b"x-a"] == b"b"
        stream.add(b"2")
        await wire.until(lambda: wire.data == [b"1", b"2"])
        assert stream.is_read
        stream.add(b"3")
        stream.end()
        await wire.until(lambda: wire.has_ended)
    assert wire.data == [b"1", b"2", b"3"]
    assert wire.body.startswith(b"id: s.1\nevent: message\ndata: 1\n\n")
    assert not stream.is_read


async def test_a_stream_without_a_name_has_no_ids_and_keeps_nothing() -> None:
    stream = EventStream()
    async with reading(stream, is_primed=True) as wire:
        stream.add(b"1")
        await wire.until(lambda: wire.data == [b"1"])
    assert b"id:" not in wire.body
    assert stream.size == 0


async def test_a_reader_goes_on_where_it_says_it_was() -> None:
    stream = EventStream("s")
    for number in range(5):
        stream.add(b"%d" % number)
    stream.end()
    async with reading(stream) as wire:
        await wire.until(lambda: wire.has_ended)
    assert len(wire.data) == 5
    async with reading(stream, after=3) as wire:
        await wire.until(lambda: wire.has_ended)
    assert wire.data == [b"3", b"4"]


async def test_the_newest_reader_is_written_to_and_after_it_the_one_before() -> None:
    stream = EventStream("s")
    async with reading(stream) as old:
        async with reading(stream) as new:
            stream.add(b"1")
            await new.until(lambda: new.data == [b"1"])
        stream.add(b"2")
        await old.until(lambda: old.data == [b"2"])


async def test_who_comes_back_gets_what_a_lost_connection_took_meanwhile() -> None:
    stream = EventStream("s")
    stream.add(b"1")
    async with reading(stream) as lost:
        await lost.until(lambda: lost.data == [b"1"])
        stream.add(b"2")  # the lost connection has its turn before the new one
        stream.end()
        async with reading(stream, after=1) as back:
            await back.until(lambda: back.has_ended)
    assert back.data == [b"2"]


async def test_with_too_many_readers_the_oldest_is_let_go() -> None:
    stream = EventStream("s")
    async with reading(stream) as oldest:
        others = [asyncio.ensure_future(stream.write(Wire().send, [])) for _ in range(MOST_READERS)]
        await oldest.until(lambda: oldest.has_ended)
        for other in others:
            other.cancel()
        await asyncio.wait(others)


@pytest.mark.parametrize("number", [0, 7])
async def test_the_first_event_gives_an_id_to_come_back_with(number: int) -> None:
    stream = EventStream("s")
    for _ in range(number):
        stream.add(b"x")
    async with reading(stream, is_primed=True, after=number) as wire:
        await wire.until(lambda: wire.body)
    first, _, rest = wire.body.partition(b"\n")
    assert first == b"id: s.%d" % number
    assert rest.startswith(b"retry: ")
    assert rest.endswith(b"\ndata: \n\n")


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60))
def test_what_may_be_dropped_is_dropped_for_room_and_nothing_else(
    events: list[tuple[int, bool]],
) -> None:
    stream = EventStream("s", room=1000)
    kept = 0
    for length, is_droppable in events:
        stream.add(b"x" * length, is_droppable=is_droppable)
        newest = length + len(b"id: s.99\nevent: message\ndata: \n\n")
        assert stream.size <= max(1000, kept + newest)
        kept += 0 if is_droppable else newest


async def test_what_is_larger_than_the_room_is_sent_all_the_same() -> None:
    stream = EventStream(room=100)
    stream.add(b'"old"', is_droppable=True)
    stream.add(b'"%b"' % (b"x" * 200), is_droppable=True)
    stream.end()
    async with reading(stream) as wire:
        await wire.until(lambda: wire.has_ended)
    assert wire.data == [b'"%b"' % (b"x" * 200)]
