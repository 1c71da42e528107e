"""Checkpoints: made by the hour, kept by the day, and restored whole or not at all."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from llmspell import failpoints
from llmspell.clock import ManualClock
from llmspell.errors import StateCorrupt, StateError, StateOwned
from llmspell.host.lock import OwnerLock
from llmspell.host.maintenance import restore_checkpoint, verify_database
from llmspell.state.checkpoints import Checkpoints, checkpoints_in
from llmspell.state.memory import MemoryStore
from llmspell.state.restoring import finish_restore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Family, Put
from tests.support.servers import environment

SECONDS = 20
HOUR, DAY = 3600.0, 86_400.0
RESTORER = Path(__file__).with_name("restorer.py")


@pytest.fixture(autouse=True)
async def bounded() -> AsyncGenerator[None]:
    async with asyncio.timeout(SECONDS):
        yield


@asynccontextmanager
async def opened(state: Path) -> AsyncGenerator[RocksStore]:
    store = RocksStore.open(state / "db")
    try:
        yield store
    finally:
        await store.close()


async def put(store: RocksStore, text: str) -> None:
    await store.commit([Put(Family.KV, ("row",), text.encode())])


async def held(state: Path) -> str:
    """Return what the database of a state directory holds."""
    finish_restore(state)
    async with opened(state) as store:
        entry = await store.get(Family.KV, ("row",))
    assert entry is not None
    return entry.value.decode()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def links(directory: str) -> set[int]:
    """Return in how many places the files of a directory are."""
    return {path.stat().st_nlink for path in Path(directory).iterdir()}


def damage(directory: str) -> None:
    """Overwrite a few bytes in the middle of the largest table."""
    table = max(Path(directory).glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[2000:2016] = bytes(16)
    table.write_bytes(content)


async def old_and_new(state: Path) -> str:
    """Make a database that says `new`, and a checkpoint of it that says `old`; return its name."""
    async with opened(state) as store:
        await put(store, "old")
        made = await Checkpoints(store, state / "checkpoints", ManualClock()).backup()
        await put(store, "new")
    return made.name


def killed(*arguments: str) -> None:
    """Run the restorer, which has to die of its failpoint."""
    done = subprocess.run(
        [sys.executable, str(RESTORER), *arguments],
        env=environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_a_checkpoint_is_named_by_its_time_and_holds_what_was_committed(
    tmp_path: Path,
) -> None:
    name = await old_and_new(tmp_path)
    assert name == "20231114T221320.000Z"
    [made] = checkpoints_in(tmp_path / "checkpoints")
    assert (made.name, made.at) == (name, ManualClock().time())
    store = RocksStore.open(made.path)
    entry = await store.get(Family.KV, ("row",))
    await store.close()
    assert entry is not None
    assert entry.value == b"old"


async def test_two_of_one_moment_have_two_names_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", ManualClock())
        made = [await checkpoints.backup() for _ in range(3)]
        assert checkpoints.list() == made[::-1]


async def test_a_backup_elsewhere_shares_no_file_with_the_database(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "text")
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", ManualClock())
        made = await checkpoints.backup(tmp_path / "elsewhere")
        assert links(made.path) == {1}
        assert checkpoints.list() == []
        with pytest.raises(StateError, match="exists already"):
            await checkpoints.backup(tmp_path / "elsewhere")
        with pytest.raises(StateError, match="No such file"):
            await checkpoints.backup(tmp_path / "missing" / "elsewhere")
    assert names(tmp_path / "checkpoints") == []


async def test_one_is_made_every_hour_while_something_changes(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path) as store:
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", clock)
        running = asyncio.create_task(checkpoints.run())
        await put(store, "a")
        await clock.sleeper()
        await clock.advance(61)
        await clock.sleeper()
        assert len(checkpoints.list()) == 1
        await clock.advance(HOUR + 1)  # nothing changed
        await clock.sleeper()
        assert len(checkpoints.list()) == 1
        await put(store, "b")
        await clock.advance(HOUR + 1)
        await clock.sleeper()
        assert len(checkpoints.list()) == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_restart_neither_postpones_the_next_nor_repeats_the_last(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path) as store:
        await put(store, "a")
        await Checkpoints(store, tmp_path / "checkpoints", clock).backup()
    await clock.advance(HOUR / 2)
    async with opened(tmp_path) as store:
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", clock)
        assert await checkpoints.make_if_changed() is None
        await put(store, "b")
        running = asyncio.create_task(checkpoints.run())
        await clock.sleeper()
        await clock.advance(HOUR / 2 - 1)
        assert len(checkpoints.list()) == 1
        await clock.advance(2)
        await clock.sleeper()
        assert len(checkpoints.list()) == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_newest_hours_and_the_last_of_each_newest_day_are_kept(tmp_path: Path) -> None:
    clock = ManualClock(10 * DAY)
    async with opened(tmp_path) as store:
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", clock, hourly=3, daily=2)
        for number in range(12):
            await put(store, str(number))
            await checkpoints.make_if_changed()
            await clock.advance(DAY / 4)
        kept = [made.at / DAY for made in checkpoints.list()]
    assert kept == [12.75, 12.5, 12.25, 11.75]


async def test_a_checkpoint_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path) as store:
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", clock)
        (tmp_path / "checkpoints").write_text("in the way", encoding="utf-8")
        running = asyncio.create_task(checkpoints.run())
        await put(store, "a")
        await clock.sleeper()
        await clock.advance(61)
        await clock.sleeper()
        assert checkpoints.list() == []
        (tmp_path / "checkpoints").unlink()
        await clock.advance(301)
        await clock.sleeper()
        assert len(checkpoints.list()) == 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_store_in_memory_has_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(MemoryStore(), tmp_path / "checkpoints", ManualClock())
    assert not checkpoints.is_possible
    await checkpoints.run()
    with pytest.raises(StateError, match="memory"):
        await checkpoints.backup()


async def test_what_a_killed_process_left_half_made_is_no_checkpoint_and_goes(
    tmp_path: Path,
) -> None:
    await old_and_new(tmp_path)
    killed("backup", str(tmp_path), "checkpoint.before_rename")
    directory = tmp_path / "checkpoints"
    assert any(name.startswith(".making-") for name in names(directory))
    assert len(checkpoints_in(directory)) == 1
    async with opened(tmp_path) as store:
        clock = ManualClock(1_800_000_000)
        await Checkpoints(store, directory, clock).backup()
    assert not any(name.startswith(".making-") for name in names(directory))
    assert len(checkpoints_in(directory)) == 2


async def test_a_restored_database_is_the_checkpoint_and_the_old_one_is_kept(
    tmp_path: Path,
) -> None:
    name = await old_and_new(tmp_path)
    done = await restore_checkpoint(name, tmp_path, clock=ManualClock())
    assert await held(tmp_path) == "old"
    assert done.aside == str(tmp_path / "db.before-20231114T221320Z")
    assert done.rows > 0
    again = await restore_checkpoint(name, tmp_path, clock=ManualClock())
    assert again.aside == f"{done.aside}-2"
    assert done.aside is not None
    store = RocksStore.open(done.aside)
    entry = await store.get(Family.KV, ("row",))
    await store.close()
    assert entry is not None
    assert entry.value == b"new"


async def test_a_checkpoint_is_untouched_by_what_is_written_after_a_restore(
    tmp_path: Path,
) -> None:
    name = await old_and_new(tmp_path)
    for _ in range(2):
        await restore_checkpoint(name, tmp_path, clock=ManualClock())
        assert await held(tmp_path) == "old"
        async with opened(tmp_path) as store:
            await put(store, "newer")


async def test_a_restored_database_gets_a_checkpoint_even_at_the_version_of_the_newest(
    tmp_path: Path,
) -> None:
    name = await old_and_new(tmp_path)
    async with opened(tmp_path) as store:
        clock = ManualClock(1_800_000_000)
        await Checkpoints(store, tmp_path / "checkpoints", clock).backup()
    await restore_checkpoint(name, tmp_path, clock=ManualClock())
    async with opened(tmp_path) as store:
        await put(store, "another")  # the commit that was `new` before
        clock = ManualClock(1_900_000_000)
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", clock)
        assert await checkpoints.make_if_changed() is not None


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("restore.copied", "new"),
        ("restore.ready", "new"),
        ("restore.moved", "old"),
        ("restore.done", "old"),
    ],
)
async def test_a_restore_killed_anywhere_leaves_the_old_database_or_the_new_one(
    tmp_path: Path, point: str, expected: str
) -> None:
    name = await old_and_new(tmp_path)
    killed("restore", str(tmp_path), name, point)
    assert await held(tmp_path) == expected
    await restore_checkpoint(name, tmp_path)
    assert await held(tmp_path) == "old"
    assert not {*names(tmp_path)} & {"db.copying", "db.restoring"}


async def test_a_damaged_checkpoint_is_not_restored(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for number in range(2000):
            await store.commit([Put(Family.KV, ("row", number), b"%064d" % number)])
        checkpoints = Checkpoints(store, tmp_path / "checkpoints", ManualClock())
        made = await checkpoints.backup(tmp_path / "copy")
    damage(made.path)
    before = names(tmp_path)
    with pytest.raises(StateCorrupt, match="damaged"):
        await restore_checkpoint(made.path, tmp_path)
    assert names(tmp_path) == sorted([*before, "owner.lock"])


async def test_what_is_no_checkpoint_is_not_restored(tmp_path: Path) -> None:
    await old_and_new(tmp_path)
    with pytest.raises(StateError, match="no checkpoint"):
        await restore_checkpoint("nosuch", tmp_path)
    assert await held(tmp_path) == "new"


async def test_nothing_is_restored_or_verified_under_an_owner(tmp_path: Path) -> None:
    name = await old_and_new(tmp_path)
    lock = OwnerLock.take(tmp_path)
    try:
        with pytest.raises(StateOwned):
            await restore_checkpoint(name, tmp_path)
        with pytest.raises(StateOwned):
            await verify_database(tmp_path)
    finally:
        lock.release()
    assert (await verify_database(tmp_path)).problems == ()


async def test_a_failed_restore_changes_nothing(tmp_path: Path) -> None:
    name = await old_and_new(tmp_path)
    failpoints.arm("restore.copied:error")
    try:
        with pytest.raises(failpoints.FailpointError):
            await restore_checkpoint(name, tmp_path)
    finally:
        failpoints.arm("")
    assert await held(tmp_path) == "new"
