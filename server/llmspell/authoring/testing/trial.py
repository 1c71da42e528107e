"""One test at work: a host of its own, and the answers the test gives to effects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from llmspell.authoring.frames import place
from llmspell.authoring.testing.clock import VirtualClock
from llmspell.authoring.testing.collecting import LIBRARY, Case, TestFile
from llmspell.authoring.testing.doubles import MockedBook, ScriptedModels
from llmspell.authoring.testing.engine import WatchedEngine
from llmspell.config import Project
from llmspell.effects.effect import Cast, Effect, Record
from llmspell.errors import LimitWallClock, LlmspellError, SpellNotFound, SpellRaised
from llmspell.host.host import Host
from llmspell.host.spellbook import Spellbook
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.operations import read_operation
from llmspell.runs.performing import Performer
from llmspell.runs.record import Outcome, Run, new_run_id
from llmspell.runs.scripting import ScriptSession
from llmspell.runtime.engine import ScriptContext
from llmspell.security.principals import Caller
from llmspell.spec.declaration import Budget as BudgetSpec
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.reading import Origin
from llmspell.state.memory import MemoryStore
from llmspell.values import JSON, FunctionRef, Object

TRIAL_SECONDS = 60.0
"""Longest real time one test may take."""

CALLER = Caller(principal="test", tenant="test", session="test")
"""Who casts in a test, unless `spell` is told otherwise."""

_HOST = "@test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one test ended."""

    file: str
    name: str
    line: int
    error: LlmspellError | None = None
    log: list[str] = field(default_factory=list[str])
    """What the test and the spells it cast wrote to the log."""

    @property
    def ok(self) -> bool:
        """Whether it passed."""
        return self.error is None

    def to_value(self) -> Object:
        """Return the result as a JSON object."""
        value: Object = {"file": self.file, "name": self.name, "line": self.line, "ok": self.ok}
        if self.error is not None:
            value["error"] = self.error.to_value()
        if self.log:
            value["log"] = self.log
        return value


async def try_case(
    file: TestFile, case: Case, project: Project, engine: WatchedEngine, book: Spellbook
) -> Result:
    """Run one test and return how it ended."""
    trial = _Trial(file, project, engine, book)
    error: LlmspellError | None = None
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            await trial.run(case)
    except TimeoutError:
        error = LimitWallClock(f"the test took longer than {TRIAL_SECONDS:g} seconds", hint="")
    except LlmspellError as problem:
        error = problem
    if error is not None:
        place(error, LIBRARY, f"{file.name}:{case.line}")
    return Result(file=file.name, name=case.name, line=case.line, error=error, log=trial.log)


class _Trial:
    def __init__(
        self, file: TestFile, project: Project, engine: WatchedEngine, book: Spellbook
    ) -> None:
        self.log: list[str] = []
        self._engine = engine
        self._file = file
        self._clock = VirtualClock(engine.idle, lambda: engine.is_busy)
        self._book = MockedBook(book)
        self._models = ScriptedModels(self._clock)
        self._host = Host(project, MemoryStore(), engine, self._models, self._book, self._clock)
        self._calls: dict[str, list[JSON]] = {}
        self._castable = make_castable(
            SpellSpec(name="test", run=FunctionRef(1)),
            Origin(file.name, file.program.source.decode("utf-8", "replace")),
            engine,
            program=file.program,
            declaration=file.declaration,
            unrestricted=True,
        )
        self._run = self._new_run("test", {}, CALLER)
        self._session: ScriptSession | None = None

    async def run(self, case: Case) -> None:
        services = self._host.services
        context = ScriptContext(
            run_id=self._run.run.id,
            session=CALLER.session,
            user=CALLER.principal,
            tenant=CALLER.tenant,
            now=self._clock.time(),
            # The same numbers each time: a test that fails must fail again.
            seed=f"{self._file.name}:{case.name}".encode(),
        )
        script = await self._engine.open(self._file.program, services.script_limits, context)
        session = self._session = ScriptSession(script, self._clock)
        try:
            session.load(self._file.declaration)
            await session.call(case.function, (), with_context=True, perform=self._perform)
        finally:
            await session.close()

    # -- effects of the test itself

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Cast):
            if effect.target == _HOST:
                arguments = cast(Object, effect.input)
                return await self._asked(str(arguments.pop("operation")), arguments)
            if isinstance(effect.target, dict) and effect.target.get("description") == _HOST:
                return self._mock_function(effect.target)
        if isinstance(effect, Record) and effect.kind == "log":
            self._note(effect.data)
            return None
        return await self._performer(self._castable, CALLER).perform(effect)

    async def _asked(self, operation: str, arguments: Object) -> JSON:
        answer = _ANSWERS.get(operation)
        if answer is None:
            raise SpellRaised(f"tests have no operation {operation!r}")
        return await answer(self, arguments)

    def _performer(self, castable: Castable, caller: Caller) -> Performer:
        async def session() -> ScriptSession:
            assert self._session is not None  # whoever performs was asked by it
            return self._session

        async def begin(child: Castable, input: JSON, label: str) -> Outcome:
            return await self._cast_child(child, input, caller)

        limits = self._host.services.limits
        return Performer(
            self._host.services,
            self._run,
            castable,
            caller,
            Budget(BudgetSpec(), calls=limits.model_calls, depth=limits.depth),
            session,
            begin,
        )

    async def _cast_child(self, castable: Castable, input: JSON, caller: Caller) -> Outcome:
        """Cast something by name, or something the test itself declares."""
        if castable.program is not None:
            outcome = await self._host.cast(castable.name, input, caller=caller)
            await self._note_run(outcome.run_id, caller)
            return outcome
        services = self._host.services
        value = castable.accept_input(input, limit_bytes=services.limits.input_bytes)
        live = self._new_run(castable.name, value, caller)
        return await Casting(services, live, castable, value, caller, session=self._session).run()

    def _new_run(self, spell: str, input: JSON, caller: Caller) -> LiveRun:
        now = self._clock.time()
        run = Run(
            id=new_run_id(now),
            tenant=caller.tenant,
            principal=caller.principal,
            session=caller.session,
            spell=spell,
            input=input,
            created_at=now,
            updated_at=now,
        )
        return LiveRun(run, self._host.services.archive, self._clock)

    # -- the log

    def _note(self, data: Object) -> None:
        level = data.get("level", "info")
        text = str(data.get("message", ""))
        self.log.append(text if level == "info" else f"{level}: {text}")

    async def _note_run(self, run_id: str, caller: Caller) -> None:
        handle = await self._host.run(run_id, caller=caller)
        async for event in handle.events():
            if event.kind == "log":
                self._note(event.data)

    # -- what the library asks for

    async def _cast(self, arguments: Object) -> JSON:
        performer = self._performer(self._castable, _caller(arguments.get("options")))
        return await performer.perform(
            Cast(target=str(arguments.get("name")), input=arguments.get("input"))
        )

    async def _state(self, arguments: Object) -> JSON:
        name = str(arguments.get("name"))
        castable = self._book.get(name)
        if castable is None:
            raise SpellNotFound(f"no spell named {name!r}", hint=self._book.suggest(name))
        effect = read_operation(str(arguments.get("effect")), arguments.get("arguments"))
        caller = _caller(arguments.get("options"))
        return await self._performer(castable, caller).perform(effect)

    async def _now(self, arguments: Object) -> JSON:
        self._clock.set(float(arguments["time"]))
        return None

    async def _model(self, arguments: Object) -> JSON:
        self._models.script(str(arguments["name"]), cast("list[Object]", arguments["steps"]))
        return None

    async def _requests(self, arguments: Object) -> JSON:
        return self._models.requests(str(arguments["name"]))

    async def _tool(self, arguments: Object) -> JSON:
        value = arguments.get("value")

        async def answer(input: JSON) -> JSON:
            return value

        self._mock(str(arguments["name"]), answer)
        return None

    def _mock_function(self, declaration: Object) -> JSON:
        function = declaration["run"]

        async def answer(input: JSON) -> JSON:
            assert self._session is not None  # the test that mocks is under way
            return await self._session.call(
                function, (input,), with_context=False, perform=self._perform
            )

        self._mock(str(declaration["name"]), answer)
        return None

    def _mock(self, name: str, answer: Callable[[JSON], Awaitable[JSON]]) -> None:
        calls = self._calls[name] = []

        async def recorded(input: JSON) -> JSON:
            calls.append(input)
            return await answer(input)

        self._book.mock(name, recorded)

    async def _calls_of(self, arguments: Object) -> JSON:
        return self._calls[str(arguments["name"])]


def _caller(options: Any) -> Caller:
    """Return who casts, as the options of `spell` say.

    Raises:
        SpellRaised: They say something else.
    """
    given = cast(Object, options) if isinstance(options, dict) else {}
    unknown = sorted(set(given) - {"session", "user", "message"})
    if unknown:
        raise SpellRaised(
            f"unknown key {unknown[0]!r} in the options of spell",
            hint="Allowed: message, session, user",
        )
    return replace(
        CALLER,
        session=str(given.get("session", CALLER.session)),
        principal=str(given.get("user", CALLER.principal)),
        message=given.get("message"),
    )


_ANSWERS: dict[str, Callable[[_Trial, Object], Awaitable[JSON]]] = {
    "calls": _Trial._calls_of,  # pyright: ignore[reportPrivateUsage]  # its own table
    "cast": _Trial._cast,  # pyright: ignore[reportPrivateUsage]
    "model": _Trial._model,  # pyright: ignore[reportPrivateUsage]
    "now": _Trial._now,  # pyright: ignore[reportPrivateUsage]
    "requests": _Trial._requests,  # pyright: ignore[reportPrivateUsage]
    "state": _Trial._state,  # pyright: ignore[reportPrivateUsage]
    "tool": _Trial._tool,  # pyright: ignore[reportPrivateUsage]
}
