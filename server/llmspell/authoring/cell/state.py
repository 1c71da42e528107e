"""The Lua state of a cell: one script for all its chunks, made again when a chunk has ended it.

A chunk is cast like a file, so this is an engine: the script that a cast opens is one turn of the
script that stays. Every message of a chunk is recorded. When a chunk is stopped in the middle or
hits a limit, the state is gone; the next turn then makes it again from the chunks before, giving
them the same messages: scripts are deterministic, so no effect happens twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from llmspell.clock import Clock
from llmspell.errors import InternalError, SpellRaised
from llmspell.runtime.engine import (
    Engine,
    Finished,
    Isolation,
    Loaded,
    Noted,
    Program,
    Requested,
    Script,
    ScriptContext,
    ScriptEvent,
    ScriptLimits,
)
from llmspell.values import JSON, FunctionRef

_Message: TypeAlias = Callable[[Script], object]


@dataclass(slots=True)
class _Chunk:
    """A text that ran to its end, and all it was told on the way."""

    program: Program
    path: str
    now: float
    exchanges: list[list[_Message]] = field(default_factory=list[list[_Message]])
    requests: int = 0
    """What it asked for; a repetition must ask for as much."""


class CellState:
    """An engine of which every script goes on with the state of the one before.

    Args:
        inner: Runs the script.
        first: The program the state begins with; its top level does nothing.
    """

    def __init__(self, inner: Engine, clock: Clock, first: Program) -> None:
        self._inner = inner
        self._clock = clock
        self._first = first
        self._chunks: list[_Chunk] = []
        self._script: Script | None = None
        self._open: tuple[ScriptLimits, ScriptContext] | None = None
        self.language = inner.language
        self.suffix = inner.suffix
        self.version = inner.version
        self.journal_version = inner.journal_version
        self.has_ended = False
        """Whether the last chunk came to an end, be it a failure; else it was stopped."""

    async def load(self, program: Program, limits: ScriptLimits) -> Loaded:
        """Return what a program declares."""
        return await self._inner.load(program, limits)

    async def open(
        self,
        program: Program,
        limits: ScriptLimits,
        context: ScriptContext,
        *,
        is_child: bool = False,
    ) -> Script:
        """Return a script whose top level is run in the state of the chunks before."""
        self.has_ended = False
        if self._open is None:
            self._open = limits, context  # its seed, and the limits of all chunks together
        chunk = _Chunk(program, str(len(self._chunks) + 1), self._clock.time())
        return _Turn(self, chunk)

    def isolation(self) -> Isolation:
        """Return what stands between a script and the machine."""
        return self._inner.isolation()

    async def close(self) -> None:
        """End the script. The next one makes the state again."""
        if self._script is not None:
            script, self._script = self._script, None
            await script.close()

    async def script(self) -> Script:
        """Return the script with the state that the chunks so far have left."""
        if self._script is None:
            assert self._open is not None  # whoever asks was opened
            limits, context = self._open
            script = self._script = await self._inner.open(self._first, limits, context)
            script.load()
            await script.exchange()
            for chunk in self._chunks:
                await _repeat(script, chunk)
        return self._script

    async def ended(self, chunk: _Chunk | None) -> None:
        """Take note that a turn is over: with what came to its end, or with nothing."""
        if chunk is None:
            await self.close()
        else:
            self.has_ended = True
            self._chunks.append(chunk)


async def _repeat(script: Script, chunk: _Chunk) -> None:
    script.evaluate(chunk.program, path=chunk.path, now=chunk.now)
    asked = 0
    for messages in chunk.exchanges:
        for message in messages:
            message(script)
        asked += sum(isinstance(event, Requested) for event in await script.exchange())
    if asked != chunk.requests:
        raise SpellRaised(
            "what ran before cannot be repeated: it now asks for something else",
            hint="begin anew: end this and start llmspell repl again",
        )


class _Turn:
    """One chunk as a script of its own. Closing it leaves the state in place if the chunk ended."""

    def __init__(self, state: CellState, chunk: _Chunk) -> None:
        self._state = state
        self._chunk = chunk
        self._script: Script | None = None
        self._task = 0
        self._queued: list[_Message] = []
        self._has_ended = False

    def load(self, *, expected: JSON = None) -> None:
        raise InternalError("a chunk declares nothing")

    def main(self, input: JSON) -> None:
        """Queue the chunk; it takes no input."""

    def call(
        self,
        function: FunctionRef,
        arguments: Sequence[JSON],
        *,
        with_context: bool,
        path: str = "",
    ) -> int:
        def message(script: Script) -> int:
            return script.call(function, arguments, with_context=with_context, path=path)

        assert self._script is not None  # functions are known once the chunk runs
        self._queued.append(message)
        return message(self._script)

    def evaluate(self, program: Program, *, path: str = "", now: float = 0.0) -> int:
        raise InternalError("a chunk is evaluated by itself")

    def answer(self, call: int, *, ok: bool, value: JSON, now: float) -> None:
        def message(script: Script) -> None:
            script.answer(call, ok=ok, value=value, now=now)

        assert self._script is not None  # it has asked
        self._queued.append(message)
        message(self._script)

    async def exchange(self) -> Sequence[ScriptEvent]:
        chunk = self._chunk
        if self._script is None:
            self._script = await self._state.script()
            self._task = self._script.evaluate(chunk.program, path=chunk.path, now=chunk.now)
        chunk.exchanges.append(self._queued)
        self._queued = []
        events = [self._read(event) for event in await self._script.exchange()]
        chunk.requests += sum(isinstance(event, Requested) for event in events)
        return events

    def _read(self, event: ScriptEvent) -> ScriptEvent:
        if not isinstance(event, Finished | Noted | Requested) or event.task != self._task:
            return event
        if isinstance(event, Requested):
            return Requested(event.call, 0, event.operation, event.arguments, event.key)
        if isinstance(event, Noted):
            return Noted(0, event.operation, event.arguments, event.key)
        self._has_ended = True
        value: JSON = event.value
        if event.ok:
            value = {"returned": value, "has_returned": True, "last": None}
        return Finished(0, event.ok, value)

    async def close(self) -> None:
        await self._state.ended(self._chunk if self._has_ended else None)
