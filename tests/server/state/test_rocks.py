"""RocksDB on disk: reopening, owning, crashing, filling and damaging it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

import llmspell
from llmspell import failpoints
from llmspell.errors import (
    InternalError,
    StateCorrupt,
    StateError,
    StateNewerFormat,
    StateOwned,
)
from llmspell.state.keys import pack
from llmspell.state.migration import MIN_READER
from llmspell.state.rocks import RocksStore
from llmspell.state.store import (
    FORMAT_VERSION,
    Check,
    Delete,
    DeletePrefix,
    Durability,
    Family,
    Key,
    Put,
)
from tests.server.state import writer
from tests.support.lacking import lacking

_WRITER = Path(writer.__file__)
_FAMILIES = (Family.KV, Family.RUN, Family.EVENT)


@contextmanager
def _writer(*arguments: object) -> Generator[subprocess.Popen[str]]:
    """Run `writer.py`; it is dead at the end."""
    process = subprocess.Popen(
        [sys.executable, str(_WRITER), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(llmspell.__file__).parents[1])},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _rest(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.read().split()


async def _all(store: RocksStore, family: Family) -> list[tuple[Key, bytes, int]]:
    rows = await store.scan(family, (), limit=100_000)
    return [(key, entry.value, entry.version) for key, entry in rows]


# --- reopening


@pytest.mark.parametrize("durability", list(Durability))
async def test_reopening_keeps_every_entry_and_its_version(
    tmp_path: Path, durability: Durability
) -> None:
    store = RocksStore.open(tmp_path / "db")
    for family in _FAMILIES:
        for number in range(20):
            await store.commit(
                [Put(family, (family.value, number), b"%d" % number)], durability=durability
            )
    await store.commit([DeletePrefix(Family.RUN, ("run", 3))], durability=durability)
    before = [await _all(store, family) for family in Family]
    last = await store.commit([])
    await store.close()

    store = RocksStore.open(tmp_path / "db")
    assert [await _all(store, family) for family in Family] == before
    assert await store.commit([Put(Family.KV, ("a",), b"")]) > last
    await store.close()


async def test_a_store_makes_its_directory_for_its_owner_alone(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "new" / "db")
    await store.close()
    assert (tmp_path / "new" / "db").stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StateError, match=r"cannot open .*file/db"):
        RocksStore.open(tmp_path / "file" / "db")


# --- owning


async def test_a_database_open_in_another_process_is_owned(tmp_path: Path) -> None:
    with _writer(tmp_path / "db", "hold") as process:
        assert _line(process) == "open"
        with pytest.raises(StateOwned, match="lock") as caught:
            RocksStore.open(tmp_path / "db")
        assert caught.value.code == "state.owned"
    await RocksStore.open(tmp_path / "db").close()  # the lock dies with its holder


async def test_a_database_open_in_this_process_is_owned_until_it_is_closed(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("a",), b"")])
    await store.scan(Family.KV, ())
    with pytest.raises(StateOwned):
        RocksStore.open(tmp_path / "db")
    await store.close()
    await RocksStore.open(tmp_path / "db").close()


# --- format


def _raw(path: Path) -> Rdict:
    """Open the database as another version of this program would."""
    options = Options(raw_mode=True)
    names = Rdict.list_cf(str(path), options)
    return Rdict(str(path), options, column_families=dict.fromkeys(names, options))


def _set_meta(path: Path, **values: bytes) -> None:
    database = _raw(path)
    meta = database.get_column_family("meta")
    for name, value in values.items():
        meta[pack((name,))] = bytes(8) + b"\0" + value
    meta.close()
    database.close()


async def test_a_newer_format_is_refused_with_both_numbers_and_what_to_do(tmp_path: Path) -> None:
    await RocksStore.open(tmp_path / "db").close()
    newer = b"%d" % (FORMAT_VERSION + 6)
    _set_meta(tmp_path / "db", format=newer, min_reader=b"%d" % (FORMAT_VERSION + 1))
    with pytest.raises(StateNewerFormat) as caught:
        RocksStore.open(tmp_path / "db")
    assert caught.value.data == {"found": FORMAT_VERSION + 6, "supported": FORMAT_VERSION}
    assert f"format {FORMAT_VERSION + 6}" in caught.value.message
    assert f"up to {FORMAT_VERSION}" in caught.value.message
    assert "upgrade llmspell" in caught.value.hint
    # The refusal let go of the lock, and changed nothing.
    _set_meta(tmp_path / "db", format=b"%d" % FORMAT_VERSION, min_reader=b"%d" % MIN_READER)
    await RocksStore.open(tmp_path / "db").close()


async def test_a_newer_format_that_lets_this_one_in_opens_and_stays_what_it_is(
    tmp_path: Path,
) -> None:
    await RocksStore.open(tmp_path / "db").close()
    newer = b"%d" % (FORMAT_VERSION + 1)
    _set_meta(tmp_path / "db", format=newer, min_reader=b"%d" % FORMAT_VERSION)
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("a",), b"")])
    entry = await store.get(Family.META, ("format",))
    assert entry is not None
    assert entry.value == newer
    await store.close()


@pytest.mark.parametrize("value", [b"", b"0", b"one"])
async def test_a_format_that_is_no_number_is_damage(tmp_path: Path, value: bytes) -> None:
    await RocksStore.open(tmp_path / "db").close()
    _set_meta(tmp_path / "db", format=value)
    with pytest.raises(StateCorrupt, match="format"):
        RocksStore.open(tmp_path / "db")


async def test_a_family_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    await RocksStore.open(tmp_path / "db").close()
    database = _raw(tmp_path / "db")
    later = database.create_column_family("later", Options(raw_mode=True))
    later[b"k"] = b"v"
    later.close()
    database.close()
    del later, database

    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("a",), b"1")])
    await store.close()
    del store

    database = _raw(tmp_path / "db")
    later = database.get_column_family("later")
    assert later[b"k"] == b"v"
    later.close()
    database.close()


async def test_a_database_that_is_not_ours_is_not_touched(tmp_path: Path) -> None:
    database = Rdict(str(tmp_path / "db"), Options(raw_mode=True))
    database[b"k"] = b"v"
    database.close()
    del database
    with pytest.raises(StateCorrupt, match="no format version"):
        RocksStore.open(tmp_path / "db")


async def test_an_opening_that_failed_lets_go_of_the_lock(tmp_path: Path) -> None:
    failpoints.arm("state.before_sync:error")
    with pytest.raises(failpoints.FailpointError):
        RocksStore.open(tmp_path / "db")
    failpoints.arm("")
    store = RocksStore.open(tmp_path / "db")
    assert await store.commit([Put(Family.KV, ("a",), b"")]) > 1
    await store.close()


# --- durable commits share syncs


async def test_many_durable_commits_are_all_acknowledged_with_few_syncs(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    async with asyncio.timeout(20):
        versions = await asyncio.gather(
            *(
                store.commit([Put(Family.KV, (n,), b"%d" % n)], durability=Durability.DURABLE)
                for n in range(256)
            )
        )
    assert len(set(versions)) == 256
    assert 1 <= store.sync_count < 256
    await store.close()
    store = RocksStore.open(tmp_path / "db")
    assert [value for _, value, _ in await _all(store, Family.KV)] == [
        b"%d" % n for n in range(256)
    ]
    await store.close()


async def test_each_durable_commit_alone_costs_a_sync_and_a_written_one_none(
    tmp_path: Path,
) -> None:
    store = RocksStore.open(tmp_path / "db")
    for number in range(5):
        await store.commit([Put(Family.KV, (number,), b"")])
    assert store.sync_count == 0
    for number in range(5):
        await store.commit([Put(Family.KV, (number,), b"")], durability=Durability.DURABLE)
    assert store.sync_count == 5
    await store.close()


async def test_a_sync_that_fails_reaches_each_waiter_and_later_ones_work(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    failpoints.arm("state.before_sync:error")
    async with asyncio.timeout(20):
        errors = await asyncio.gather(
            *(
                store.commit([Put(Family.KV, (n,), b"")], durability=Durability.DURABLE)
                for n in range(3)
            ),
            return_exceptions=True,
        )
    failpoints.arm("")
    assert all(isinstance(error, InternalError) for error in errors)
    assert len({id(error) for error in errors}) == 3
    await store.commit([Put(Family.KV, ("a",), b"")], durability=Durability.DURABLE)
    await store.close()


# --- crashes


def _check_after_crash(path: Path, acknowledged: int) -> int:
    """Check that commits 1 to n are there whole, n at least `acknowledged`; return n."""
    store = RocksStore.open(path)

    async def read() -> int:
        numbers: list[list[Key]] = []
        for family in _FAMILIES:
            rows = await store.scan(family, (), limit=100_000)
            numbers.append([key for key, _ in rows])
            assert all(len(entry.value) == 4096 for _, entry in rows)
        assert numbers[0] == numbers[1] == numbers[2], "a torn commit"
        assert numbers[0] == [("row", n) for n in range(1, len(numbers[0]) + 1)], "a hole"
        before = await store.commit([])
        versions = {entry.version for _, entry in await store.scan(Family.KV, (), limit=100_000)}
        assert before >= max(versions, default=0)
        await store.close()
        return len(numbers[0])

    present = asyncio.run(read())
    assert present >= acknowledged, "an acknowledged commit is lost"
    return present


@pytest.mark.parametrize(
    ("level", "commits"), [("written", 40), ("written", 1500), ("durable", 60)]
)
def test_no_acknowledged_commit_is_lost_or_torn_when_the_writer_is_killed(
    tmp_path: Path, level: str, commits: int
) -> None:
    """1500 commits are 18 MB, so that memtables are flushed to files meanwhile."""
    with _writer(tmp_path / "db", "write", level) as process:
        for _ in range(commits + 1):
            _line(process)
        process.kill()
        acknowledged = int((["0", *_rest(process)])[-1]) or commits
    _check_after_crash(tmp_path / "db", acknowledged)


@pytest.mark.parametrize(
    ("level", "point"),
    [
        ("written", "state.after_write"),
        ("durable", "state.after_write"),
        ("durable", "state.before_sync"),
    ],
)
def test_a_commit_that_dies_between_writing_and_answering_is_there_whole(
    tmp_path: Path, level: str, point: str
) -> None:
    with _writer(tmp_path / "db", "write", level, point, 7) as process:
        said = _rest(process)
        assert process.wait(20) == -9
    assert said == ["open", *map(str, range(1, 7))]
    assert _check_after_crash(tmp_path / "db", 6) == 7  # the kernel has it, the caller not yet


async def test_no_durable_transaction_is_lost_or_torn_when_its_process_is_killed(
    tmp_path: Path,
) -> None:
    acknowledged: set[str] = set()
    for kill in range(3):
        with _writer(tmp_path / f"db{kill}", "transfer") as process:
            acknowledged = {_line(process) for _ in range(100 * (kill + 1))} - {"open"}
            process.kill()
            acknowledged |= set(_rest(process))
        store = RocksStore.open(tmp_path / f"db{kill}")
        receipts = await store.scan(Family.KV, ("bank", "receipt"), limit=1_000_000)
        assert acknowledged <= {f"{key[2]}.{key[3]}" for key, _ in receipts}
        expected = dict.fromkeys(range(writer.ACCOUNTS), writer.EACH)
        for _, entry in receipts:
            source, target = map(int, entry.value.split())
            expected[source] -= 1
            expected[target] += 1
        rows = await store.scan(Family.KV, ("bank", "account"))
        assert {key[2]: int(entry.value) for key, entry in rows} == expected
        assert (await store.verify()).problems == ()
        await store.close()
    assert len(acknowledged) > 200


# --- a full disk


def _on_a_small_disk(disk: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command that has a file system of its own at `disk`."""
    disk.mkdir()
    mount = ["unshare", "-rm", "sh", "-c"]
    small = f"mount -t tmpfs -o size=112m tmpfs '{disk}'"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mount, small], capture_output=True, check=False).returncode
    ):
        lacking("this machine lets nobody mount a small disk")
    return subprocess.run(
        [*mount, f"{small} && {command}"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(llmspell.__file__).parents[1])},
    )


_OPENING = """
import sys
from llmspell.errors import StateError
from llmspell.state.rocks import RocksStore
try:
    RocksStore.open(sys.argv[1])
except StateError as error:
    print(error.report())
"""


def test_a_directory_that_cannot_be_written_is_refused_with_what_to_do(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    run = f"'{sys.executable}' -c '{_OPENING}' '{disk}/db'"
    done = _on_a_small_disk(disk, f"{run} && mount -o remount,ro '{disk}' && {run}")
    assert "Read-only file system" in done.stdout, done.stderr
    assert "has to be writable" in done.stdout


def test_a_full_disk_refuses_writes_keeps_reading_and_goes_on_by_itself_once_there_is_room(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    done = _on_a_small_disk(disk, f"exec '{sys.executable}' '{_WRITER}' '{disk}/db' fill")
    assert done.stdout.splitlines() == [
        "open",
        "full: free at least 64 MB; writing then goes on by itself",
        "refused at once",
        "still full",
        "goes on",
        "reopened",
    ], done.stderr


# --- verifying


async def test_a_sound_store_is_verified_with_what_it_holds(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("t", "s", n), b"v") for n in range(2500)])
    await store.commit([Put(Family.RUN, ("r",), b"")])
    found = await store.verify()
    assert found.problems == ()
    assert (found.rows["kv"], found.rows["run"], found.rows["event"]) == (2500, 1, 0)
    assert found.rows["usage"] == 1
    assert found.bytes > 2500 * 10
    await store.close()


async def test_a_verification_reads_one_moment_while_others_write(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("t", "s", n), b"v") for n in range(20_000)])
    verifying = asyncio.create_task(store.verify())
    await asyncio.sleep(0)
    commits = 0
    while not verifying.done():
        await store.commit([Delete(Family.KV, ("t", "s", commits)), Put(Family.RUN, ("r",), b"")])
        commits += 1
        await asyncio.sleep(0)
    found = await verifying
    assert found.problems == ()
    assert (found.rows["kv"], found.rows["run"]) == (20_000, 0)
    assert commits > 1, "the loop was held up"
    await store.close()


async def test_closing_ends_a_verification_and_lets_go_of_the_lock(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("t", "s", n), b"v") for n in range(20_000)])
    verifying = [asyncio.create_task(store.verify()) for _ in range(2)]
    await asyncio.sleep(0)
    verifying[0].cancel()
    async with asyncio.timeout(20):
        await store.close()
        with pytest.raises(StateError, match="closed"):
            await verifying[1]
    assert verifying[0].cancelled()
    await RocksStore.open(tmp_path / "db").close()


async def test_damage_is_found_and_named_and_left_as_it_is(tmp_path: Path) -> None:
    await _filled(tmp_path / "db")
    file = _largest(tmp_path / "db", "*.sst")
    _damage(file, file.stat().st_size // 2)
    before = file.read_bytes()
    store = RocksStore.open(tmp_path / "db")
    found = await store.verify()
    assert any("kv" in problem and "checksum" in problem for problem in found.problems)
    assert found.rows["kv"] < 2000
    await store.close()
    assert file.read_bytes() == before


async def test_rows_that_are_none_and_counts_that_are_wrong_are_found(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("t", "s", 1), b"v")])
    await store.close()
    database = _raw(tmp_path / "db")
    kv = database.get_column_family("kv")
    kv[pack(("t", "s", 2))] = bytes(9) + b"not counted"
    kv.close()
    database.close()
    store = RocksStore.open(tmp_path / "db")
    assert [problem.split()[0] for problem in (await store.verify()).problems] == ["usage:"]
    await store.close()
    database = _raw(tmp_path / "db")
    kv = database.get_column_family("kv")
    for number in range(150):
        kv[pack(("t", "x", number))] = b"short"
    kv[b"\x30"] = bytes(9)
    kv.close()
    database.close()
    store = RocksStore.open(tmp_path / "db")
    problems = (await store.verify()).problems
    assert (len(problems), problems[-1]) == (101, "and 51 more")
    await store.close()


# --- checkpoints


async def test_a_checkpoint_is_the_store_as_it_was_and_opens_by_itself(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    await store.commit([Put(Family.KV, ("t", "s", n), os.urandom(50)) for n in range(3000)])
    before = [await _all(store, family) for family in Family]
    await store.checkpoint(tmp_path / "checkpoint")
    await store.commit([DeletePrefix(Family.KV, ())])
    await store.close()
    copy = RocksStore.open(tmp_path / "checkpoint")
    assert [await _all(copy, family) for family in Family] == before
    assert (await copy.verify()).problems == ()
    await copy.close()


async def test_a_checkpoint_made_while_others_write_holds_whole_commits(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    making = asyncio.create_task(store.checkpoint(tmp_path / "checkpoint"))
    number = 0
    while not making.done():
        number += 1
        await store.commit([Put(family, ("row", number), b"v") for family in _FAMILIES])
        await asyncio.sleep(0)
    await making
    last = number
    await store.close()
    copy = RocksStore.open(tmp_path / "checkpoint")
    found = [[key for key, _, _ in await _all(copy, family)] for family in _FAMILIES]
    assert found[0] == found[1] == found[2] == [("row", n) for n in range(1, len(found[0]) + 1)]
    assert len(found[0]) <= last
    assert (await copy.verify()).problems == ()
    await copy.close()


async def test_a_checkpoint_over_something_is_refused(tmp_path: Path) -> None:
    store = RocksStore.open(tmp_path / "db")
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "there", tmp_path / "no" / "parent"):
        with pytest.raises(StateError, match="cannot make the checkpoint"):
            await store.checkpoint(path)
    assert list((tmp_path / "there").iterdir()) == []
    await store.close()
    with pytest.raises(StateError, match="closed"):
        await store.checkpoint(tmp_path / "late")


# --- damage


async def _filled(path: Path) -> None:
    """Make a database of several data blocks in files, with nothing left in the log."""
    store = RocksStore.open(path)
    for number in range(2000):
        await store.commit([Put(Family.KV, ("row", number), os.urandom(100))])
    await store.close()


def _largest(path: Path, pattern: str) -> Path:
    return max(path.glob(pattern), key=lambda file: file.stat().st_size)


def _damage(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at : at + 16] = bytes(byte ^ 0xFF for byte in content[at : at + 16])
    file.write_bytes(content)


async def test_a_damaged_data_file_fails_reads_and_never_shortens_them(tmp_path: Path) -> None:
    await _filled(tmp_path / "db")
    file = _largest(tmp_path / "db", "*.sst")
    _damage(file, file.stat().st_size // 2)
    store = RocksStore.open(tmp_path / "db")
    with pytest.raises(StateCorrupt, match="checksum"):
        await store.scan(Family.KV, ("row",), limit=5000)
    with pytest.raises(StateCorrupt, match="checksum"):
        await store.scan(Family.KV, ("row",), limit=5000, reverse=True)
    damaged = 0
    for number in range(2000):
        try:
            assert await store.get(Family.KV, ("row", number)) is not None
        except StateCorrupt:
            damaged += 1
    assert 0 < damaged < 200
    await store.close()


async def test_bytes_that_are_no_entry_are_damage(tmp_path: Path) -> None:
    await RocksStore.open(tmp_path / "db").close()
    database = _raw(tmp_path / "db")
    kv = database.get_column_family("kv")
    for key, value in ((("a",), b"short"), (("b",), bytes(8) + b"\x80" + b"flags")):
        kv[pack(key)] = value
    kv[b"\x30"] = bytes(9)
    kv.close()
    database.close()
    del kv, database

    store = RocksStore.open(tmp_path / "db")
    for key in ("a", "b"):
        with pytest.raises(StateCorrupt, match="no valid header"):
            await store.get(Family.KV, (key,))
        with pytest.raises(StateCorrupt, match="no valid header"):
            await store.commit([Put(Family.RUN, ("r",), b"")], checks=[Check(Family.KV, (key,), 1)])
    assert await store.get(Family.RUN, ("r",)) is None
    with pytest.raises(StateCorrupt, match="unknown kind"):
        await store.scan(Family.KV, (), after=("c",))
    await store.close()


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("*.sst", "No such file"),
        ("MANIFEST-*", "No such file"),
        ("CURRENT", "lost its file CURRENT"),
    ],
)
async def test_a_missing_file_is_damage_and_nothing_new_is_begun_over_it(
    tmp_path: Path, pattern: str, what: str
) -> None:
    await _filled(tmp_path / "db")
    _largest(tmp_path / "db", pattern).unlink()
    before = sorted(file.name for file in (tmp_path / "db").glob("*.sst"))
    for _ in range(2):
        with pytest.raises(StateCorrupt, match=what):
            RocksStore.open(tmp_path / "db")
    assert sorted(file.name for file in (tmp_path / "db").glob("*.sst")) == before


async def test_a_damaged_manifest_is_damage(tmp_path: Path) -> None:
    await _filled(tmp_path / "db")
    _damage(_largest(tmp_path / "db", "MANIFEST-*"), 40)
    with pytest.raises(StateCorrupt):
        RocksStore.open(tmp_path / "db")


def _killed_writer(path: Path) -> None:
    """Leave a database whose log holds 20 commits."""
    with _writer(path, "write", "written", "state.after_write", 20) as process:
        assert process.wait(20) == -9


def test_a_log_cut_short_loses_its_last_commit_only(tmp_path: Path) -> None:
    _killed_writer(tmp_path / "db")
    log = _largest(tmp_path / "db", "*.log")
    os.truncate(log, log.stat().st_size - 100)
    assert _check_after_crash(tmp_path / "db", 19) == 19


def test_a_log_damaged_in_the_middle_is_refused_not_cut_off(tmp_path: Path) -> None:
    _killed_writer(tmp_path / "db")
    log = _largest(tmp_path / "db", "*.log")
    _damage(log, log.stat().st_size // 2)
    with pytest.raises(StateCorrupt, match=r"checksum|bad record") as caught:
        RocksStore.open(tmp_path / "db")
    assert "copy the state directory aside" in caught.value.hint
