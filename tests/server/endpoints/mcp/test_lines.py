"""Lines of a bounded length, however the bytes arrive."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.endpoints.mcp.lines import LineReader, TooLong

LIMIT = 16


async def read_all(chunks: Sequence[bytes], limit: int = LIMIT) -> list[bytes | TooLong]:
    reader = asyncio.StreamReader()
    lines = LineReader(reader, limit)
    found: list[bytes | TooLong] = []

    async def feed() -> None:
        for chunk in chunks:
            reader.feed_data(chunk)
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.ensure_future(feed())
    async with asyncio.timeout(5):
        while (line := await lines.next()) is not None:
            found.append(line)
    await feeding
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if b > a]


@given(
    st.lists(st.binary(max_size=LIMIT + 6).map(lambda line: line.replace(b"\n", b"."))),
    st.lists(st.integers(0, 500), max_size=8),
)
def test_lines_come_out_whole_and_long_ones_are_skipped(
    lines: list[bytes], places: list[int]
) -> None:
    data = b"".join(line + b"\n" for line in lines)
    found = asyncio.run(read_all(cut(data, places)))
    shown = [line if isinstance(line, bytes) else None for line in found]
    assert shown == [line if len(line) < LIMIT else None for line in lines]


async def test_a_last_line_without_its_newline_counts() -> None:
    assert await read_all([b"one\ntwo"]) == [b"one", b"two"]


async def test_a_stream_that_ends_inside_a_long_line_ends() -> None:
    [found] = await read_all([b"x" * 100])
    assert isinstance(found, TooLong)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"x":"%s"}}', 7),
        (b'{"id": "abc", "jsonrpc":"2.0","method":"m","params":{"x":"%s"}}', "abc"),
        (b'{"method":"m","params":{"x":"%s"},"jsonrpc":"2.0","id":12}', 12),
        (b'{"method":"m","params":{"x":"%s"},"jsonrpc":"2.0","id":"z-1"}', "z-1"),
        (b'{"method":"m","params":{"x":"%s","id":5}}', None),
        (b'{"params":{"id":5,"x":"%s"},"method":"m"}', None),
        (b'{"method":"m","params":{"x":"%s","y":"\\"id\\":5}"}}', None),
        (b"%s", None),
    ],
)
async def test_the_id_of_a_long_request_is_found_where_it_is_certain(
    message: bytes, expected: int | str | None
) -> None:
    line = message % (b"x" * 5_000)
    [found] = await read_all(cut(line + b"\n", [900, 1700, 3000, 5100]), limit=1000)
    assert isinstance(found, TooLong)
    assert found.request_id() == expected


async def test_what_follows_a_long_line_is_read() -> None:
    found = await read_all([b"y" * 40 + b"\nshort\n" + b"z" * 40, b"\nlast\n"])
    assert [line for line in found if isinstance(line, bytes)] == [b"short", b"last"]
    assert len(found) == 4
