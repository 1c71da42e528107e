"""The Lua engine: programs are loaded and scripts run in worker processes, one each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmspell.errors import InputInvalid, InputTooLarge, InternalError, LlmspellError, WorkerDied
from llmspell.runtime import wire
from llmspell.runtime.channel import Channel
from llmspell.runtime.engine import (
    Finished,
    Loaded,
    Program,
    Requested,
    ScriptContext,
    ScriptEvent,
    ScriptLimits,
)
from llmspell.runtime.lua import sources
from llmspell.runtime.pool import Pool
from llmspell.values import JSON, FunctionRef, Object

_KEPT_DECLARATIONS = 256


class _Declarations:
    """The bytes of declarations lately loaded, so that a cast need not encode them again."""

    def __init__(self) -> None:
        self._packed: dict[int, tuple[JSON, bytes]] = {}

    def pack(self, declaration: JSON) -> bytes:
        """Return the declaration as the kernel writes it."""
        kept = self._packed.get(id(declaration))
        if kept is not None and kept[0] is declaration:
            return kept[1]
        packed = wire.pack_declaration(declaration)
        if len(self._packed) >= _KEPT_DECLARATIONS:
            self._packed.pop(next(iter(self._packed)))
        self._packed[id(declaration)] = (declaration, packed)
        return packed


class LuaScript:
    """One fresh state of a program, in a worker of its own. See `engine.Script`."""

    def __init__(
        self,
        pool: Pool,
        channel: Channel,
        program: Program,
        limits: ScriptLimits,
        context: ScriptContext,
        declarations: _Declarations,
    ) -> None:
        self._pool = pool
        self._channel = channel
        self._program = program
        self._limits = limits
        self._context = context
        self._declarations = declarations
        self._queue: list[bytes] = []
        self._tasks = 0
        self._expected: JSON = None

    def load(self, *, expected: JSON = None) -> None:
        """Queue the run of the top level, with every effect refused."""
        self._expected = expected
        start = self._start()
        if expected is not None:
            start["expected"] = self._declarations.pack(expected)
        self._enqueue(["load", start])

    def main(self, input: JSON) -> None:
        """Queue the run of the top level as task 0, effects allowed."""
        self._enqueue(["main", {**self._start(), "input": input}])

    def call(self, function: FunctionRef, arguments: Sequence[JSON], *, with_context: bool) -> int:
        """Queue a call of a declared function and return its task number.

        Raises:
            InputTooLarge: The arguments are larger than a message may be.
            InputInvalid: They hold what cannot be passed on, such as an integer beyond 64 bits.
        """
        self._tasks += 1
        self._enqueue(["call", self._tasks, function.number, list(arguments), with_context])
        return self._tasks

    def answer(self, call: int, *, ok: bool, value: JSON, now: float) -> None:
        """Queue the answer to a request. One that cannot be passed on becomes an error in Lua."""
        try:
            self._enqueue(["answer", call, ok, value, now])
        except InputInvalid as error:
            code = "output.too_large" if isinstance(error, InputTooLarge) else "output.invalid"
            failure = {"code": code, "message": f"the result cannot be passed on: {error.message}"}
            self._enqueue(["answer", call, False, failure, now])

    async def exchange(self) -> Sequence[ScriptEvent]:
        """Send what is queued, let the script run until it waits, and return what it said.

        Raises:
            SpecError: The top level failed.
            LimitError: A limit was hit. The script is gone.
        """
        frames = wire.frames(self._queue, self._limits.message_bytes)
        self._queue = []
        events: list[ScriptEvent] = []
        for frame in frames:
            is_complete = await self._exchange_frame(frame, events)
            while not is_complete:
                is_complete = await self._exchange_frame(wire.frames([], 0)[0], events)
        return events

    async def close(self) -> None:
        """End the script and kill its worker."""
        self._pool.release(self._channel)

    def _start(self) -> Object:
        context = self._context
        return {
            "name": self._program.name,
            "source": self._program.source,
            "modules": self._program.modules,
            "context": {
                "run_id": context.run_id,
                "session": context.session,
                "user": context.user,
                "tenant": context.tenant,
                "deadline": context.deadline,
                "now": context.now,
                "seed": context.seed,
                "message": context.message,
            },
        }

    def _enqueue(self, message: list[Any]) -> None:
        try:
            packed = wire.pack(message)
        except ValueError as error:
            raise InputInvalid(str(error)) from None
        limit = self._limits.message_bytes
        if len(packed) > limit:
            raise InputTooLarge(f"{len(packed)} bytes; the limit is {limit}")
        self._queue.append(packed)

    async def _exchange_frame(self, frame: bytes, events: list[ScriptEvent]) -> bool:
        """Exchange one frame; return whether its reply was all the worker had to say."""
        reply = await self._channel.exchange(frame)
        try:
            for event in wire.unpack(reply):
                match event:
                    case ["request", int(task), int(call), str(operation), arguments]:
                        events.append(Requested(call, task, operation, arguments))
                    case ["done", int(task), bool(ok), value]:
                        events.append(Finished(task, ok, value))
                    case ["loaded"]:
                        events.append(Loaded(self._expected))
                    case ["loaded", declaration, [*names]]:
                        events.append(Loaded(declaration, frozenset(map(str, names))))
                    case ["more"]:
                        return False
                    case ["failed", {"code": str()} as error]:
                        self._channel.close()
                        raise LlmspellError.from_value(error)
                    case _:
                        raise ValueError(f"event {event[:1]} is unknown")
        except ValueError as error:
            # A worker that does not speak its own protocol was taken over or is broken.
            self._channel.close()
            raise WorkerDied(
                f"the process that ran the script sent nonsense: {error}", where=self._program.name
            ) from None
        return True


class LuaEngine:
    """Lua 5.4 in worker processes. See `engine.Engine`.

    Args:
        idle_workers: Workers kept ready, so that a cast need not wait for a fork.
        max_workers: Scripts that may exist at the same time.
    """

    language = "lua"
    suffix = ".lua"

    def __init__(self, *, idle_workers: int = 2, max_workers: int = 64) -> None:
        self.version = sources.version()
        self._pool = Pool(idle=idle_workers, maximum=max_workers)
        self._declarations = _Declarations()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers there are."""
        return self._pool.pids

    async def warm_up(self) -> None:
        """Return once the workers to be kept ready are forked; a server calls it at its start."""
        await self._pool.warm_up()

    async def load(self, program: Program, limits: ScriptLimits) -> Loaded:
        """Return what a program declares.

        Raises:
            SpecError: With `where` set to the author's file and line.
            LimitError: The top level hit a limit.
        """
        script = await self.open(program, limits, ScriptContext())
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
        self, program: Program, limits: ScriptLimits, context: ScriptContext
    ) -> LuaScript:
        """Return a fresh script of the program; nothing of it has run yet.

        Raises:
            LimitBusy: No worker is free and none may be added.
        """
        channel = self._pool.acquire(limits, program.name)
        return LuaScript(self._pool, channel, program, limits, context, self._declarations)

    async def close(self) -> None:
        """End every worker. Closing twice is no error."""
        await self._pool.close()
