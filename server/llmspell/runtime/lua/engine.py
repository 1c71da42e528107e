"""The Lua engine: loads programs and opens scripts, in jailed worker processes or inline."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

from llmspell.errors import ConfigError, InternalError
from llmspell.runtime import jail, wire
from llmspell.runtime.engine import (
    JOURNAL_VERSION,
    Isolation,
    Loaded,
    Program,
    ScriptContext,
    ScriptLimits,
)
from llmspell.runtime.lua import sources
from llmspell.runtime.lua.script import Covered, LuaScript
from llmspell.runtime.pool import Pool, PoolLimits
from llmspell.runtime.slots import Slots
from llmspell.runtime.workers import Workers, closed
from llmspell.values import JSON

_KEPT = 256

_T = TypeVar("_T")


class _Packed(Generic[_T]):
    """The bytes of things lately packed, by identity, so that a cast need not pack them again."""

    def __init__(self, pack: Callable[[_T], bytes]) -> None:
        self._pack = pack
        self._kept: dict[int, tuple[_T, bytes]] = {}

    def __call__(self, value: _T) -> bytes:
        """Return the bytes of a value that does not change."""
        kept = self._kept.get(id(value))
        if kept is not None and kept[0] is value:
            return kept[1]
        packed = self._pack(value)
        if len(self._kept) >= _KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[id(value)] = (value, packed)
        return packed


class LuaEngine:
    """Lua 5.4. See `engine.Engine`.

    Args:
        isolation: `process`: jailed worker processes; `inline`: threads of this process, for
            code that is trusted.
        casts: Scripts that may compute at the same time.
        queue: New scripts that may wait for their turn.
        idle_workers: Workers kept ready, so that a cast need not wait for a fork.
        max_workers: Scripts that may have a worker at the same time, the waiting ones included.
        warm_workers: Workers kept for the next cast of the same spell by the same principal.
        worker_casts: Casts a worker serves before it is replaced.
        warm_seconds: How long a worker is kept.
        covered: Told which lines of which files run; everything then computes much slower.

    Raises:
        ConfigError: There are no worker processes on this platform.
    """

    language = "lua"
    suffix = ".lua"

    def __init__(
        self,
        *,
        isolation: Literal["process", "inline"] = "process",
        casts: int = 16,
        queue: int = 1000,
        idle_workers: int = 2,
        max_workers: int = 256,
        warm_workers: int = 16,
        worker_casts: int = 1000,
        warm_seconds: float = 30.0,
        covered: Covered | None = None,
    ) -> None:
        self._covered = covered
        self.version = sources.version()
        self.journal_version = JOURNAL_VERSION
        self._isolation = isolation
        self._workers: Workers[Any]
        if isolation == "process" and sys.platform != "linux":
            raise ConfigError(
                f"worker processes need Linux, and this is {sys.platform}",
                hint='set runtime.isolation = "inline", and cast only code that you trust',
            )
        if isolation == "inline":
            # Only here: no server that forks workers loads Lua into itself.
            from llmspell.runtime.lua.inline import InlinePool

            self._workers = InlinePool(max_workers)
        else:
            self._workers = Pool(
                PoolLimits(
                    idle=idle_workers,
                    total=max_workers,
                    warm=warm_workers,
                    warm_scripts=worker_casts,
                    warm_seconds=warm_seconds,
                )
            )
        self._slots = Slots(
            casts,
            prompt=4 * processors(),
            queue=queue,
            reserve=self._workers.reserve,
            unreserve=self._workers.unreserve,
        )
        self._pack_program: _Packed[Program] = _Packed(_program_frame)
        self._pack_declaration: _Packed[JSON] = _Packed(wire.pack_declaration)
        self._is_closed = False

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers there are."""
        return self._workers.pids

    def isolation(self) -> Isolation:
        """Return what stands between a script and the machine. Starts nothing."""
        sandbox = "a white-listed Lua environment with a heap limit"
        if self._isolation == "inline":
            return Isolation(
                "inline",
                (
                    "NO PROCESS ISOLATION: runtime.isolation is inline, so spells run in the "
                    "server itself; only trusted code belongs there",
                    f"spells run in {sandbox} and a count hook",
                ),
            )
        processes = f"spells run in worker processes, in {sandbox} and limits of time and resources"
        pace = (
            ()
            if sources.LIBRARY.exists()
            else ("casts take twice as long: llmspell was installed without a C compiler",)
        )
        if missing := jail.missing_filter():
            return Isolation("limited", (f"NO SYSTEM-CALL FILTER: {missing}", processes, *pace))
        filtered = f"{processes}; a system-call filter leaves a worker no file, network or process"
        return Isolation("filtered", (filtered, *pace))

    async def warm_up(self) -> None:
        """Return once the workers to be kept ready are forked; a server calls it at its start."""
        await self._workers.warm_up()

    async def load(self, program: Program, limits: ScriptLimits) -> Loaded:
        """Return what a program declares.

        Raises:
            SpecError: With `where` set to the author's file and line.
            LimitError: The top level hit a limit.
        """
        script = await self.open(program, limits, ScriptContext(), is_child=True)
        try:
            script.load()
            match await script.exchange():
                case [Loaded() as loaded]:
                    return loaded
                case events:
                    raise InternalError(f"loading {program.name!r} ended with {events!r}")
        finally:
            await script.close()

    async def open(
        self,
        program: Program,
        limits: ScriptLimits,
        context: ScriptContext,
        *,
        is_child: bool = False,
    ) -> LuaScript[Any]:
        """Return a fresh script of the program; nothing of it has run yet. See `engine.Engine`."""
        if self._is_closed:
            raise closed()
        domain = (context.tenant, context.user, program.version)
        return LuaScript(
            self._workers,
            self._slots,
            program,
            self._pack_program(program),
            limits,
            context,
            # Nobody's script, or one that cannot be told from others, shares its worker with none.
            domain=domain if context.user and program.version else None,
            pack_declaration=self._pack_declaration,
            is_child=is_child,
            is_replayed=self._isolation == "process",
            covered=self._covered,
        )

    async def close(self) -> None:
        """End every worker. Closing twice is no error."""
        self._is_closed = True
        self._slots.close()
        await self._workers.close()


def processors() -> int:
    """Return how many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _program_frame(program: Program) -> bytes:
    return wire.pack_program(program.name, program.source, program.modules)
