"""Transactions are serialisable: a bank never loses money, and histories of lists have no cycle.

Property tests, so that `make soak` runs them many times as long.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.clock import SystemClock
from llmspell.errors import StateConflict
from llmspell.state.memory import MemoryStore
from llmspell.state.rocks import RocksStore
from llmspell.state.store import Check, CheckRange, Durability, Family, Key, Put, Store, Write
from llmspell.state.transactions import Transaction, run
from tests.server.state.histories import Done, anomaly

_tenants = (f"tenant{number}" for number in itertools.count())
_shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Impatient(SystemClock):
    """A clock that gives way instead of waiting: who lost tries again at once."""

    async def sleep(self, seconds: float) -> None:
        del seconds
        await asyncio.sleep(0)


@pytest.fixture(params=["memory", "rocksdb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = MemoryStore() if request.param == "memory" else RocksStore.open(tmp_path / "db")
    yield opened
    await opened.close()


# --- the bank

_ACCOUNTS = 5
_EACH = 100


async def _bank(store: Store, seed: int, *, durability: Durability, turns: int = 6) -> None:
    tenant, chance, clock = next(_tenants), random.Random(seed), Impatient()
    accounts: list[Key] = [(tenant, "account", number) for number in range(_ACCOUNTS)]
    await store.commit([Put(Family.KV, key, b"%d" % _EACH) for key in accounts])

    async def transfer() -> None:
        for _ in range(turns):
            source, target = chance.sample(accounts, 2)
            amount = chance.randrange(1, 90)

            async def work(transaction: Transaction) -> None:
                paid = int(_value(transaction, source))  # noqa: B023 - it runs in this turn only
                got = int(_value(transaction, target))  # noqa: B023
                await asyncio.sleep(0)  # others get in between reading and writing
                if paid >= amount:  # noqa: B023
                    transaction.put(source, b"%d" % (paid - amount))  # noqa: B023
                    transaction.put(target, b"%d" % (got + amount))  # noqa: B023

            await run(store, tenant, work, clock=clock, attempts=1000, durability=durability)

    async def audit() -> None:
        for _ in range(turns * 2):
            transaction = Transaction(store, tenant)
            total = 0
            for key in accounts[:2]:
                total += int(_value(transaction, key))
                await asyncio.sleep(0)
            rest = transaction.scan((tenant, "account"), after=accounts[1])
            total += sum(int(entry.value) for _, entry in rest)
            transaction.close()
            assert total == _ACCOUNTS * _EACH
            await asyncio.sleep(0)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(transfer())
        for _ in range(2):
            group.create_task(audit())
    rows = await store.scan(Family.KV, (tenant, "account"))
    assert sum(int(entry.value) for _, entry in rows) == _ACCOUNTS * _EACH
    assert min(int(entry.value) for _, entry in rows) >= 0


def _value(transaction: Transaction, key: Key) -> bytes:
    entry = transaction.get(key)
    assert entry is not None
    return entry.value


@_shared
@given(seed=st.integers(0, 1 << 32))
async def test_transfers_keep_the_total_that_every_scanner_sees(store: Store, seed: int) -> None:
    await _bank(store, seed, durability=Durability.WRITTEN)


async def test_durable_transfers_keep_the_total_too(store: Store) -> None:
    await _bank(store, 7, durability=Durability.DURABLE, turns=40)


# --- lists


class _Lists:
    """Lists in a store, each appended to by transactions: one value a list, or one row an item."""

    def __init__(self, store: Store, tenant: str, *, rows: bool) -> None:
        self.tenant = tenant
        self._store = store
        self._rows = rows

    def read(self, transaction: Transaction, name: int) -> tuple[int, ...]:
        if self._rows:
            found = transaction.scan((self.tenant, "list", name))
            return tuple(int(entry.value) for _, entry in found)
        entry = transaction.get((self.tenant, "list", name))
        return tuple(map(int, entry.value.split())) if entry else ()

    def append(self, transaction: Transaction, name: int, value: int) -> tuple[int, ...]:
        held = self.read(transaction, name)
        if self._rows:
            transaction.put((self.tenant, "list", name, len(held)), b"%d" % value)
        else:
            text = b" ".join(b"%d" % each for each in (*held, value))
            transaction.put((self.tenant, "list", name), text)
        return held

    def all(self, names: range) -> dict[int, tuple[int, ...]]:
        transaction = Transaction(self._store, self.tenant)
        found = {name: self.read(transaction, name) for name in names}
        transaction.close()
        return found


async def _lists(store: Store, seed: int, *, rows: bool, durability: Durability) -> str:
    chance, clock, names = random.Random(seed), Impatient(), range(3)
    lists = _Lists(store, next(_tenants), rows=rows)
    values, moments = itertools.count(1), itertools.count(1)
    history: list[Done] = []

    async def client() -> None:
        for _ in range(6):
            plan = [
                (chance.choice(names), chance.random() < 0.5) for _ in range(chance.randint(1, 4))
            ]
            began = next(moments)

            async def work(transaction: Transaction) -> Done:
                done = Done(began)  # noqa: B023 - it runs in this turn only
                for name, is_append in plan:  # noqa: B023
                    own = [value for where, value in done.appends if where == name]
                    if is_append:
                        value = next(values)
                        held = lists.append(transaction, name, value)
                        done.appends.append((name, value))
                    else:
                        held = lists.read(transaction, name)
                    # What it has appended itself it reads as well, at the end.
                    assert list(held[len(held) - len(own) :]) == own
                    done.reads.append((name, held[: len(held) - len(own)]))
                    if chance.random() < 0.6:
                        await asyncio.sleep(0)
                return done

            done = await run(
                store, lists.tenant, work, clock=clock, attempts=1000, durability=durability
            )
            done.ended = next(moments)
            history.append(done)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(client())
    assert len(history) == 30
    return anomaly(history, lists.all(names))


@_shared
@given(seed=st.integers(0, 1 << 32), rows=st.booleans())
async def test_histories_of_lists_are_those_of_some_serial_order(
    store: Store, seed: int, rows: bool
) -> None:
    assert await _lists(store, seed, rows=rows, durability=Durability.WRITTEN) == ""


@pytest.mark.parametrize("rows", [False, True])
async def test_durable_histories_of_lists_are_serial_too(store: Store, rows: bool) -> None:
    for seed in range(5):
        assert await _lists(store, seed, rows=rows, durability=Durability.DURABLE) == ""


# --- the check itself finds what it is for


@pytest.mark.parametrize(
    ("history", "final", "what"),
    [
        ([Done(1, 2, appends=[(0, 1)])], {0: ()}, "lost"),
        ([Done(1, 2, appends=[(0, 1)])], {0: (1, 2)}, "nobody"),
        (
            [Done(1, 9, appends=[(0, 1)]), Done(2, 8, appends=[(0, 2)]), Done(3, 7, [(0, (2,))])],
            {0: (1, 2)},
            "it became",
        ),
        # Write skew: each read what the other appended to before it did.
        (
            [Done(1, 4, [(1, ())], [(0, 1)]), Done(2, 3, [(0, ())], [(1, 2)])],
            {0: (1,), 1: (2,)},
            "cycle",
        ),
        # A stale read: the append had ended before the read began.
        ([Done(1, 2, appends=[(0, 1)]), Done(3, 4, [(0, ())])], {0: (1,)}, "cycle"),
    ],
)
def test_a_history_that_no_order_explains_is_found(
    history: list[Done], final: dict[int, tuple[int, ...]], what: str
) -> None:
    assert what in anomaly(history, final)


class Blind(MemoryStore):
    """A store that looks at single keys only when it commits."""

    async def commit(
        self,
        writes: Sequence[Write],
        *,
        checks: Sequence[Check | CheckRange] = (),
        durability: Durability = Durability.WRITTEN,
    ) -> int:
        return await super().commit(
            writes,
            checks=[check for check in checks if isinstance(check, Check)],
            durability=durability,
        )


async def test_without_checks_of_ranges_a_phantom_is_found() -> None:
    """The test above would fail: the same clients, over a store that lets phantoms through."""
    found = [
        await _lists(Blind(), seed, rows=True, durability=Durability.WRITTEN) for seed in range(5)
    ]
    assert any(found)


async def test_two_that_read_a_range_and_each_add_to_it_do_not_both_get_through(
    store: Store,
) -> None:
    one, other = Transaction(store, "t"), Transaction(store, "t")
    for transaction, name in ((one, "a"), (other, "b")):
        assert transaction.scan(("t", "on call")) == []
        transaction.put(("t", "on call", name), b"")
    await one.commit()
    with pytest.raises(StateConflict):
        await other.commit()
