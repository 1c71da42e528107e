from __future__ import annotations

import asyncio

import pytest

from llmspell.errors import LimitBusy
from llmspell.runtime.slots import PATIENCE_SECONDS, Slots


class Room:
    """Room for so many new scripts."""

    def __init__(self, free: int = 1000) -> None:
        self.free = free

    def reserve(self) -> bool:
        if self.free == 0:
            return False
        self.free -= 1
        return True

    def unreserve(self) -> None:
        self.free += 1


def slots_of(
    count: int, *, prompt: int | None = None, queue: int = 10, room: Room | None = None
) -> Slots:
    room = room or Room()
    return Slots(count, prompt=prompt, queue=queue, reserve=room.reserve, unreserve=room.unreserve)


class Line:
    """Scripts that ask for a slot, and the order in which they get one."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._taken: list[float] = []
        self.got: list[str] = []

    async def join(self, name: str, *, is_new: bool) -> asyncio.Task[None]:
        """Ask for a slot; return once it is had or waited for."""

        async def ask() -> None:
            self._taken.append(await self._slots.take(is_new=is_new))
            self.got.append(name)

        task = asyncio.get_running_loop().create_task(ask())
        await settled()
        return task

    def leave(self) -> None:
        """Let the one that has had its slot longest give it back."""
        self._slots.give_back(self._taken.pop(0))


async def settled() -> None:
    """Return once every task has done what it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def out_of_patience() -> None:
    """Return once nobody who waits now is patient any more."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(PATIENCE_SECONDS, over.set_result, None)
    await over


async def test_as_many_go_on_as_there_are_slots_and_the_others_in_turn() -> None:
    slots = slots_of(2)
    line = Line(slots)
    for name in "abcd":
        await line.join(name, is_new=True)
    assert line.got == ["a", "b"]
    line.leave()
    await settled()
    assert line.got == ["a", "b", "c"]
    line.leave()
    await settled()
    assert line.got == ["a", "b", "c", "d"]


async def test_who_is_under_way_goes_before_who_is_new() -> None:
    slots = slots_of(1)
    line = Line(slots)
    await line.join("first", is_new=True)
    await line.join("new", is_new=True)
    await line.join("child", is_new=False)
    line.leave()
    await settled()
    assert line.got == ["first", "child"]
    line.leave()
    await settled()
    assert line.got == ["first", "child", "new"]


async def test_only_new_ones_are_refused_when_the_queue_is_full() -> None:
    slots = slots_of(1, queue=1)
    line = Line(slots)
    await line.join("first", is_new=True)
    await line.join("queued", is_new=True)
    with pytest.raises(LimitBusy) as got:
        await slots.take(is_new=True)
    assert got.value.data == {"retry_after": 1, "limit": "limits.queue"}
    assert got.value.retryable
    await line.join("child", is_new=False)
    for _ in range(2):
        line.leave()
        await settled()
    assert line.got == ["first", "child", "queued"]


async def test_a_queue_of_none_refuses_whoever_would_have_to_wait() -> None:
    slots = slots_of(1, queue=0)
    await slots.take(is_new=True)
    with pytest.raises(LimitBusy):
        await slots.take(is_new=True)


async def test_a_new_one_waits_for_room_although_a_slot_is_free() -> None:
    room = Room(1)
    slots = slots_of(2, room=room)
    line = Line(slots)
    await line.join("a", is_new=True)
    await line.join("b", is_new=True)
    await line.join("child", is_new=False)
    assert line.got == ["a", "child"]
    line.leave()
    await settled()
    assert line.got == ["a", "child"]
    room.free = 1
    slots.wake()
    await settled()
    assert line.got == ["a", "child", "b"]


async def test_who_gives_up_waiting_holds_nothing() -> None:
    room = Room(2)
    slots = slots_of(1, room=room)
    line = Line(slots)
    await line.join("a", is_new=True)
    gone = await line.join("gone", is_new=True)
    await line.join("b", is_new=True)
    gone.cancel()
    line.leave()
    await settled()
    assert line.got == ["a", "b"]
    assert room.free == 0


async def test_a_slot_given_to_somebody_who_is_canceled_then_goes_to_the_next() -> None:
    room = Room(3)
    slots = slots_of(1, room=room)
    line = Line(slots)
    await line.join("a", is_new=True)
    late = await line.join("late", is_new=True)
    await line.join("b", is_new=True)
    line.leave()
    late.cancel()
    await settled()
    assert line.got == ["a", "b"]
    assert room.free == 1


async def test_closing_refuses_who_waits_and_who_comes() -> None:
    slots = slots_of(1)
    line = Line(slots)
    await line.join("a", is_new=True)
    waiting = await line.join("b", is_new=True)
    slots.close()
    with pytest.raises(LimitBusy, match="closed"):
        await waiting
    with pytest.raises(LimitBusy, match="closed"):
        await slots.take(is_new=False)


async def test_beyond_the_prompt_ones_a_script_takes_the_slot_that_is_given_back() -> None:
    slots = slots_of(3, prompt=1)
    line = Line(slots)
    for name in "abc":
        await line.join(name, is_new=True)
    assert line.got == ["a"]
    line.leave()
    await settled()
    assert line.got == ["a", "b"]


async def test_whose_patience_ends_computes_beside_the_prompt_ones_while_there_are_slots() -> None:
    slots = slots_of(3, prompt=1)
    line = Line(slots)
    tasks = [await line.join(name, is_new=name != "c") for name in "abcd"]
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks[:3])
    assert line.got == ["a", "b", "c"]
    assert not tasks[3].done()  # three slots are taken
    line.leave()
    async with asyncio.timeout(5):
        await tasks[3]


async def test_slots_that_are_closed_refuse_whoever_is_still_patient() -> None:
    slots = slots_of(3, prompt=1)
    line = Line(slots)
    await line.join("first", is_new=True)
    patient = await line.join("patient", is_new=True)
    slots.close()
    with pytest.raises(LimitBusy):
        await patient


async def test_a_full_queue_makes_nobody_patient_while_there_are_slots() -> None:
    slots = slots_of(2, prompt=1, queue=0)
    for _ in range(2):
        await slots.take(is_new=True)
    with pytest.raises(LimitBusy):
        await slots.take(is_new=True)


async def test_nobody_is_patient_beside_what_has_computed_for_long() -> None:
    slots = slots_of(3, prompt=1)
    line = Line(slots)
    await line.join("long", is_new=True)
    late = await line.join("late", is_new=True)
    async with asyncio.timeout(5):
        await late
    line.leave()  # "long" has gone, and "late" computes for long in its turn
    patient = await line.join("patient", is_new=True)
    async with asyncio.timeout(5):
        await patient
        await slots.take(is_new=True)


async def test_a_new_one_that_has_waited_longest_goes_before_who_is_under_way() -> None:
    slots = slots_of(1)
    line = Line(slots)
    await line.join("first", is_new=True)
    await line.join("new", is_new=True)
    await out_of_patience()
    await line.join("under way", is_new=False)
    line.leave()
    await settled()
    assert line.got == ["first", "new"]
    line.leave()
    await settled()
    assert line.got == ["first", "new", "under way"]


async def test_a_new_one_without_room_keeps_nobody_waiting_however_long_it_waits() -> None:
    slots = slots_of(1, room=Room(1))
    line = Line(slots)
    await line.join("first", is_new=True)
    await line.join("new", is_new=True)
    await out_of_patience()
    await line.join("under way", is_new=False)
    line.leave()
    await settled()
    assert line.got == ["first", "under way"]
