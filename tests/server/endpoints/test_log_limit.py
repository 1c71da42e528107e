"""What clients can have logged as often as they like is logged once a while."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from llmspell.endpoints.log_limit import CAUSED_BY_CLIENTS, SECONDS, LogLimit
from tests.support.mcp import SECONDS as WAIT_SECONDS
from tests.support.mcp_http import serving
from tests.support.raw_http import Connection

LINE = min(CAUSED_BY_CLIENTS)


def said(limit: LogLimit, line: str, at: float) -> str | None:
    """Return what is written of a line that is logged at a time; None for nothing."""
    record = logging.LogRecord("x", logging.WARNING, "x", 1, line, (), None)
    record.created = at
    return record.getMessage() if limit.filter(record) else None


def test_a_line_is_written_once_and_the_next_says_how_many_were_left_out() -> None:
    limit = LogLimit()
    assert said(limit, LINE, 0) == LINE
    for at in range(1, int(SECONDS)):
        assert said(limit, LINE, at) is None
    assert said(limit, LINE, SECONDS) == f"{LINE} (59 more since the last time it was said)"
    assert said(limit, LINE, SECONDS + 1) is None
    assert said(limit, LINE, 3 * SECONDS) == f"{LINE} (1 more since the last time it was said)"
    assert said(limit, LINE, 5 * SECONDS) == LINE


def test_each_line_has_a_limit_of_its_own_and_others_have_none() -> None:
    limit = LogLimit()
    assert [said(limit, line, 0) for line in sorted(CAUSED_BY_CLIENTS)] == sorted(CAUSED_BY_CLIENTS)
    for _ in range(3):
        assert said(limit, "something failed", 0) == "something failed"


async def test_requests_that_are_none_are_not_logged_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as site:
        for _ in range(5):
            connection = await Connection.to(site.server.port)
            async with asyncio.timeout(WAIT_SECONDS):
                await connection.write(b"no request\r\n\r\n")
                assert (await connection.response()).status == 400
            connection.abort()
    logged = [each.getMessage() for each in caplog.records if "Invalid HTTP" in each.getMessage()]
    assert len(logged) <= 1
