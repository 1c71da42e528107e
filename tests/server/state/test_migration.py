"""A store of the first format becomes one of this, also when it is killed on the way."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llmspell
from llmspell.errors import StateCorrupt
from llmspell.state.keys import pack
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.rocks_rows import RocksRows
from llmspell.state.store import FORMAT_VERSION, DeletePrefix, Family, Put, Usage
from tests.server.state import migrator

_MIGRATOR = Path(migrator.__file__)
_FIXTURE = Path(__file__).parents[2] / "fixtures" / "state-format-1" / "db"
_ROWS = 4500


def _run(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(_MIGRATOR), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(llmspell.__file__).parents[1])},
    )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    migrator.make(str(tmp_path / "db"), _ROWS)
    return tmp_path / "db"


async def _check(path: Path, count: int) -> None:
    """Check that all rows of `migrator.make` are there, and counted."""
    store = RocksStore.open(path)
    assert (await store.verify()).problems == ()
    rows = await store.scan(Family.KV, (), limit=count + 1)
    assert {key: (entry.value, entry.version) for key, entry in rows} == {
        migrator.key(n): (migrator.value(n), n + 2) for n in range(count)
    }
    assert len(await store.scan(Family.RUN, (), limit=count + 1)) == count
    for tenant in ("tenant0", "tenant1"):
        mine = [(pack(key), entry.value) for key, entry in rows if key[0] == tenant]
        held = Usage(sum(len(key) + len(value) for key, value in mine), len(mine))
        assert await store.usage((tenant,)) == held
    meta = dict(await store.scan(Family.META, ()))
    assert {key[0]: entry.value for key, entry in meta.items() if key != ("commit",)} == {
        "format": b"%d" % FORMAT_VERSION,
        "min_reader": b"2",
    }
    assert await store.commit([Put(Family.KV, ("new",), b"")]) == count + 2
    await store.close()


async def test_a_store_of_the_first_format_is_migrated_once(old: Path) -> None:
    await _check(old, _ROWS)
    store = RocksStore.open(old)
    await store.commit([DeletePrefix(Family.KV, ())])
    assert await store.usage(()) == Usage(0, 0)
    await store.close()


async def test_a_migration_killed_after_every_batch_goes_on_from_there(old: Path) -> None:
    deaths = 0
    while True:
        with _run(old, "die") as process:
            if process.wait(60) == 0:
                break
        assert process.returncode == -9
        deaths += 1
        assert deaths < 20
    # Five batches of a thousand rows, and the one that ends it.
    assert deaths == 6
    await _check(old, _ROWS)


async def test_a_migration_killed_at_random_loses_nothing(tmp_path: Path) -> None:
    migrator.make(str(tmp_path / "db"), 20_000)
    chance = random.Random(4)
    for _ in range(4):
        with _run(tmp_path / "db", "open") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begin\n"
            await asyncio.sleep(chance.uniform(0, 0.25))  # the moment of the kill is the subject
            process.kill()
    await _check(tmp_path / "db", 20_000)


async def test_the_fixture_of_the_first_format_survives_a_kill_in_its_migration(
    tmp_path: Path,
) -> None:
    shutil.copytree(_FIXTURE, tmp_path / "db")
    for _ in range(2):
        with _run(tmp_path / "db", "die") as process:
            assert process.wait(60) == -9
    store = RocksStore.open(tmp_path / "db")
    found = await store.verify()
    assert found.problems == ()
    assert (await store.usage(())).keys == found.rows["kv"] > 0
    await store.close()


async def test_from_its_first_batch_on_an_older_program_is_refused(old: Path) -> None:
    """That one goes by the number alone, so it stands there before the migration is through."""
    with _run(old, "die") as process:
        assert process.wait(60) == -9
    rows = RocksRows.open(old)
    stored = rows.get(Family.META, pack(("format",)))
    assert stored is not None
    assert stored.endswith(b"\0%d" % FORMAT_VERSION)
    assert rows.get(Family.META, pack(("migration",))) is not None
    rows.close()
    await _check(old, _ROWS)


@pytest.mark.parametrize("name", ["format", "min_reader"])
async def test_a_number_that_is_none_is_damage(tmp_path: Path, name: str) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.META, (name,), b"two")])
    await store.close()
    with pytest.raises(StateCorrupt, match="no number"):
        RocksStore.open(tmp_path / "db")


async def test_a_store_in_memory_begins_in_this_format() -> None:
    entry = await MemoryStore().get(Family.META, ("format",))
    assert entry is not None
    assert entry.value == b"%d" % FORMAT_VERSION
