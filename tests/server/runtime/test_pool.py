from __future__ import annotations

import asyncio
import gc
import itertools
import os
import resource
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmspell.errors import LimitBusy, LimitError, LimitWallClock, LlmspellError
from llmspell.runtime.engine import (
    Finished,
    Program,
    Requested,
    Script,
    ScriptContext,
    ScriptLimits,
)
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import FunctionRef
from tests.support.lua_scripts import drive, refuse_all
from tests.support.processes import Watch, descendants

ALICE = ScriptContext(tenant="t", user="alice", now=1.0)
LIMITS = ScriptLimits(slice_seconds=0.2)
LEAK = b"""
leak = (leak or 0) + 1
string.leak = (string.leak or 0) + 1
local text = getmetatable("")
return function(value) last = value return { leak, string.leak, text } end
"""
WAIT = b"return function() return (State.get 'k') end"


def spell(source: bytes, version: str = "v1") -> Program:
    return Program("spells/t.lua", source, {}, version)


@asynccontextmanager
async def engine_of(*, idle_workers: int = 0, **options: Any) -> AsyncGenerator[LuaEngine]:
    engine = LuaEngine(idle_workers=idle_workers, **options)
    try:
        yield engine
    finally:
        await engine.close()


async def begin(
    engine: LuaEngine,
    program: Program,
    context: ScriptContext = ALICE,
    *,
    limits: ScriptLimits = LIMITS,
    is_child: bool = False,
) -> tuple[Script, int]:
    """Return a script that is loaded and called, and its task."""
    script = await engine.open(program, limits, context, is_child=is_child)
    script.load()
    return script, script.call(FunctionRef(1), ["value"], with_context=False)


async def cast(
    engine: LuaEngine, program: Program, context: ScriptContext = ALICE, **options: Any
) -> Any:
    """Call the program's function from beginning to end; return its result."""
    script, task = await begin(engine, program, context, **options)
    try:
        outcome = await drive(script, task, refuse_all)
    finally:
        await script.close()
    return outcome.value


async def waiting(engine: LuaEngine, program: Program, **options: Any) -> tuple[Script, Requested]:
    """Return a script that waits for an effect, and its request."""
    script, _ = await begin(engine, program, **options)
    _, request = await script.exchange()
    assert isinstance(request, Requested)
    return script, request


class TestReuse:
    async def test_the_next_cast_of_a_domain_gets_the_same_worker_and_a_fresh_state(self) -> None:
        async with engine_of() as engine:
            for _ in range(3):
                assert await cast(engine, spell(LEAK)) == [1, 1, "string"]
            assert len(engine.worker_pids) == 1

    @pytest.mark.parametrize(
        ("program", "context"),
        [
            (spell(LEAK), msgspec.structs.replace(ALICE, user="bob")),
            (spell(LEAK), msgspec.structs.replace(ALICE, tenant="other")),
            (spell(LEAK, "v2"), ALICE),
        ],
    )
    async def test_no_other_principal_tenant_or_version_gets_it(
        self, program: Program, context: ScriptContext
    ) -> None:
        async with engine_of() as engine:
            await cast(engine, spell(LEAK))
            (first,) = engine.worker_pids
            await cast(engine, program, context)
            assert len(engine.worker_pids) == 2
            await cast(engine, spell(LEAK))
            await cast(engine, program, context)
            assert engine.worker_pids[0] == first or engine.worker_pids[1] == first
            assert len(engine.worker_pids) == 2

    @pytest.mark.parametrize(
        ("program", "context"), [(spell(LEAK, ""), ALICE), (spell(LEAK), ScriptContext())]
    )
    async def test_a_worker_without_a_domain_ends_with_its_script(
        self, program: Program, context: ScriptContext
    ) -> None:
        async with engine_of() as engine:
            script, task = await begin(engine, program, context)
            await drive(script, task, refuse_all)
            watch = Watch(engine.worker_pids)
            await script.close()
            await watch.ended()
            assert engine.worker_pids == []

    async def test_two_casts_at_once_never_share_a_worker(self) -> None:
        async with engine_of() as engine:
            first, request = await waiting(engine, spell(WAIT))
            second, _ = await waiting(engine, spell(WAIT))
            assert len(set(engine.worker_pids)) == 2
            first.answer(request.call, ok=True, value=[1, "1"], now=1.0)
            await first.exchange()
            await first.close()
            await second.close()
            assert len(engine.worker_pids) == 1

    async def test_nothing_of_a_cast_is_found_by_the_next_in_the_same_worker(self) -> None:
        search = b"""
        local function search(value, seen)
          if type(value) == "string" then return value:find("SECRET", 1, true) ~= nil end
          if type(value) ~= "table" or seen[value] then return false end
          seen[value] = true
          for k, v in pairs(value) do
            if search(k, seen) or search(v, seen) then return true end
          end
          return search(getmetatable(value), seen)
        end
        return function(value)
          local found = search(_G, {}) or search(getmetatable(""), {})
          hidden, string.hidden, math.hidden = value, { value }, value
          Spell.hidden, json.hidden = value, { value }
          pcall(function() string.rep = function() return value end end)
          return found
        end
        """
        async with engine_of() as engine:
            for _ in range(3):
                script = await engine.open(spell(search), LIMITS, ALICE)
                script.load()
                task = script.call(FunctionRef(1), ["SECRET"], with_context=False)
                assert (await drive(script, task, refuse_all)).value is False
                await script.close()
            assert len(engine.worker_pids) == 1


class TestRetirement:
    async def test_a_worker_serves_a_bounded_number_of_casts(self) -> None:
        async with engine_of(worker_casts=2) as engine:
            await cast(engine, spell(LEAK))
            watch = Watch(engine.worker_pids)
            await cast(engine, spell(LEAK))
            await watch.ended()
            assert engine.worker_pids == []

    @pytest.mark.parametrize(
        "source",
        [
            b"return function() while true do end end",
            b"return function() local s = 'x' while true do s = s .. s end end",
            b"error 'no'",
            b"return function() return 1 end, State.get 'k'",
        ],
    )
    async def test_a_worker_ends_with_a_script_that_was_ended(self, source: bytes) -> None:
        async with engine_of() as engine:
            script, _ = await begin(
                engine, spell(source), limits=replace(LIMITS, heap_bytes=8 << 20)
            )
            with pytest.raises(LlmspellError):
                await script.exchange()
            await script.close()
            assert engine.worker_pids == []

    async def test_a_worker_ends_with_a_script_that_is_closed_under_way(self) -> None:
        async with engine_of() as engine:
            script, _ = await waiting(engine, spell(WAIT))
            watch = Watch(engine.worker_pids)
            await script.close()
            await watch.ended()
            assert engine.worker_pids == []

    async def test_a_worker_ends_with_a_script_that_left_a_branch_under_way(self) -> None:
        source = b"""
        return function()
          local first = coroutine.wrap(function() return State.get "a" end)
          return 1
        end
        """
        async with engine_of() as engine:
            script, task = await begin(engine, spell(source))
            assert (await drive(script, task, refuse_all)).value == 1
            script.call(FunctionRef(1), [], with_context=False)  # queued, never sent
            await script.close()
            assert engine.worker_pids == []

    async def test_an_error_of_the_author_does_not_end_the_worker(self) -> None:
        async with engine_of() as engine:
            error = await cast(engine, spell(b"return function() error 'x' end"))
            assert error["code"] == "spell.raised"
            assert len(engine.worker_pids) == 1

    async def test_the_worker_that_waits_longest_makes_room_for_another(self) -> None:
        async with engine_of(warm_workers=2) as engine:
            for user in ("a", "b"):
                await cast(engine, spell(LEAK), msgspec.structs.replace(ALICE, user=user))
            oldest, second = engine.worker_pids
            watch = Watch([oldest])
            await cast(engine, spell(LEAK), msgspec.structs.replace(ALICE, user="c"))
            await watch.ended()
            assert len(engine.worker_pids) == 2
            assert second in engine.worker_pids

    async def test_a_worker_that_waits_too_long_ends(self) -> None:
        async with engine_of(warm_seconds=0.05) as engine:
            await cast(engine, spell(LEAK))
            watch = Watch(engine.worker_pids)
            await watch.ended()
            assert engine.worker_pids == []
            assert await cast(engine, spell(LEAK)) == [1, 1, "string"]

    async def test_a_warm_worker_that_dies_is_replaced(self) -> None:
        async with engine_of() as engine:
            await cast(engine, spell(LEAK))
            (pid,) = engine.worker_pids
            watch = Watch([pid])
            os.kill(pid, 9)
            await watch.ended()
            assert await cast(engine, spell(LEAK)) == [1, 1, "string"]
            assert pid not in engine.worker_pids

    async def test_no_worker_is_kept_when_none_may_be(self) -> None:
        async with engine_of(warm_workers=0) as engine:
            await cast(engine, spell(LEAK))
            assert engine.worker_pids == []


class TestBusy:
    async def test_a_cast_that_waits_gives_its_slot_to_others(self) -> None:
        async with engine_of(casts=1) as engine, asyncio.timeout(10):
            scripts = [await waiting(engine, spell(WAIT)) for _ in range(5)]
            assert await cast(engine, spell(LEAK)) == [1, 1, "string"]
            for script, request in scripts:
                script.answer(request.call, ok=True, value=[1, "1"], now=1.0)
                await script.exchange()
                await script.close()

    async def test_more_new_casts_than_may_wait_are_refused(self) -> None:
        async with engine_of(casts=1, queue=1) as engine, asyncio.timeout(10):
            busy, _ = await begin(engine, spell(b"return function() while true do end end"))
            loop = asyncio.get_running_loop()
            computing = loop.create_task(busy.exchange())
            queued = loop.create_task(cast(engine, spell(LEAK)))
            await asyncio.sleep(0)
            with pytest.raises(LimitBusy) as got:
                await cast(engine, spell(LEAK))
            assert got.value.data == {"retry_after": 1, "limit": "limits.queue"}
            with pytest.raises(LimitWallClock):
                await computing
            assert (await queued)[0] == 1
            await busy.close()

    async def test_new_casts_leave_workers_to_the_casts_that_others_wait_for(self) -> None:
        async with engine_of(max_workers=4) as engine, asyncio.timeout(10):
            parents = [await waiting(engine, spell(WAIT)) for _ in range(3)]
            late = asyncio.get_running_loop().create_task(cast(engine, spell(LEAK)))
            await asyncio.sleep(0)
            child, _ = await waiting(engine, spell(WAIT), is_child=True)
            with pytest.raises(LimitBusy) as got:
                await waiting(engine, spell(WAIT), is_child=True)
            assert got.value.data == {"retry_after": 1, "limit": "limits.workers"}
            assert not late.done()
            await parents[0][0].close()
            await child.close()
            assert (await late)[0] == 1
            for script, _ in parents[1:]:
                await script.close()

    @pytest.mark.parametrize("isolation", ["process", "inline"])
    async def test_casts_nest_with_a_single_slot_and_a_full_queue(self, isolation: str) -> None:
        async with engine_of(casts=1, queue=3, isolation=isolation) as engine:

            async def nest(depth: int) -> int:
                script, _ = await begin(engine, spell(WAIT), is_child=depth > 0)
                _, request = await script.exchange()
                assert isinstance(request, Requested)
                below = await nest(depth + 1) if depth < 12 else 0
                script.answer(request.call, ok=True, value=[below + 1, "1"], now=1.0)
                (done,) = await script.exchange()
                await script.close()
                assert isinstance(done, Finished)
                assert isinstance(done.value, int)
                return done.value

            async with asyncio.timeout(15):
                first = asyncio.get_running_loop().create_task(nest(0))
                new = [nest(0) for _ in range(3)]
                assert await asyncio.gather(first, *new) == [13] * 4

    async def test_a_script_closed_while_it_waits_for_its_turn_holds_nothing(self) -> None:
        async with engine_of(casts=1, max_workers=2) as engine, asyncio.timeout(10):
            busy, _ = await begin(engine, spell(b"return function() while true do end end"))
            computing = asyncio.get_running_loop().create_task(busy.exchange())
            script, _ = await begin(engine, spell(LEAK))
            queued = asyncio.get_running_loop().create_task(script.exchange())
            await asyncio.sleep(0)
            await script.close()
            with pytest.raises(LimitWallClock):
                await computing
            with pytest.raises(LimitError):
                await queued
            await busy.close()
            for _ in range(3):
                assert await cast(engine, spell(LEAK)) == [1, 1, "string"]


async def test_nothing_is_left_of_many_casts_and_kills() -> None:
    def ended(kind: int) -> Callable[[], Any]:
        sources = (
            LEAK,
            b"return function() error 'x' end",
            b"return function() local s = 'x' while true do s = s .. s end end",
            WAIT,
        )
        program = spell(sources[kind], f"v{kind}")

        async def once() -> None:
            limits = replace(LIMITS, heap_bytes=6 << 20)
            script, _ = await begin(engine, program, limits=limits)
            try:
                await script.exchange()
            except LimitError:
                pass
            finally:
                await script.close()

        return once

    before = set(descendants(os.getpid()))
    async with engine_of(idle_workers=2, worker_casts=20, warm_workers=2) as engine:
        await cast(engine, spell(LEAK))
        descriptors = len(os.listdir("/proc/self/fd"))
        for number in range(300):
            # Most of them end well, and one in six is killed.
            await ended(number % 6 if number % 6 in (2, 3) else number % 2)()
        async with asyncio.timeout(10):
            await engine.warm_up()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 10
        alive = set(descendants(os.getpid())) - before
        assert len(alive) <= 1 + 2 + 2 + 3  # the zygote, idle and warm ones, and some just ended
    assert set(descendants(os.getpid())) - before == set()


@contextmanager
def no_descriptor_left() -> Generator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 500), hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


class TestNoRoomForAnotherProcess:
    async def test_a_server_without_descriptors_refuses_what_is_new_and_ends_nothing(self) -> None:
        async with engine_of() as engine:
            script, request = await waiting(engine, spell(WAIT))
            with no_descriptor_left(), pytest.raises(LimitBusy, match="Too many open files"):
                await cast(engine, spell(LEAK))
            await goes_on(engine, script, request)

    async def test_a_server_that_cannot_even_start_its_zygote_says_so(self) -> None:
        async with engine_of(idle_workers=1) as engine:
            with no_descriptor_left(), pytest.raises(LimitBusy, match="Too many open files"):
                await cast(engine, spell(LEAK))
            assert await cast(engine, spell(LEAK)) == [1, 1, "string"]

    # With no place the zygote is not given the socket; with one it has none for the pidfd.
    @pytest.mark.parametrize("places", [0, 1])
    async def test_a_worker_that_cannot_be_forked_ends_no_other(self, places: int) -> None:
        async with engine_of() as engine:
            script, request = await waiting(engine, spell(WAIT))
            (worker,) = engine.worker_pids
            (parent,) = (pid for pid in descendants(os.getpid()) if worker in descendants(pid))
            least = await first_free_descriptor(parent)
            _, hard = resource.prlimit(parent, resource.RLIMIT_NOFILE)
            resource.prlimit(parent, resource.RLIMIT_NOFILE, (least + places, hard))
            with pytest.raises(LimitBusy, match="Too many open files"):
                await cast(engine, spell(LEAK))
            resource.prlimit(parent, resource.RLIMIT_NOFILE, (hard, hard))
            await goes_on(engine, script, request)
            # What was forked in vain is killed, and then reaped.
            await becomes(lambda: set(descendants(parent)) == set(engine.worker_pids))


async def first_free_descriptor(pid: int) -> int:
    """Return it once a zygote has only its three streams and its control socket open."""
    used = Path(f"/proc/{pid}/fd")
    await becomes(lambda: len(os.listdir(used)) == 4)
    return next(number for number in itertools.count() if str(number) not in os.listdir(used))


async def becomes(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # another process brings it about
            await asyncio.sleep(0)


async def goes_on(engine: LuaEngine, script: Script, request: Requested) -> None:
    """See a script that waited end well, and the next one begin."""
    script.answer(request.call, ok=True, value=["found", "1"], now=2.0)
    assert await script.exchange() == [Finished(request.task, True, "found")]
    await script.close()
    assert await cast(engine, spell(LEAK)) == [1, 1, "string"]
