"""The house that is attacked: an opened host with honest spells beside the hostile ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from hypothesis import settings

from llmspell.config import Project, open_project
from llmspell.errors import LlmspellError
from llmspell.host.host import Host
from llmspell.runs.record import Outcome
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.security.principals import Caller
from llmspell.values import JSON, dumps
from tests.attacks.programs import End, Program

SECRET = "9f2c-of-the-vault-77d1"
"""What the vault keeps. No attacker ever sees it."""

MARK = "mark-of-an-honest-cast-4b8e"
"""Stands in the input and output of every honest cast. No attacker ever sees it."""

SECONDS = 30.0
"""Bound of every wait."""

HONEST = Caller(principal="alice", tenant="house", session="hers")
ATTACKER = Caller(principal="mallory", tenant="house", session="his")
STRANGER = Caller(principal="mallory", tenant="elsewhere", session="his")

SOAKS = settings.default is not None and settings.default.max_examples > 1000
"""Whether this is `make soak`, which explores; else there is a minute for all attacks."""

SETTINGS = """
[limits]
slice_seconds = 0.3
load_seconds = 0.4
cpu_seconds = 1.2
cast_seconds = 10
heap_bytes = 33_554_432
casts = 6
workers = 24
host_calls = 3000
log_events = 2000
log_bytes = 2_000_000

[models]
default = "scripted/echo"

[runtime]
idle_workers = 1
warm_workers = 4
"""

MAX_WORKERS = 1 + 4
"""Most workers an idle house keeps: ready, and warm for who cast lately."""

FURNITURE = {
    "honest": """
-- Give back what came in.
return Spell.create {
  input = { value = Schema.any "Anything" },
  run = function(input) return { value = input.value } end,
}
""",
    "vault": """
-- Keep one secret.
return Spell.create {
  input = { put = Schema.string { optional = true } },
  run = function(input)
    if input.put then State.set("secret", input.put) end
    return { secret = State.get "secret" }
  end,
}
""",
    "notebook": """
-- Keep notes in each scope.
return Spell.create {
  input = { put = Schema.string { optional = true } },
  run = function(input)
    local notes = {}
    for _, name in ipairs { "spell", "session", "user", "shared" } do
      local scope = State[name] or State
      if input.put then scope.set("note", input.put) end
      notes[name] = scope.get "note"
    end
    return notes
  end,
}
""",
    "clerk": """
-- Answer.
return Agent.create { description = "Answers.", system = "You answer." }
""",
}

RING = 1000
"""Modules that need each other in a ring."""


class Attacked:
    """A host with attackers in it, and what is asked of it after each of their casts."""

    def __init__(self, host: Host) -> None:
        self.host = host
        assert isinstance(host.engine, LuaEngine)
        self.engine = host.engine
        self._casts = 0
        self._descriptors = -1

    async def begin(self) -> None:
        """Fill the vault, and note what an unharmed house holds."""
        outcome = await self.host.cast("vault", {"put": SECRET}, caller=HONEST)
        assert outcome.ok, outcome.error
        await self.is_unharmed()
        await self.holds_no_leak()

    async def attack(
        self, program: Program, input: JSON = None, *, caller: Caller = ATTACKER
    ) -> End:
        """Cast a program, or find out why it is not published, and return what came of it."""
        if self.host.catalogue().get(program.name) is None:
            file = self.host.project.spells / f"{program.name}.lua"
            problems = await self.host.book.check([file])
            assert problems, f"{program.name} is not published, and nothing is wrong with it"
            return End("unpublished", problems[0].code)
        try:
            async with asyncio.timeout(SECONDS):
                outcome = await self.host.cast(program.name, input or {}, caller=caller)
        except LlmspellError as error:  # refused at the door
            return End("failed", error.code)
        await self.is_clean(outcome, caller)
        if outcome.error is not None:
            return End("failed", str(outcome.error["code"]))
        return End("completed", output=dumps(outcome.output))

    async def is_unharmed(self) -> None:
        """Check that an honest cast is answered as ever, and that the vault keeps its secret."""
        self._casts += 1
        value: JSON = {"mark": MARK, "number": self._casts}
        async with asyncio.timeout(SECONDS):
            outcome = await self.host.cast("honest", {"value": value}, caller=HONEST)
            assert outcome.output == {"value": value}, outcome
            kept = await self.host.cast("vault", {}, caller=HONEST)
            assert kept.output == {"secret": SECRET}, kept

    async def holds_no_leak(self) -> None:
        """Check that no process is left that serves nobody, and no descriptor of one."""
        async with asyncio.timeout(SECONDS):
            await self._rest()
            await self.engine.warm_up()
            known = set(self.engine.worker_pids)
            # All that is left of a worker is its end, which comes a moment after the order.
            await ended(set(self._workers()) - known)
        assert len(known) <= MAX_WORKERS, f"{len(known)} workers are kept"
        descriptors = len(list(_descriptors())) - 2 * len(self.engine.worker_pids)
        if self._descriptors < 0:
            self._descriptors = descriptors
        assert descriptors <= self._descriptors, "descriptors of ended workers are left"

    async def _rest(self) -> None:
        """Return once no cast is under way: its answer comes before its worker is put away."""
        while True:
            if not self.host.busy:
                return
            await asyncio.sleep(0)

    def _workers(self) -> Iterator[int]:
        for zygote in zygotes():
            yield from children(zygote)

    async def is_clean(self, outcome: Outcome, caller: Caller) -> None:
        """Check that a cast gave away nothing of others, and can be written down and read back."""
        handle = await self.host.run(outcome.run_id, caller=caller)
        run = await handle.record()
        assert run.is_final
        assert run.state == outcome.state
        everything = msgspec.json.encode([outcome, run])
        async for event in handle.events():
            everything += msgspec.json.encode(event)
        for secret in (SECRET, MARK):
            assert secret.encode() not in everything, f"{outcome.spell} got hold of {secret}"
        for part in outcome.content or []:
            assert isinstance(part.get("type"), str), f"{outcome.spell} answers with {part}"


async def ended(pids: Iterable[int]) -> None:
    """Return once all these processes have ended."""
    loop = asyncio.get_running_loop()
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        end = asyncio.Event()
        loop.add_reader(descriptor, end.set)
        try:
            await end.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def children(pid: int) -> Iterator[int]:
    """Yield the living children of a process."""
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        try:
            yield from map(int, (thread / "children").read_text(encoding="ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue


def zygotes() -> Iterator[int]:
    """Yield the processes that fork workers for this one."""
    for pid in children(os.getpid()):
        if b"llmspell.runtime.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes():
            yield pid


def memory_holds(pid: int, marks: Iterable[str]) -> set[str]:
    """Return which of the marks stand anywhere in a process's memory that can be written to.

    Raises:
        PermissionError: The system does not let this process look.
    """
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            area, access, *_ = line.split()
            if not access.startswith("rw"):
                continue
            first, last = (int(text, 16) for text in area.split("-"))
            memory.seek(first)
            try:
                held = memory.read(last - first)
            except OSError:  # set aside, and backed by nothing
                continue
            found.update(mark for mark in marks if mark.encode() in held)
    return found


def _descriptors() -> Iterator[str]:
    """Yield what the sockets, pipes and process descriptors of this process are."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]")):
            yield target


def build(root: Path, programs: Iterable[Program]) -> Project:
    """Write a project with these programs and the furniture, and open it."""
    (root / "spells").mkdir(parents=True)
    (root / "lib" / "ring").mkdir(parents=True)
    (root / "llmspell.toml").write_text(SETTINGS, encoding="utf-8")
    for program in programs:
        (root / "spells" / f"{program.name}.lua").write_text(program.source, encoding="utf-8")
    for name, source in FURNITURE.items():
        (root / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
    for number in range(RING):
        source = f'return require "ring.m{(number + 1) % RING}"\n'
        (root / "lib" / "ring" / f"m{number}.lua").write_text(source, encoding="utf-8")
    (root / "lib" / "shared.lua").write_text("return {}\n", encoding="utf-8")
    (root / "lib" / "acting.lua").write_text("State.set('k', 1) return 1\n", encoding="utf-8")
    (root / "lib" / "bytecode.lua").write_bytes(b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n")
    environ = {"HOME": str(root), "XDG_CONFIG_HOME": str(root), "LLMSPELL_ALLOW_NETWORK": "0"}
    return open_project(root, environ=environ)


@asynccontextmanager
async def open_house(root: Path, programs: Iterable[Program] = ()) -> AsyncGenerator[Attacked]:
    """Open a house in which these programs are published, and see it closed without a trace."""
    project = build(root, programs)
    async with Host.open(project, state="memory", watch=False) as host:
        house = Attacked(host)
        await house.begin()
        yield house
    assert not list(zygotes()), "the house is closed, and its zygote is there"
