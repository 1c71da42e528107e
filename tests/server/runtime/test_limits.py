from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from llmspell.errors import (
    InputTooLarge,
    LimitBusy,
    LimitCpu,
    LimitError,
    LimitMemory,
    LimitWallClock,
    WorkerDied,
)
from llmspell.runtime.engine import Program, Requested, ScriptContext, ScriptLimits
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import FunctionRef
from tests.support.lua_scripts import Bench, drive, program, refuse_all
from tests.support.processes import Watch, descendants

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = ScriptLimits(slice_seconds=0.3)


@pytest.fixture(scope="module")
def isolation() -> Literal["process", "inline"]:
    return "process"


ECHO = "return function(value) return value end"


def constant(operation: str, arguments: object) -> list[Any]:
    """Answer every `State.get` with 1."""
    return [1, "1"]


def _environment(pid: int) -> set[bytes]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {entry.split(b"=")[0] for entry in entries if entry}


class TestTime:
    @pytest.mark.parametrize(
        ("body", "where"),
        [
            ("while true do end", "spells/t.lua:2"),
            ("while true do\npcall(error)\nend", "spells/t.lua:3"),
            ("coroutine.wrap(function()\nwhile true do end end)()", "spells/t.lua:3"),
            (
                "local t = setmetatable({}, { __index = function()\nwhile true do end end }) t.x()",
                "spells/t.lua:3",
            ),
            # No hook reaches into a C function.
            ("string.find(('a'):rep(40), ('a*'):rep(30) .. 'b')", "spells/t.lua:2"),
            ("table.move({ 1 }, 1, 1 << 40, 2)", "spells/t.lua:2"),
            (
                "coroutine.wrap(function()\nlocal t = { 1 }\ntable.move(t, 1, 1 << 40, 2)\nend)()",
                "spells/t.lua:4",
            ),
            (
                "table.sort({ 2, 1 }, function()\n"
                "return ('a'):rep(40):find(('a*'):rep(30) .. 'b') end)",
                "spells/t.lua:3",
            ),
        ],
    )
    async def test_a_script_that_never_gives_way_is_killed_and_others_are_unharmed(
        self, lua: Bench, body: str, where: str
    ) -> None:
        bystander = await lua.open(ECHO)
        bystander.load()
        lua.limits = LIMITS
        with pytest.raises(LimitWallClock, match=r"0\.3 s") as got:
            await lua.body(body)
        assert got.value.where == where
        lua.limits = ScriptLimits()
        assert await lua.value("return 'next'") == "next"
        task = bystander.call(FunctionRef(1), ["still here"], with_context=False)
        assert (await drive(bystander, task, refuse_all)).value == "still here"
        await bystander.close()

    async def test_an_endless_top_level_is_killed_too(self, lua: Bench) -> None:
        lua.limits = LIMITS
        with pytest.raises(LimitWallClock):
            await lua.load("while true do end")

    async def test_waiting_for_an_effect_does_not_count(self, lua: Bench) -> None:
        lua.limits = LIMITS
        script = await lua.open("return function() return (State.get 'k') end")
        script.load()
        task = script.call(FunctionRef(1), [None], with_context=False)
        _, request = await script.exchange()
        assert isinstance(request, Requested)
        with pytest.raises(LimitWallClock):  # takes as long as a script may compute
            await lua.load("while true do end")
        script.answer(request.call, ok=True, value=[1, "1"], now=1.0)
        assert (await drive(script, task, refuse_all)).value == 1
        await script.close()

    async def test_a_server_that_stood_still_does_not_kill_a_script_that_gave_way(
        self, lua: Bench
    ) -> None:
        lua.limits = LIMITS
        script = await lua.open(ECHO)
        script.load()
        await script.exchange()
        task = script.call(FunctionRef(1), [1], with_context=False)
        exchange = asyncio.ensure_future(drive(script, task, refuse_all))
        await asyncio.sleep(0)
        stands_still_until = time.monotonic() + 2 * LIMITS.slice_seconds
        while time.monotonic() < stands_still_until:
            pass
        assert (await exchange).value == 1
        await script.close()

    async def test_many_short_slices_count_together(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(cpu_seconds=0.2)
        with pytest.raises(LimitCpu, match=r"0\.2 s in all") as got:
            await lua.body(
                "while true do for i = 1, 1e6 do local _ = i * i end State.get 'k' end",
                answer=constant,
            )
        assert got.value.where == "spells/t.lua"
        assert got.value.data == {"limit": "limits.cpu_seconds"}

    async def test_the_line_of_a_loop_is_found_after_effects(self, lua: Bench) -> None:
        lua.limits = LIMITS
        with pytest.raises(LimitWallClock) as got:
            await lua.body(
                "for i = 1, 3 do\nlocal n = State.get 'k'\nwhile i == n do end\nend",
                answer=lambda operation, arguments: [2, "1"],
            )
        assert got.value.where == "spells/t.lua:4"

    async def test_a_script_is_gone_after_a_limit(self, lua: Bench) -> None:
        lua.limits = LIMITS
        script = await lua.open("return function() while true do end end")
        script.load()
        script.call(FunctionRef(1), [], with_context=False)
        with pytest.raises(LimitWallClock):
            await script.exchange()
        script.call(FunctionRef(1), [], with_context=False)
        with pytest.raises(LimitWallClock):
            await script.exchange()
        await script.close()
        await script.close()

    async def test_cancelling_an_exchange_ends_the_script(self, lua: Bench) -> None:
        script = await lua.open("return function() while true do end end")
        script.load()
        script.call(FunctionRef(1), [], with_context=False)
        exchange = asyncio.ensure_future(script.exchange())
        await asyncio.sleep(0)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        with pytest.raises(WorkerDied):
            await script.exchange()
        await script.close()


class TestEffects:
    async def test_more_effects_than_allowed_end_the_script(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(host_calls=10)
        source = "local n = 0 for i = 1, input do pcall(State.get, 'k') n = i end return n"
        assert (await lua.body(source, 10, answer=constant)).value == 10
        with pytest.raises(LimitError, match="more than 10 effects") as got:
            await lua.body(source, 11, answer=constant)
        assert got.value.data == {"limit": "limits.host_calls"}


class TestMemory:
    @pytest.mark.parametrize(
        "body",
        [
            "local s = 'x' while true do s = s .. s end",
            "local t = {} for i = 1, 1e9 do t[i] = { i } end",
            "local t = {} for i = 1, 1e9 do t['k' .. i] = ('x'):rep(1000) end",
            "return ('x'):rep(16 << 20):gsub('x', 'yyyyyyyy')",
            "local all = {} for i = 1, 1e7 do all[i] = coroutine.create(print) end",
            "local f = {} for i = 1, 1e6 do f[i] = function() State.set('k', '') end end"
            " parallel(f)",
        ],
    )
    async def test_a_heap_beyond_its_limit_ends_the_script_with_a_clear_error(
        self, lua: Bench, body: str
    ) -> None:
        lua.limits = ScriptLimits(heap_bytes=16 << 20, slice_seconds=10)
        with pytest.raises(LimitMemory, match="more memory than it may use"):
            await lua.body(body)
        assert await lua.value("return 1") == 1

    async def test_a_full_heap_names_the_line_that_asked_for_more(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(heap_bytes=16 << 20, slice_seconds=10)
        with pytest.raises(LimitMemory) as got:
            await lua.body("local s = 'x'\nwhile true do\n  s = s .. s\nend")
        assert got.value.where == "spells/t.lua:4"

    async def test_a_top_level_can_run_out_of_memory(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(heap_bytes=16 << 20, slice_seconds=10)
        with pytest.raises(LimitMemory):
            await lua.load("local s = 'x' while true do s = s .. s end")

    async def test_input_that_does_not_fit_the_heap_ends_the_script(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(heap_bytes=4 << 20)
        script = await lua.open(ECHO)
        script.load()
        script.call(FunctionRef(1), [[{"n": i} for i in range(100_000)]], with_context=False)
        with pytest.raises(LimitMemory):
            await script.exchange()
        await script.close()

    async def test_memory_errors_may_be_caught_as_long_as_the_script_gives_way(
        self, lua: Bench
    ) -> None:
        lua.limits = ScriptLimits(heap_bytes=16 << 20, slice_seconds=10)
        value = await lua.value("""
            local ok, e = pcall(function() local s = 'x' while true do s = s .. s end end)
            return { ok, e }
        """)
        assert value == [False, "not enough memory"]

    async def test_endless_recursion_is_named_as_such(self, lua: Bench) -> None:
        with pytest.raises(LimitMemory, match="nest more than 10000 deep") as got:
            await lua.body("local function f() return 1 + f() end return f()")
        assert got.value.where == "spells/t.lua:2"
        error = await lua.error(
            "local function f() return tostring(setmetatable({}, "
            "{ __tostring = f })) end return f()"
        )
        assert "stack overflow" in error["message"]


class TestFrames:
    async def test_large_values_pass_in_both_directions(self, lua: Bench) -> None:
        text = "é" * 3_000_000
        outcome = await lua.call(ECHO, {"text": text})
        assert outcome.value == {"text": text}

    async def test_an_input_beyond_the_limit_is_refused_before_it_is_sent(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(message_bytes=10_000)
        script = await lua.open(ECHO)
        script.load()
        with pytest.raises(InputTooLarge, match="10000"):
            script.call(FunctionRef(1), ["x" * 10_000], with_context=False)
        task = script.call(FunctionRef(1), ["small"], with_context=False)
        assert (await drive(script, task, refuse_all)).value == "small"
        await script.close()

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("return ('x'):rep(10000)", "output.too_large"),
            ("State.set('k', ('x'):rep(10000))", "input.too_large"),
            ("error(('x'):rep(10000))", "spell.raised"),
        ],
    )
    async def test_what_a_script_sends_beyond_the_limit_is_an_error_at_its_line(
        self, lua: Bench, body: str, code: str
    ) -> None:
        lua.limits = ScriptLimits(message_bytes=10_000)
        error = await lua.error(f"local _ = 1\n{body}")
        assert error["code"] == code
        assert error["where"].startswith("spells/t.lua")

    async def test_an_answer_beyond_the_limit_is_an_error_in_lua(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(message_bytes=10_000)
        value = await lua.value(
            "local ok, e = pcall(State.get, 'k') return { ok, e.code }",
            answer=lambda operation, arguments: ["x" * 10_000, "1"],
        )
        assert value == [False, "output.too_large"]

    async def test_many_large_events_and_answers_are_spread_over_frames(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(message_bytes=10_000)
        outcome = await lua.body(
            """
            local branches = {}
            for i = 1, 20 do
              branches[i] = function()
                State.set("k" .. i, ("x"):rep(4000))
                return #(State.get("k" .. i))
              end
            end
            return parallel(branches)
            """,
            answer=lambda operation, _: "1" if operation == "state.set" else ["y" * 4000, "1"],
        )
        assert outcome.value == [4000] * 20
        assert len(outcome.requests) == 40


class TestWorkers:
    async def test_a_worker_that_is_killed_from_outside_ends_its_script_only(
        self, lua: Bench
    ) -> None:
        await lua.engine.warm_up()
        (pid,) = lua.engine.worker_pids
        script = await lua.open("return function() while true do end end")
        script.load()
        script.call(FunctionRef(1), [], with_context=False)
        exchange = asyncio.ensure_future(script.exchange())
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerDied) as got:
            await exchange
        assert got.value.where == "spells/t.lua"
        await script.close()
        assert await lua.value("return 1") == 1

    async def test_an_idle_worker_that_dies_is_replaced(self, lua: Bench) -> None:
        await lua.engine.warm_up()
        (pid,) = lua.engine.worker_pids
        watch = Watch([pid])
        os.kill(pid, signal.SIGKILL)
        await watch.ended()
        assert await lua.value("return 2") == 2
        assert pid not in lua.engine.worker_pids

    async def test_a_zygote_that_dies_takes_its_workers_along_and_is_replaced(
        self, lua: Bench
    ) -> None:
        await lua.engine.warm_up()
        (worker,) = lua.engine.worker_pids
        (zygote,) = [pid for pid in descendants(os.getpid()) if worker in descendants(pid)]
        script = await lua.open("return function() while true do end end")
        script.load()
        script.call(FunctionRef(1), [], with_context=False)
        exchange = asyncio.ensure_future(script.exchange())
        await asyncio.sleep(0)
        await lua.engine.warm_up()
        watch = Watch([zygote, *descendants(zygote)])
        os.kill(zygote, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await exchange
        await script.close()
        await watch.ended()
        assert await lua.value("return 3") == 3

    async def test_a_worker_serves_one_script_only_and_ends_with_it(self, lua: Bench) -> None:
        seen: set[int] = set()
        for _ in range(4):
            await lua.engine.warm_up()
            (pid,) = lua.engine.worker_pids
            assert pid not in seen
            seen.add(pid)
            watch = Watch([pid])
            outcome = await lua.call("leak = (leak or 0) + 1 return function() return leak end")
            assert outcome.value == 1
            await watch.ended()

    async def test_closing_the_engine_leaves_no_process(self) -> None:
        before = set(descendants(os.getpid()))
        engine = LuaEngine(idle_workers=2)
        scripts: list[Any] = []
        for _ in range(3):
            script = await engine.open(program(ECHO), ScriptLimits(), ScriptContext())
            script.load()
            await script.exchange()
            scripts.append(script)
        busy = await engine.open(program("while true do end"), ScriptLimits(), ScriptContext())
        busy.load()
        exchange = asyncio.ensure_future(busy.exchange())
        await asyncio.sleep(0)
        assert len(set(descendants(os.getpid())) - before) >= 4
        await engine.close()
        assert set(descendants(os.getpid())) - before == set()
        with pytest.raises(WorkerDied):
            await exchange
        await engine.close()
        with pytest.raises(LimitBusy):
            await engine.open(program(ECHO), ScriptLimits(), ScriptContext())

    async def test_no_process_is_left_when_the_server_is_killed(self) -> None:
        code = (
            "import asyncio, sys\n"
            "from llmspell.runtime.engine import *\n"
            "from llmspell.runtime.lua.engine import LuaEngine\n"
            "async def main():\n"
            "    engine = LuaEngine(idle_workers=1)\n"
            "    idle = await engine.open(Program('a.lua', b''), ScriptLimits(), ScriptContext())\n"
            "    idle.load(); await idle.exchange()\n"
            "    program = Program('b.lua', b'while true do end')\n"
            "    limits = ScriptLimits(slice_seconds=60)\n"
            "    busy = await engine.open(program, limits, ScriptContext())\n"
            "    busy.load(); task = asyncio.ensure_future(busy.exchange())\n"
            "    await asyncio.sleep(0); await engine.warm_up()\n"
            "    print('ready', flush=True); await task\n"
            "asyncio.run(main())\n"
        )
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert server.stdout is not None
        async with asyncio.timeout(20):
            assert await server.stdout.readline() == b"ready\n"
        family = list(descendants(server.pid))
        assert len(family) == 4
        watch = Watch(family)
        server.kill()
        async with asyncio.timeout(10):
            await server.wait()
        await watch.ended()

    async def test_a_worker_knows_no_secret_of_the_server(self, lua: Bench) -> None:
        await lua.engine.warm_up()
        environment = _environment(lua.engine.worker_pids[0])
        assert environment <= {b"PYTHONPATH", b"TZ", b"LC_CTYPE"}

    async def test_a_program_with_a_strange_name_reports_it_whole(self, lua: Bench) -> None:
        name = "spells/" + "deep/" * 30 + "x.lua"
        strange = Program(name, b"return function()\n\n  error 'x'\nend")
        script = await lua.engine.open(strange, ScriptLimits(), ScriptContext())
        script.load()
        task = script.call(FunctionRef(1), [], with_context=False)
        outcome = await drive(script, task, refuse_all)
        await script.close()
        assert (outcome.value["where"], outcome.value["message"]) == (f"{name}:3", "x")
