"""Engines of a test: one that tells whether scripts compute, one whose scripts are answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from llmspell.errors import InternalError, LlmspellError
from llmspell.runtime.engine import (
    JOURNAL_VERSION,
    Engine,
    Finished,
    Isolation,
    Loaded,
    Program,
    Script,
    ScriptContext,
    ScriptEvent,
    ScriptLimits,
)
from llmspell.values import JSON, FunctionRef

Answer: TypeAlias = Callable[[JSON], Awaitable[JSON]]
"""What a mock makes of the input it is cast with."""


class WatchedEngine:
    """An engine of which can be told whether a script computes. See `runtime.engine.Engine`."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.language = inner.language
        self.suffix = inner.suffix
        self.version = inner.version
        self.journal_version = inner.journal_version
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_busy(self) -> bool:
        """Whether a script computes at this moment."""
        return self._busy > 0

    async def idle(self) -> None:
        """Return once no script computes."""
        await self._idle.wait()

    def begin(self) -> None:
        """Note that a script computes."""
        self._busy += 1
        self._idle.clear()

    def end(self) -> None:
        """Note that it waits, or is gone."""
        self._busy -= 1
        if not self._busy:
            self._idle.set()

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
        """Return a fresh script of the program."""
        inner = await self._inner.open(program, limits, context, is_child=is_child)
        return _WatchedScript(self, inner)

    def isolation(self) -> Isolation:
        """Return what stands between a script and the machine."""
        return self._inner.isolation()

    async def close(self) -> None:
        """Do nothing: whoever made the engine it watches closes that."""


class _WatchedScript:
    def __init__(self, engine: WatchedEngine, inner: Script) -> None:
        self._engine = engine
        self._inner = inner
        self.load = inner.load
        self.main = inner.main
        self.call = inner.call
        self.evaluate = inner.evaluate
        self.answer = inner.answer
        self.close = inner.close

    async def exchange(self) -> Sequence[ScriptEvent]:
        self._engine.begin()
        try:
            return await self._inner.exchange()
        finally:
            self._engine.end()


class AnswerEngine:
    """An engine whose only script answers every call with `answer`."""

    language = "answers"
    suffix = ""
    version = ""
    journal_version = JOURNAL_VERSION

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def load(self, program: Program, limits: ScriptLimits) -> Loaded:
        """Refuse: an answer is no file."""
        raise InternalError("an answer is not loaded from a file")

    async def open(
        self,
        program: Program,
        limits: ScriptLimits,
        context: ScriptContext,
        *,
        is_child: bool = False,
    ) -> Script:
        """Return a script that answers one call."""
        return _AnswerScript(self._answer)

    def isolation(self) -> Isolation:
        """Refuse: an answer is no script."""
        raise InternalError("an answer is not isolated")

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


class _AnswerScript:
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._events: list[ScriptEvent] = []
        self._calls: list[tuple[int, JSON]] = []
        self._tasks = 0

    def load(self, *, expected: JSON = None) -> None:
        self._events.append(Loaded(expected))

    def main(self, input: JSON) -> None:
        raise InternalError("an answer has no top level")

    def call(
        self,
        function: FunctionRef,
        arguments: Sequence[JSON],
        *,
        with_context: bool,
        path: str = "",
    ) -> int:
        self._tasks += 1
        self._calls.append((self._tasks, arguments[0]))
        return self._tasks

    def evaluate(self, program: Program, *, path: str = "", now: float = 0.0) -> int:
        raise InternalError("an answer evaluates no text")

    def answer(self, call: int, *, ok: bool, value: JSON, now: float) -> None:
        raise InternalError("an answer requests nothing")

    async def exchange(self) -> Sequence[ScriptEvent]:
        events, self._events = self._events, []
        calls, self._calls = self._calls, []
        for task, input in calls:
            try:
                events.append(Finished(task, True, await self._answer(input)))
            except LlmspellError as error:
                events.append(Finished(task, False, error.to_value()))
        return events

    async def close(self) -> None:
        return None
