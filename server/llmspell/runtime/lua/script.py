"""A Lua script: messages queued and exchanged in frames, and the limits of the whole script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeAlias

import msgspec

from llmspell.errors import (
    InputInvalid,
    InputTooLarge,
    LimitCpu,
    LimitError,
    LimitWallClock,
    LlmspellError,
    OutputTooLarge,
    WorkerDied,
)
from llmspell.runtime import wire
from llmspell.runtime.engine import (
    Canceled,
    Finished,
    Loaded,
    Noted,
    Program,
    Requested,
    ScriptContext,
    ScriptEvent,
    ScriptLimits,
)
from llmspell.runtime.slots import Slots
from llmspell.runtime.workers import Domain, Workers, WorkerT
from llmspell.values import JSON, FunctionRef, Object

Covered: TypeAlias = Callable[[str, Sequence[int], Sequence[int]], None]
"""Takes a file, the lines it has (once, when it is loaded) and those that ran since."""

_REPLAY_BYTES = 1 << 20
_REPLAY_FRACTION = 0.25
"""How much of a slice the search for an endless loop may take."""
_REPLAY_LEAST_SECONDS = 0.05
_REPLAY_GRACE_SECONDS = 1.0
"""CPU time after which that search is ended if it did not end itself.

Not less: the worker's start counts too, and its own alarm goes by the ticks of a processor that it
shares.
"""
_FAILED = b"\x91\x92" + wire.pack(["failed"])[1:]
_MAX_REPLIES = 1000
"""Replies one frame may be answered in."""
_EMPTY_FRAME = wire.frames([], 0)[0]


class LuaScript(Generic[WorkerT]):
    """One fresh state of a program, in a worker once it has begun. See `engine.Script`.

    Args:
        packed: The program as a worker takes it.
        pack_declaration: Returns a declaration as the kernel writes it.
        is_child: Whether a script under way waits for this one.
        covered: Told which lines of which files there are and run; then no endless loop is found.
        is_replayed: Whether to look for the line of an endless loop in a second worker.
    """

    def __init__(
        self,
        workers: Workers[WorkerT],
        slots: Slots,
        program: Program,
        packed: bytes,
        limits: ScriptLimits,
        context: ScriptContext,
        *,
        domain: Domain | None,
        pack_declaration: Callable[[JSON], bytes],
        is_child: bool,
        is_replayed: bool,
        covered: Covered | None = None,
    ) -> None:
        self._workers = workers
        self._slots = slots
        self._program = program
        self._packed = packed
        self._limits = limits
        self._context = context
        self._domain = domain
        self._pack_declaration = pack_declaration
        self._is_new = not is_child
        self._worker: WorkerT | None = None
        self._failure: LlmspellError | None = None
        self._is_closed = False
        self._queue: list[bytes] = []
        self._tasks = 0
        self._expected: JSON = None
        self._open_tasks = 0
        self._open_requests = 0
        self._requests = 0
        self._covered = covered
        self._sent: list[bytes] | None = [] if is_replayed and covered is None else None
        self._sent_bytes = 0

    def load(self, *, expected: JSON = None) -> None:
        """Queue the run of the top level, with every effect refused."""
        self._expected = expected
        start = self._start()
        if expected is not None:
            start["expected"] = self._pack_declaration(expected)
        self._enqueue(["load", start])
        self._open_tasks += 1

    def main(self, input: JSON) -> None:
        """Queue the run of the top level as task 0, effects allowed."""
        self._enqueue(["main", {**self._start(), "input": input}])
        self._open_tasks += 1

    def call(
        self,
        function: FunctionRef,
        arguments: Sequence[JSON],
        *,
        with_context: bool,
        path: str = "",
    ) -> int:
        """Queue a call of a declared function and return its task number. See `engine.Script`.

        Raises:
            InputTooLarge: The arguments are larger than a message may be.
            InputInvalid: They hold what cannot be passed on, such as an integer beyond 64 bits.
        """
        task = self._tasks + 1
        self._enqueue(["call", task, function.number, list(arguments), with_context, path])
        self._tasks = task
        self._open_tasks += 1
        return task

    def evaluate(self, program: Program, *, path: str = "", now: float = 0.0) -> int:
        """Queue the run of a further text and return its task number. See `engine.Script`.

        Raises:
            InputTooLarge: The text is larger than a message may be.
        """
        task = self._tasks + 1
        modules = dict(program.modules)
        self._enqueue(["evaluate", task, program.name, program.source, path, now, modules])
        self._tasks = task
        self._open_tasks += 1
        return task

    def answer(self, call: int, *, ok: bool, value: JSON, now: float) -> None:
        """Queue the answer to a request. One that cannot be passed on becomes an error in Lua."""
        try:
            self._enqueue(["answer", call, ok, value, now])
        except InputInvalid as error:
            code = "output.too_large" if isinstance(error, InputTooLarge) else "output.invalid"
            failure = {"code": code, "message": f"the result cannot be passed on: {error.message}"}
            self._enqueue(["answer", call, False, failure, now])
        self._open_requests -= 1

    async def exchange(self) -> Sequence[ScriptEvent]:
        """Send what is queued, let the script run until it waits, and return what it said.

        Raises:
            SpecError: The top level failed.
            LimitBusy: Too many scripts wait, or no worker may be added.
            LimitError: A limit was hit. The script is gone.
        """
        self._check()
        is_new = self._is_new and self._worker is None
        slot = await self._slots.take(is_new=is_new)
        try:
            worker = self._begun(is_reserved=is_new)
            frames = wire.frames(self._queue, self._limits.message_bytes)
            self._queue = []
            events: list[ScriptEvent] = []
            for frame in frames:
                if not await self._exchange_frame(worker, frame, events):
                    await self._read_on(worker, events)
            if self._open_tasks and not (self._open_requests or self._queue):
                # Every task waits for the answer to a request: without one, nothing would come.
                worker.close()
                raise WorkerDied("the script waits for nothing", where=self._program.name)
            return events
        except LlmspellError as error:
            self._failure = error
            raise
        finally:
            self._slots.give_back(slot)

    async def close(self) -> None:
        """End the script. Its worker is kept when nothing is under way."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._worker is None:
            return
        is_clean = not (self._failure or self._queue or self._open_tasks or self._open_requests)
        self._workers.release(self._worker, is_clean=is_clean)
        self._slots.wake()  # there is room for a new script

    # -- inside

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise WorkerDied("the script was ended", where=self._program.name)

    def _begun(self, *, is_reserved: bool) -> WorkerT:
        """Return the worker of this script, which it is given now at the latest."""
        if self._worker is None:
            if self._is_closed and is_reserved:
                self._workers.unreserve()
            self._check()  # it may have been closed while it waited
            worker = self._workers.acquire(self._domain, self._limits, is_reserved=is_reserved)
            hook_seconds = wire.LINE_HOOK if self._covered else 0.0
            worker.begin(self._limits, self._program.name, self._packed, hook_seconds=hook_seconds)
            self._worker = worker
        return self._worker

    def _start(self) -> Object:
        context = self._context
        return {
            "host_calls": self._limits.host_calls,
            "steps": dict.fromkeys(context.steps, True),
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

    async def _read_on(self, worker: WorkerT, events: list[ScriptEvent]) -> None:
        """Have the worker say the rest of what did not fit into one reply.

        Raises:
            OutputTooLarge: There is no end of it.
        """
        for _ in range(_MAX_REPLIES):
            if await self._exchange_frame(worker, _EMPTY_FRAME, events):
                return
        worker.close()
        raise OutputTooLarge("the script has more to say than it may", where=self._program.name)

    async def _exchange_frame(
        self, worker: WorkerT, frame: bytes, events: list[ScriptEvent]
    ) -> bool:
        """Exchange one frame; return whether its reply was all the worker had to say."""
        self._remember(frame)
        try:
            reply = await worker.exchange(frame)
        except LimitWallClock as error:
            error.where = await self._place_of_loop() or error.where
            raise
        try:
            is_complete = self._read(reply, events)
            self._check_usage(worker)
        except ValueError as error:
            # A worker that does not speak its own protocol was taken over or is broken.
            worker.close()
            raise WorkerDied(
                f"the process that ran the script sent nonsense: {error}", where=self._program.name
            ) from None
        except LlmspellError:
            worker.close()
            raise
        return is_complete

    def _read(self, reply: bytes, events: list[ScriptEvent]) -> bool:
        for event in wire.unpack(reply):
            if isinstance(event, wire.RequestEvent):
                events.append(
                    Requested(event.call, event.task, event.operation, event.arguments, event.key)
                )
                self._open_requests += 1
                self._requests += 1
            elif isinstance(event, wire.DoneEvent):
                events.append(Finished(event.task, event.ok, event.value))
                self._open_tasks -= 1
            elif isinstance(event, wire.LoadedEvent):
                if event.declaration is msgspec.UNSET:
                    events.append(Loaded(self._expected))
                else:
                    events.append(Loaded(event.declaration, frozenset(event.names)))
                self._open_tasks -= 1
            elif isinstance(event, wire.NoteEvent):
                events.append(Noted(event.task, event.operation, event.arguments, event.key))
                self._requests += 1
            elif isinstance(event, wire.CancelEvent):
                events.append(Canceled(event.call))
            elif isinstance(event, wire.MoreEvent):
                return False
            elif isinstance(event, wire.FailedEvent):
                if not isinstance(event.error.get("code"), str):
                    raise ValueError("a failure without a code")
                raise LlmspellError.from_value(event.error)
            elif self._covered is not None:
                self._covered(event.file, event.lines, event.ran)
            else:
                raise ValueError("nobody asked which lines run")
        return True

    def _check_usage(self, worker: WorkerT) -> None:
        limits = self._limits
        if self._requests > limits.host_calls:
            raise LimitError(
                f"the script asked for more than {limits.host_calls} effects",
                hint="do more at once, or raise the setting limits.host_calls",
                where=self._program.name,
                data={"limit": "limits.host_calls"},
            )
        if worker.script_cpu_seconds > limits.cpu_seconds:
            raise LimitCpu(
                f"the script computed for more than {limits.cpu_seconds:g} s in all",
                where=self._program.name,
                data={"limit": "limits.cpu_seconds"},
            )

    # -- the line of an endless loop

    def _remember(self, frame: bytes) -> None:
        if self._sent is None:
            return
        self._sent_bytes += len(frame)
        if self._sent_bytes > _REPLAY_BYTES:
            self._sent = None
        else:
            self._sent.append(frame)

    async def _place_of_loop(self) -> str | None:
        """Return where the script computes without end, or None when that is not found soon.

        A script depends on nothing but its frames, so they are given to a second
        one, with the count hook on.
        """
        if self._sent is None:
            return None
        seconds = max(_REPLAY_LEAST_SECONDS, _REPLAY_FRACTION * self._limits.slice_seconds)
        limits = replace(self._limits, slice_seconds=seconds + _REPLAY_GRACE_SECONDS)
        *before, last = self._sent
        try:
            worker = self._workers.acquire(self._domain, self._limits)
        except LlmspellError:
            return None  # there is no room: the file alone must do
        try:
            worker.begin(limits, self._program.name, self._packed, hook_seconds=seconds)
            for frame in before:
                if (await worker.exchange(frame)).startswith(_FAILED):
                    return None  # it was slow earlier, which is not where it was ended
            reply = await worker.exchange(last)
            match wire.unpack(reply):
                case [wire.FailedEvent({"code": LimitWallClock.code, "where": str(where)})]:
                    return where
                case _:
                    return None
        except (LlmspellError, ValueError):
            return None
        finally:
            self._workers.release(worker, is_clean=False)
