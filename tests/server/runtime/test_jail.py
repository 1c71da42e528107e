from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from llmspell.runtime import jail
from llmspell.runtime.engine import ScriptContext, ScriptLimits
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.runtime.pool import room_for
from llmspell.values import FunctionRef
from tests.support.lacking import IN_CI
from tests.support.lua_scripts import Bench, drive, program, refuse_all

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_filter = pytest.mark.skipif(
    bool(jail.missing_filter()) and not IN_CI, reason=jail.missing_filter()
)

LOCKED_DOWN = """
import ctypes, fcntl, mmap, os, signal, socket, struct, sys, threading, time
from llmspell.runtime import jail
ours, theirs = socket.socketpair()
libc = ctypes.CDLL(None, use_errno=True)
descriptor = os.open(os.devnull, os.O_RDWR)
jail.missing_filter()
jail.lock_down(theirs.fileno())
{act}
os._exit(7)
"""


def code_after(act: str) -> int:
    """Return how a process ends that locks itself down and then acts; 7 when it lives on."""
    return code_of(LOCKED_DOWN.format(act=act))


def code_of(program: str) -> int:
    """Return how a process ends that runs this text."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    return done.returncode


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _open_files(pid: int) -> list[str]:
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return [link.split(":")[0] for link in links]


@pytest.fixture(scope="module")
def isolation() -> Literal["process", "inline"]:
    return "process"


@needs_filter
@pytest.mark.parametrize(
    "act",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.read(descriptor, 1)",
        "os.write(2, b'x')",
        "os.close(descriptor)",
        "os.dup(theirs.fileno())",
        "socket.socket()",
        "socket.socketpair()",
        "theirs.connect('/run/x')",
        "ours.send(b'x')",
        "theirs.sendmsg([b'x'])",
        "theirs.recvmsg(1)",
        "os.fork()",
        "threading.Thread(target=print).start()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getpid(), 0)",
        "os.getpid()",
        "libc.ptrace(16, os.getppid(), 0, 0)",
        "libc.prctl(22, 0, 0, 0, 0)",
        "libc.setrlimit(9, 0)",
        "libc.sigaction(14, 0, 0)",
        "fcntl.ioctl(theirs.fileno(), 0x5413, b'12345678')",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "libc.mmap(0, 4096, 1, 2, descriptor, 0)",
        "libc.mprotect(0, 4096, 4)",
        "libc.madvise(0, 4096, 100)",
    ],
)
async def test_a_process_that_acts_outside_the_filter_is_ended_at_once(act: str) -> None:
    assert code_after(act) == -signal.SIGSYS


@needs_filter
@pytest.mark.parametrize(
    "act",
    [
        "assert theirs.send(b'x') == 1",
        "assert len(bytes(64 << 20)) == 64 << 20",
        "signal.setitimer(signal.ITIMER_REAL, 5)",
        "assert time.time() > 0 and time.process_time() > 0",
    ],
)
async def test_what_a_worker_needs_is_left(act: str) -> None:
    assert code_after(act) == 7


@needs_filter
async def test_a_slice_that_nobody_watches_ends_by_the_workers_own_timer() -> None:
    act = "signal.setitimer(signal.ITIMER_REAL, 0.05)\nwhile True: pass"
    assert code_after(act) == -signal.SIGALRM


@needs_filter
async def test_every_worker_is_locked_down_before_it_is_given_a_script(lua: Bench) -> None:
    await lua.engine.warm_up()
    assert await lua.value("return 1") == 1  # from now on the next worker is ready
    script = await lua.open("return function() return 1 end")
    script.load()
    await script.exchange()
    pid = lua.engine.worker_pids[-1]  # the one that answered
    state = _status(pid)
    assert (state["Seccomp"], state["NoNewPrivs"]) == ("2", "1")
    assert sorted(_open_files(pid)) == ["/dev/null", "/dev/null", "/dev/null", "socket"]
    room = room_for(lua.limits)
    assert resource.prlimit(pid, resource.RLIMIT_AS) == (room, room)
    for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        assert resource.prlimit(pid, kind) == (0, 0)
    await script.close()


async def test_a_worker_has_no_right_of_the_servers_user_to_lift_its_limits(lua: Bench) -> None:
    script = await lua.open("return function() return 1 end")
    script.load()
    await script.exchange()
    state = _status(lua.engine.worker_pids[-1])
    assert {int(state[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    await script.close()


async def test_a_limit_the_server_was_started_with_stays_when_it_is_lower() -> None:
    code = (
        "import os, resource, socket\n"
        "from llmspell.runtime import jail\n"
        "ours, theirs = socket.socketpair()\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n"
        "jail.confine(1 << 30, theirs.fileno())\n"
        "kept = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_AS)\n"
        "os._exit(7 if kept == ((60, 60), (1 << 30, 1 << 30)) else 1)\n"
    )
    assert code_of(code) == 7


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return os.date('!%Y-%m-%d %H:%M:%S', 0)", "1970-01-01 00:00:00"),
        ("return os.date('%c', 0)", "Thu Jan  1 00:00:00 1970"),
        ("return os.date('*t', 86400).day", 2),
        ("return os.time { year = 2000, month = 1, day = 1, hour = 0 }", 946684800),
        ("return string.format('%.3f %g %a', 1 / 3, 1e300, 1.0)", "0.333 1e+300 0x1p+0"),
        ("return tostring(2 ^ 53) .. tonumber('0x1p4')", "9.007199254741e+1516.0"),
        ("return math.floor(math.sin(1) * 1000)", 841),
        ("return #(('x'):rep(16 << 20) .. 'y')", (16 << 20) + 1),
        ("local t = {} for i = 1, 2e5 do t[i] = { i } end t = nil return 1", 1),
        ("for i = 1, 5e5 do local _ = { i, tostring(i) } end return 1", 1),
        ("return #string.pack('z', ('x'):rep(1 << 20))", (1 << 20) + 1),
        ("local t = {} for i = 1, 1e5 do t[i] = i end table.sort(t) return t[1]", 1),
        ("return (('ab'):rep(1e5):gsub('a', 'b')):sub(1, 3)", "bbb"),
        ("return json.decode(json.encode { 1.5, 'é' })[1]", 1.5),
        ("return utf8.char(228, 8364) .. ('%5.1f'):format(2.25)", "ä€  2.2"),
        ("return coroutine.wrap(function() coroutine.yield(5) end)()", 5),
        ("local ok, e = pcall(error, { code = 'x' }) return e.code", "x"),
    ],
)
async def test_lua_works_under_the_jail(lua: Bench, body: str, expected: object) -> None:
    assert await lua.value(body) == expected


async def test_a_script_with_a_larger_heap_gets_a_worker_with_more_room(lua: Bench) -> None:
    lua.limits = ScriptLimits(heap_bytes=700 << 20)
    script = await lua.open("return function() return 1 end")
    script.load()
    await script.exchange()
    room = room_for(lua.limits)
    assert room > room_for(ScriptLimits())
    assert resource.prlimit(lua.engine.worker_pids[-1], resource.RLIMIT_AS) == (room, room)
    await script.close()


@pytest.mark.parametrize("isolation", ["process", "inline"])
async def test_the_engine_says_what_stands_between_a_script_and_the_machine(
    isolation: Literal["process", "inline"],
) -> None:
    found = LuaEngine(isolation=isolation).isolation()
    if isolation == "inline":
        assert found.level == "inline"
        assert found.lines[0].startswith("NO PROCESS ISOLATION")
    elif jail.missing_filter():
        assert found.level == "limited"
        assert found.lines[0].startswith("NO SYSTEM-CALL FILTER: " + jail.missing_filter())
    else:
        assert found.level == "filtered"
        assert "system-call filter" in found.lines[0]


async def test_a_worker_that_is_stopped_by_the_filter_ends_its_script_only() -> None:
    engine = LuaEngine(idle_workers=1)
    context = ScriptContext(user="u", tenant="t")
    await engine.warm_up()
    (pid,) = engine.worker_pids
    script = await engine.open(
        program("return function() while true do end end"), ScriptLimits(), context
    )
    script.load()
    await script.exchange()
    os.kill(pid, signal.SIGSYS)  # as the filter does
    other = await engine.open(program("return function() return 1 end"), ScriptLimits(), context)
    other.load()
    task = other.call(FunctionRef(1), [], with_context=False)
    assert (await drive(other, task, refuse_all)).value == 1
    await other.close()
    await script.close()
    await engine.close()
