"""Runs Lua text in a real worker, with effects answered by a plain function."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from llmspell.errors import LlmspellError
from llmspell.runtime.engine import (
    Canceled,
    Finished,
    Loaded,
    Noted,
    Program,
    Requested,
    Script,
    ScriptContext,
    ScriptEvent,
    ScriptLimits,
)
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import JSON, FunctionRef

Answer = Callable[[str, Any], Any]
"""What an operation with these arguments results in; an `LlmspellError` raised is its failure."""


def refuse_all(operation: str, arguments: Any) -> Any:
    raise LlmspellError(f"the test answers no {operation}")


def program(source: str, *, modules: Mapping[str, str] | None = None) -> Program:
    """Return a program of dedented Lua text."""
    texts = {name: textwrap.dedent(text).encode() for name, text in (modules or {}).items()}
    return Program("spells/t.lua", textwrap.dedent(source).strip("\n").encode(), texts)


@dataclass
class Outcome:
    """What became of a call, and what it asked for on the way."""

    ok: bool
    value: Any
    requests: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    keys: list[str] = field(default_factory=list[str])
    """Of the requests, in the same order."""


@dataclass
class Bench:
    """An engine with the shortcuts the tests share."""

    engine: LuaEngine
    limits: ScriptLimits = field(default_factory=ScriptLimits)
    context: ScriptContext = field(
        default_factory=lambda: ScriptContext(run_id="run", now=1000.5, seed=b"seed")
    )

    def resumed(self, *steps: str) -> Bench:
        """Return a bench of runs in which these steps, by key, ended in an earlier process."""
        return replace(self, context=msgspec.structs.replace(self.context, steps=frozenset(steps)))

    async def load(self, source: str, modules: Mapping[str, str] | None = None) -> Any:
        """Return the declaration of a file."""
        loaded = await self.engine.load(program(source, modules=modules), self.limits)
        return loaded.declaration

    async def open(self, source: str, modules: Mapping[str, str] | None = None) -> Script:
        """Return a script of a file that is not run yet."""
        return await self.engine.open(program(source, modules=modules), self.limits, self.context)

    async def call(
        self,
        source: str,
        *arguments: JSON,
        answer: Answer = refuse_all,
        modules: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Load a file that returns one function or a spell with a `run`, and call it."""
        script = await self.open(source, modules)
        try:
            script.load()
            task = script.call(FunctionRef(1), arguments, with_context=True)
            return await drive(script, task, answer)
        finally:
            await script.close()

    async def body(self, body: str, *arguments: JSON, answer: Answer = refuse_all) -> Outcome:
        """Call a function of one argument `input`, given as its body: its line 1 is line 2."""
        text = textwrap.dedent(body).strip("\n")
        return await self.call(
            f"return function(input, ctx)\n{text}\nend", *(arguments or (None,)), answer=answer
        )

    async def value(self, body: str, *arguments: JSON, answer: Answer = refuse_all) -> Any:
        """Return what a function body returns; a failure is an assertion error."""
        outcome = await self.body(body, *arguments, answer=answer)
        assert outcome.ok, outcome.value
        return outcome.value

    async def error(self, body: str, *arguments: JSON, answer: Answer = refuse_all) -> Any:
        """Return the error object a function body ends with."""
        outcome = await self.body(body, *arguments, answer=answer)
        assert not outcome.ok, outcome.value
        return outcome.value


async def drive(script: Script, task: int, answer: Answer, *, now: float = 2000.0) -> Outcome:
    """Exchange until `task` ends, answering every request in order, a second apart."""
    outcome = Outcome(False, None)
    while True:
        waiting: list[ScriptEvent] = []
        for event in await script.exchange():
            match event:
                case Finished(number, ok, value) if number == task:
                    outcome.ok, outcome.value = ok, value
                    return outcome
                case Requested():
                    waiting.append(event)
                case Noted(_, operation, arguments, key):
                    outcome.requests.append((operation, arguments))
                    outcome.keys.append(key)
                case Loaded() | Finished() | Canceled():
                    pass
        assert waiting, "the script waits for nothing"
        for request in waiting:
            assert isinstance(request, Requested)
            outcome.requests.append((request.operation, request.arguments))
            outcome.keys.append(request.key)
            ok, result = True, None
            try:
                result = answer(request.operation, request.arguments)
            except LlmspellError as error:
                ok, result = False, error.to_value()
            script.answer(request.call, ok=ok, value=result, now=now)
            now += 1.0
