"""Parking: a tree is let go of when it only waits, and at no other time."""

from __future__ import annotations

import asyncio

from llmspell.runs.parking import GRACE_SECONDS, Tree


class Parked:
    """Remembers with what time a tree was parked."""

    def __init__(self) -> None:
        self.calls: list[float | None] = []
        self.happened = asyncio.Event()

    def __call__(self, wake_at: float | None) -> None:
        self.calls.append(wake_at)
        self.happened.set()


async def test_a_tree_that_only_waits_is_parked_until_the_first_is_due() -> None:
    parked = Parked()
    tree = Tree(parked)
    with tree.waits(50.0), tree.waits(None), tree.waits(20.0):
        async with asyncio.timeout(20 * GRACE_SECONDS):
            await parked.happened.wait()
    assert parked.calls == [20.0]


async def test_a_tree_that_waits_for_an_answer_alone_is_parked_without_a_time() -> None:
    parked = Parked()
    with Tree(parked).waits(None):
        async with asyncio.timeout(20 * GRACE_SECONDS):
            await parked.happened.wait()
    assert parked.calls == [None]


async def test_a_tree_that_does_something_is_not_parked_until_that_is_over() -> None:
    parked = Parked()
    tree = Tree(parked)
    with tree.waits(9.0):
        with tree.busy():
            await asyncio.sleep(3 * GRACE_SECONDS)
            assert not parked.calls
        async with asyncio.timeout(20 * GRACE_SECONDS):
            await parked.happened.wait()
    assert parked.calls == [9.0]


async def test_a_wait_that_is_over_soon_parks_nothing() -> None:
    parked = Parked()
    tree = Tree(parked)
    with tree.waits(9.0):
        pass
    await asyncio.sleep(3 * GRACE_SECONDS)
    assert not parked.calls


async def test_a_tree_that_has_ended_is_not_parked() -> None:
    parked = Parked()
    tree = Tree(parked)
    waiting = tree.waits(9.0)
    waiting.__enter__()
    tree.stop()
    await asyncio.sleep(3 * GRACE_SECONDS)
    assert not parked.calls
