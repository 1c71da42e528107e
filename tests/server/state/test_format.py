"""Databases of every format released so far: this version reads each row of them."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmspell.runs.archive import Archive
from llmspell.security.principals import Caller
from llmspell.state.keys import pack
from llmspell.state.rocks import RocksStore
from llmspell.state.scopes import Scopes
from llmspell.state.store import FORMAT_VERSION, Family, Key, Usage

_FIXTURES = Path(__file__).parents[2] / "fixtures"
_ANN = Caller(principal="local:1000", session="s1", door="mcp")
_DONE = "018bcfe56800" + 24 * "a"
_LIVE = "018bcfe56801" + 24 * "b"


def _json(key: Key) -> list[Any]:
    """Return a key as `rows.json` has it."""
    return [
        part if not isinstance(part, bytes) else {"bytes": base64.b64encode(part).decode()}
        for part in key
    ]


@pytest.fixture(params=range(1, FORMAT_VERSION + 1))
def fixture(request: pytest.FixtureRequest) -> Path:
    return _FIXTURES / f"state-format-{request.param}"


@pytest.fixture
async def store(fixture: Path, tmp_path: Path) -> AsyncIterator[RocksStore]:
    shutil.copytree(fixture / "db", tmp_path / "db")
    opened = RocksStore.open(tmp_path / "db")
    yield opened
    await opened.close()


async def test_every_row_of_a_format_reads_as_it_was_written(
    store: RocksStore, fixture: Path
) -> None:
    """What the store keeps for itself, its format and its counts, may have become another."""
    rows: list[dict[str, Any]] = json.loads((fixture / "rows.json").read_text(encoding="utf-8"))
    assert {row["family"] for row in rows} >= {"meta", "kv", "run", "event"}
    for family in set(Family) - {Family.META, Family.USAGE}:
        found = [
            [_json(key), entry.value, entry.version, entry.expires_at]
            for key, entry in await store.scan(family, ())
        ]
        assert found == [
            [row["key"], base64.b64decode(row["value"]), row["version"], row.get("expires_at")]
            for row in rows
            if row["family"] == family.value
        ]
    assert await store.commit([]) == max(row["version"] for row in rows)


async def test_a_store_of_any_format_is_sound_and_counts_what_it_holds(store: RocksStore) -> None:
    found = await store.verify()
    assert found.problems == ()
    rows = await store.scan(Family.KV, ())
    held = Usage(sum(len(pack(key)) + len(entry.value) for key, entry in rows), len(rows))
    assert await store.usage(("default",)) == held
    assert found.rows["kv"] == held.keys > 0
    entry = await store.get(Family.META, ("format",))
    assert entry is not None
    assert int(entry.value) == FORMAT_VERSION


async def test_what_spells_kept_in_a_format_is_theirs_still(store: RocksStore) -> None:
    scopes = Scopes(store)
    last = await scopes.get(_ANN, "notes", "spell", "last")
    assert last[0] == {"text": "é\0", "tags": ["a", None, 1.5]}
    assert (await scopes.get(_ANN, "notes", "session", "draft"))[0] == ""
    assert (await scopes.get(_ANN, "notes", "user", "name"))[0] == "Ann"
    assert await scopes.get(_ANN, "notes", "shared", "gone") == [None, None]
    assert await scopes.increment(_ANN, "notes", "shared", "count") == 43
    assert await scopes.set(_ANN, "notes", "spell", "last", 1, if_version=last[1]) > last[1]


async def test_runs_of_a_format_and_their_events_are_there_still(store: RocksStore) -> None:
    archive = Archive(store)
    done = await archive.load("default", _DONE)
    assert (done.state, done.input, done.output) == ("completed", {"text": "é"}, {"id": 7})
    assert (done.usage.input_tokens, done.usage.usd, done.updated_at) == (3, None, 1_700_000_001.5)
    events = await archive.events(_DONE)
    assert [(event.number, event.data["state"]) for event in events] == [
        (1, "working"),
        (2, "completed"),
    ]
    assert [run.id for run in await archive.live()] == [_LIVE]
    page, more, total = await archive.list(_ANN, limit=10)
    assert ([run.id for run in page], more, total) == ([_LIVE, _DONE], None, 2)


def test_a_fixture_is_small_and_has_only_what_opening_needs(fixture: Path) -> None:
    files = [file for file in fixture.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 200_000
    assert not [file.name for file in files if file.name.startswith(("LOG", "LOCK", "OPTIONS"))]
