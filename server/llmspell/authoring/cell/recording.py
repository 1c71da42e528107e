"""Scripts that repeat what they did before from the recorded answers, then go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmspell.errors import SpellRaised
from llmspell.runtime.engine import (
    Canceled,
    Engine,
    Finished,
    Isolation,
    Loaded,
    Program,
    Requested,
    Script,
    ScriptContext,
    ScriptEvent,
    ScriptLimits,
)
from llmspell.values import JSON, FunctionRef


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as a script was given it."""

    call: int
    operation: str
    ok: bool
    value: JSON
    now: float


@dataclass(slots=True)
class Recording:
    """All answers a script was given, by the exchange that delivered them.

    The order matters as much as the answers: it decides which branch of `parallel` goes on first,
    and so which request comes next.
    """

    now: float
    """Unix time at which the first script began; every later one begins at it too."""
    seed: bytes
    exchanges: list[list[Answered]] = field(default_factory=list[list[Answered]])


class RepeatingEngine:
    """An engine whose scripts first repeat a recording. See `runtime.engine.Engine`.

    Scripts are deterministic, so a program that begins like the recorded one asks for the same,
    in the same order, and is given the same: no effect happens twice.

    Args:
        inner: Runs the scripts.
        recording: What was recorded; new answers are not added to it.
    """

    def __init__(self, inner: Engine, recording: Recording) -> None:
        self._inner = inner
        self._recording = recording
        self.language = inner.language
        self.suffix = inner.suffix
        self.version = inner.version
        self.added: list[list[Answered]] = []
        """The exchanges of the last script beyond the recording."""
        self.has_ended = False
        """Whether its top level came to an end, be it a failure; else it was stopped."""

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
        """Return a script that repeats the recording, then asks for what comes after it."""
        context = replace(context, now=self._recording.now, seed=self._recording.seed)
        self.added, self.has_ended = [], False
        inner = await self._inner.open(program, limits, context, is_child=is_child)
        return _RepeatingScript(self, inner, self._recording.exchanges)

    def isolation(self) -> Isolation:
        """Return what stands between a script and the machine."""
        return self._inner.isolation()

    async def close(self) -> None:
        """Do nothing: whoever made the engine inside closes that."""


class _RepeatingScript:
    def __init__(
        self, engine: RepeatingEngine, inner: Script, recorded: list[list[Answered]]
    ) -> None:
        self._engine = engine
        self._inner = inner
        self._recorded = recorded
        self._queued: list[Answered] = []
        self._open: dict[int, Requested] = {}
        self._has_begun = False
        self.load = inner.load
        self.main = inner.main
        self.close = inner.close

    def call(self, function: FunctionRef, arguments: Sequence[JSON], *, with_context: bool) -> int:
        return self._inner.call(function, arguments, with_context=with_context)

    def answer(self, call: int, *, ok: bool, value: JSON, now: float) -> None:
        operation = self._open.pop(call).operation
        self._queued.append(Answered(call, operation, ok, value, now))
        self._inner.answer(call, ok=ok, value=value, now=now)

    async def exchange(self) -> Sequence[ScriptEvent]:
        if self._has_begun:
            self._engine.added.append(self._queued)
            self._queued = []
            return self._noted(await self._inner.exchange())
        self._has_begun = True
        events = self._noted(await self._inner.exchange())
        for answers in self._recorded:
            for answered in answers:
                self._repeat(answered)
            events = self._noted(await self._inner.exchange())
        # What the recording leaves open is asked for now; what it has answered is over.
        over = [event for event in events if not isinstance(event, Requested | Canceled)]
        return [*self._open.values(), *over]

    def _repeat(self, answered: Answered) -> None:
        request = self._open.pop(answered.call, None)
        if request is None or request.operation != answered.operation:
            raise SpellRaised(
                "what ran before cannot be repeated: it now asks for something else",
                hint="begin anew: end this and start llmspell repl again",
            )
        self._inner.answer(answered.call, ok=answered.ok, value=answered.value, now=answered.now)

    def _noted(self, events: Sequence[ScriptEvent]) -> Sequence[ScriptEvent]:
        for event in events:
            if isinstance(event, Requested):
                self._open[event.call] = event
            elif isinstance(event, Finished) and event.task == 0:
                self._engine.has_ended = True
        return events
