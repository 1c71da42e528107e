"""One core behind every door: what one person does at one, the same person finds at the others."""

from __future__ import annotations

import pytest

from llmspell.security.principals import local_caller
from tests.interaction.doors import A2ADoor, Door, House
from tests.interaction.requirements import requirement

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLER = local_caller()


@requirement("state:shared:every-door")
async def test_a_note_written_here_is_read_everywhere(door: Door, house: House) -> None:
    text = f"written at {door.name}"
    added = await door.cast("notes", {"action": "add", "text": text, "author": door.name})
    assert added.ok
    for other in house.doors.values():
        found = await other.cast("notes", {"action": "search", "text": text})
        assert [note["text"] for note in found.output["notes"]] == [text], other.name


@requirement("state:user:every-door")
async def test_a_person_is_the_same_at_every_door(door: Door, house: House) -> None:
    begun = (await door.cast("mine", {})).output["count"]
    for number, other in enumerate(house.doors.values(), 1):
        assert (await other.cast("mine", {})).output == {"count": begun + number}, other.name


@requirement("runs:visible:every-door")
async def test_a_run_begun_here_is_seen_from_elsewhere(door: Door, house: House) -> None:
    done = await door.cast("hello", {"name": door.name})
    failed = await door.cast("raises", {})
    assert done.run_id
    assert failed.run_id
    listed = {run.id: run for run in (await house.host.runs(caller=CALLER, limit=10)).runs}
    assert listed[done.run_id].output == f"Hello, {door.name}!"
    kind = {"host": "cli", "cli": "cli"}.get(door.name, door.name.partition("-")[0])
    assert listed[done.run_id].door == kind
    assert listed[failed.run_id].state == "failed"
    handle = await house.host.run(done.run_id, caller=CALLER)
    numbers = [event.number async for event in handle.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    for name in ("a2a-http", "a2a-ws"):
        other = house.doors[name]
        assert isinstance(other, A2ADoor)
        task = await other.task(done.run_id)
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert task["artifacts"][-1]["parts"] == [{"text": f"Hello, {door.name}!"}]
        task = await other.task(failed.run_id)
        assert task["status"]["state"] == "TASK_STATE_FAILED"
