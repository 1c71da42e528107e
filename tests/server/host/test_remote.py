"""The host behind the socket says what the host itself says."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmspell.errors import (
    AskInvalid,
    IdempotencyConflict,
    InputInvalid,
    InputTooLarge,
    OutputTooLarge,
    OwnerUnreachable,
    RunCollected,
    RunNotCancelable,
    RunNotFound,
    RunNotWaiting,
    SpellNotFound,
    StateConflict,
    StateError,
)
from llmspell.host.catalogue import Catalogue
from llmspell.host.control import MAX_LINE_BYTES
from llmspell.host.host import Host
from llmspell.host.listening import Listener
from llmspell.host.owner import Owner
from llmspell.host.remote import RemoteHost
from llmspell.host.remote_wire import Wire
from llmspell.security.principals import local_caller
from tests.support.owners import NAPPING, owned_project
from tests.support.servers import make_project

SECONDS = 15

ASKING = """
return Spell.create {
  name = "order",
  run = function(input, ctx)
    ctx:step("price", function() return 12 end)
    return ctx:ask({ message = "Buy it?", schema = { ok = Schema.boolean "Buy" } }).ok
  end,
}
"""


@dataclass
class Pair:
    """A host in this process, and the same host over its socket."""

    host: Host
    owner: Owner
    remote: RemoteHost
    spells: Path


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncGenerator[Pair]:
    project = make_project(tmp_path / "project", ("hello",))
    (project / "spells" / "nap.lua").write_text(NAPPING, encoding="utf-8")
    (project / "spells" / "order.lua").write_text(ASKING, encoding="utf-8")
    async with (
        asyncio.timeout(SECONDS),
        Host.open(project, state="memory", watch=False, environ={}) as host,
    ):
        owner = Owner(host, Listener(tmp_path, {}))
        ready = asyncio.Event()
        serving = asyncio.create_task(owner.serve(ready.set))
        await ready.wait()
        remote = await RemoteHost.find(tmp_path)
        assert remote is not None
        async with remote:
            yield Pair(host, owner, remote, project / "spells")
        owner.stop()
        await serving


async def test_nobody_is_found_where_no_owner_is(tmp_path: Path) -> None:
    assert await RemoteHost.find(tmp_path) is None


async def test_the_catalogue_is_the_same_and_follows_every_change(pair: Pair) -> None:
    assert pair.remote.catalogue() == pair.host.catalogue()
    seen: asyncio.Queue[Catalogue] = asyncio.Queue()
    end = pair.remote.on_change(seen.put_nowait)
    source = (pair.spells / "hello.lua").read_text(encoding="utf-8")
    (pair.spells / "salute.lua").write_text(source.replace('"hello"', '"salute"'), "utf-8")
    await pair.host.reload()
    assert [spell.name for spell in (await seen.get()).spells] == [
        "hello",
        "nap",
        "order",
        "salute",
    ]
    assert pair.remote.catalogue() == pair.host.catalogue()
    end()
    end()
    (pair.spells / "salute.lua").unlink()
    await pair.host.reload()
    while len(pair.remote.catalogue().spells) != 3:
        await pair.remote.runs(caller=local_caller())
    assert seen.empty()


async def test_a_cast_has_the_same_outcome(pair: Pair) -> None:
    outcome = await pair.remote.cast("hello", {"name": "Ann"})
    assert outcome.ok
    assert outcome.output == "Hello, Ann!"
    handle = await pair.host.run(outcome.run_id, caller=local_caller())
    assert await handle.result() == outcome


async def test_a_source_is_cast_with_what_it_needs(pair: Pair) -> None:
    outcome = await pair.remote.cast_source("chunk", "return 6 * 7", {})
    assert outcome.output == 42
    failed = await pair.remote.cast_source("chunk", "error('boom')", {})
    assert failed.error is not None
    assert failed.error["code"] == "spell.raised"


async def test_errors_arrive_as_what_they_were(pair: Pair) -> None:
    with pytest.raises(SpellNotFound, match="nosuch"):
        await pair.remote.cast("nosuch", {})
    with pytest.raises(InputInvalid, match="nmae"):
        await pair.remote.cast("hello", {"nmae": 1})
    with pytest.raises(RunNotFound):
        await pair.remote.run("nosuch", caller=local_caller())


async def test_a_run_is_followed_and_cancelled_through_its_handle(pair: Pair) -> None:
    handle = await pair.remote.start("nap", {"seconds": 60}, caller=local_caller())
    kinds: list[str] = []
    async for event in handle.events():
        kinds.append(event.kind)
        if event.kind == "progress":
            assert (await handle.cancel()).state == "canceled"
    assert kinds[-1] == "state"
    assert (await handle.result()).state == "canceled"
    assert (await handle.record()).is_final
    assert (await handle.cancel()).state == "canceled"


async def test_a_run_that_has_completed_is_not_cancelled(pair: Pair) -> None:
    handle = await pair.remote.start("hello", {})
    assert (await handle.result()).ok
    with pytest.raises(RunNotCancelable):
        await handle.cancel()


async def test_a_reader_may_leave_the_events_and_come_back(pair: Pair) -> None:
    handle = await pair.remote.start("nap", {"seconds": 60})
    first = 0
    async for event in handle.events():
        first = event.number
        break
    await handle.cancel()
    numbers = [event.number async for event in handle.events(first)]
    assert numbers[0] == first + 1


async def test_leaving_a_cast_stops_it(pair: Pair) -> None:
    waiting = asyncio.create_task(pair.remote.cast("nap", {"seconds": 60}))
    while not (await pair.remote.runs(caller=local_caller(), state="working")).total:
        pass
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    while not (await pair.remote.runs(caller=local_caller(), state="canceled")).total:
        pass


async def test_runs_are_listed_page_by_page(pair: Pair) -> None:
    for name in ("a", "b", "c"):
        await pair.remote.cast("hello", {"name": name})
    page = await pair.remote.runs(caller=local_caller(), limit=2)
    assert (len(page.runs), page.total) == (2, 3)
    rest = await pair.remote.runs(caller=local_caller(), limit=2, after=page.next)
    assert [run.input["name"] for run in [*page.runs, *rest.runs]] == ["c", "b", "a"]


async def test_a_question_is_answered_and_the_run_goes_on(pair: Pair) -> None:
    handle = await pair.remote.start("order", {})
    assert (await handle.result()).state == "input_required"
    [question] = (await handle.record()).questions
    assert question.message == "Buy it?"
    with pytest.raises(AskInvalid):
        await handle.answer({"ok": "perhaps"}, question=question.id)
    await handle.answer({"ok": True}, question=question.id)
    async for _ in handle.events():
        pass
    assert (await handle.result()).output is True
    with pytest.raises(RunNotWaiting):
        await handle.answer({"ok": True})


async def test_a_question_may_be_declined(pair: Pair) -> None:
    handle = await pair.remote.start("order", {})
    await handle.result()
    await handle.answer(None, action="decline")
    async for _ in handle.events():
        pass
    error = (await handle.result()).error
    assert error is not None
    assert error["code"] == "ask.declined"


async def test_the_steps_of_a_run_are_listed_and_a_fork_goes_on_from_one(pair: Pair) -> None:
    caller = local_caller()
    handle = await pair.remote.start("order", {})
    await handle.result()
    await handle.answer({"ok": False})
    async for _ in handle.events():
        pass
    steps = await pair.remote.journal(handle.id, caller=caller)
    assert list(steps) == list(await pair.host.journal(handle.id, caller=caller))
    assert [step.kind for step in steps] == ["step", "ask"]
    fork = await pair.remote.fork(handle.id, caller=caller, step=steps[1].number)
    assert fork.id != handle.id
    assert (await fork.result()).state == "input_required"
    assert (await fork.record()).forked_from == handle.id


async def test_a_key_gives_the_run_that_was_begun_first(pair: Pair) -> None:
    first = await pair.remote.cast("hello", {"name": "Ann"}, key="k1")
    assert (await pair.remote.cast("hello", {"name": "Ann"}, key="k1")).run_id == first.run_id
    assert (await pair.remote.start("hello", {"name": "Ann"}, key="k1")).id == first.run_id
    with pytest.raises(IdempotencyConflict):
        await pair.remote.cast("hello", {"name": "Bob"}, key="k1")


async def test_ended_runs_are_counted_and_deleted(pair: Pair) -> None:
    caller = local_caller()
    outcome = await pair.remote.cast("hello", {})
    later = time.time() + 60
    counted = await pair.remote.prune(caller=caller, before=later, dry=True)
    assert counted.runs == 1
    assert (await pair.remote.runs(caller=caller)).total == 1
    assert await pair.remote.prune(caller=caller, before=later) == counted
    with pytest.raises(RunCollected):
        await pair.remote.run(outcome.run_id, caller=caller)


async def test_the_state_is_the_same(pair: Pair) -> None:
    near, far = pair.host.state, pair.remote.state
    version = await far.set("spell", "hello", "a/1", [1], if_version="", ttl_seconds=600)
    assert await far.get("spell", "hello", "a/1") == await near.get("spell", "hello", "a/1")
    assert await far.get("spell", "hello", "a/2") is None
    assert await far.scan("spell", "hello", "a/") == await near.scan("spell", "hello", "a/")
    waiting = asyncio.create_task(far.watch("spell", "hello", "a/", since=version))
    await near.delete("spell", "hello", "a/1", if_version=version)
    [change] = (await waiting).changes
    assert (change.key, change.deleted) == ("a/1", True)
    assert not await far.delete("spell", "hello", "a/1")
    assert await far.usage() == await near.usage()
    assert await far.checkpoints() == []
    with pytest.raises(StateConflict):
        await far.set("spell", "hello", "a/1", 1, if_version=version)
    for work in (far.verify(), far.backup()):
        with pytest.raises(StateError, match="memory"):
            await work


async def test_what_is_longer_than_a_message_may_be_is_refused_on_either_side(pair: Pair) -> None:
    state = pair.remote.state
    with pytest.raises(InputTooLarge):
        await state.set("shared", "", "key", "x" * MAX_LINE_BYTES)
    for number in range(70):
        await state.set("shared", "", f"key{number}", "x" * 250_000)
    with pytest.raises(OutputTooLarge, match="answer"):
        await state.scan("shared", "")
    assert len((await state.scan("shared", "", limit=10)).items) == 10


async def test_a_watch_ends_with_who_waits_for_it(pair: Pair) -> None:
    waiting = asyncio.create_task(pair.remote.state.watch("shared", ""))
    await pair.remote.state.usage()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await pair.remote.cast("hello", {})).ok


async def test_a_message_that_names_no_spell_waits_for_the_choice_of_one(pair: Pair) -> None:
    question = await pair.remote.propose("which?", caller=local_caller(), data={"x": 1})
    assert (await question.record()).state == "input_required"
    handle = await pair.remote.start("hello", {}, proposal=question.id)
    assert handle.id == question.id
    assert (await handle.result()).output == "Hello, world!"


async def test_who_waits_is_told_when_the_owner_goes(pair: Pair) -> None:
    waiting = asyncio.create_task(pair.remote.cast("nap", {"seconds": 60}))
    while not (await pair.remote.runs(caller=local_caller(), state="working")).total:
        pass
    pair.owner.stop()
    with pytest.raises(OwnerUnreachable, match="ended the connection"):
        await waiting
    with pytest.raises(OwnerUnreachable):
        await pair.remote.cast("hello", {})
    await pair.remote.wait_closed()


async def test_an_owner_is_started_for_a_client_that_finds_none(tmp_path: Path) -> None:
    with owned_project(tmp_path / "p") as project:
        async with Host.connect(project.root) as host:
            assert (await host.cast("hello", {})).output == "Hello, world!"
        assert project.owner is not None


async def test_an_owner_that_speaks_no_json_is_as_good_as_gone() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        wire = Wire(7, *await asyncio.open_unix_connection(sock=ours))
        theirs.sendall(b"no json\n")
        async with asyncio.timeout(SECONDS):
            await wire.wait_closed()
            with pytest.raises(OwnerUnreachable):
                await wire.call("info", {})
            await wire.close()
