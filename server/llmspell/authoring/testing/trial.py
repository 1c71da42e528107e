"""One test at work: a host of its own, and the answers the test gives to effects.

The test itself is a cast whose effects are performed as a spell's are, except for those that only
a test may ask for. What it casts by name are casts of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from llmspell.authoring.frames import place
from llmspell.authoring.testing.answers import ScriptedAnswers
from llmspell.authoring.testing.clock import VirtualClock
from llmspell.authoring.testing.collecting import LIBRARY, Case, TestFile
from llmspell.authoring.testing.doubles import MockedBook, ScriptedModels
from llmspell.authoring.testing.engine import WatchedEngine
from llmspell.authoring.testing.subject import TrialCasting, TrialRun
from llmspell.config import Project
from llmspell.durations import seconds_of
from llmspell.effects.effect import Cast, Effect, Record
from llmspell.errors import LimitWallClock, LlmspellError, SpellNotFound, SpellRaised
from llmspell.host.host import Host
from llmspell.host.spellbook import Spellbook
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.operations import read_operation
from llmspell.runs.record import Outcome, Question, Run, new_run_id
from llmspell.security.principals import Caller
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.origin import Origin
from llmspell.state.memory import MemoryStore
from llmspell.values import JSON, Object

TRIAL_SECONDS = 60.0
"""Longest real time one test may take."""

CALLER = Caller(principal="test", tenant="test", session="test")
"""Who casts in a test, unless `spell` is told otherwise."""

_HOST = "@test"
_ASK = "@ask"
"""What the library casts: the host of the test, and the name of its answers."""


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
    trial = _Trial(file, case, project, engine, book)
    error: LlmspellError | None = None
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            error = await trial.run()
    except TimeoutError:
        error = LimitWallClock(f"the test took longer than {TRIAL_SECONDS:g} seconds", hint="")
    finally:
        await trial.close()
    if error is not None:
        place(error, LIBRARY, f"{file.name}:{case.line}")
    return Result(file=file.name, name=case.name, line=case.line, error=error, log=trial.log)


class _Trial:
    def __init__(
        self, file: TestFile, case: Case, project: Project, engine: WatchedEngine, book: Spellbook
    ) -> None:
        self.log: list[str] = []
        self._clock = VirtualClock(engine.idle, lambda: engine.is_busy)
        self._book = MockedBook(book)
        self._models = ScriptedModels(self._clock)
        self._answers = ScriptedAnswers()
        store = MemoryStore(clock=self._clock)
        self._host = Host(project, store, engine, self._models, self._book, self._clock)
        self._calls: dict[str, list[JSON]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._failure: LlmspellError | None = None
        self._task: asyncio.Task[Outcome] | None = None
        castable = self._castable = make_castable(
            SpellSpec(name="test", run=case.function),
            Origin(file.name, file.program.source.decode("utf-8", "replace")),
            engine,
            program=file.program,
            declaration=file.declaration,
            unrestricted=True,
        )
        now = self._clock.time()
        run = Run(
            id=new_run_id(now),
            tenant=CALLER.tenant,
            principal=CALLER.principal,
            session=CALLER.session,
            spell="test",
            input={},
            created_at=now,
            updated_at=now,
            # The same numbers each time: a test that fails must fail again.
            seed=f"{file.name}:{case.name}",
        )
        services = self._host.services
        self._casting = TrialCasting(
            services,
            TrialRun(run, services.archive, self._clock, self._asked),
            castable,
            CALLER,
            own=self._own,
            cast_published=self._cast_published,
        )

    async def run(self) -> LlmspellError | None:
        """Run the test and return why it failed."""
        task = self._task = asyncio.ensure_future(self._casting.run())
        try:
            outcome = await task
        except asyncio.CancelledError:
            if self._failure is None or not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                raise
            return self._failure
        if outcome.error is None:
            return None
        error = LlmspellError.from_value(outcome.error)
        error.run_id = None  # nobody can look it up
        return error

    async def close(self) -> None:
        """End whatever the test left under way."""
        for task in self._answering:
            task.cancel()
        await self._host.close()

    # -- effects of the test itself

    def _own(self, effect: Effect, key: str) -> Awaitable[Any] | None:
        if isinstance(effect, Cast):
            if effect.target == _HOST:
                arguments = dict(cast(Object, effect.input))
                return self._asked_for(str(arguments.pop("operation")), arguments, key)
            if isinstance(effect.target, dict) and effect.target.get("description") == _HOST:
                return self._mock_function(effect.target)
        if isinstance(effect, Record) and effect.kind == "log":
            return self._noted(effect.data)
        return None

    async def _asked_for(self, operation: str, arguments: Object, key: str) -> JSON:
        answer = _ANSWERS.get(operation)
        if answer is None:
            raise SpellRaised(f"tests have no operation {operation!r}")
        return await answer(self, arguments, key)

    async def _cast_published(self, castable: Castable, input: JSON, caller: Caller) -> Outcome:
        outcome = await self._host.cast(castable.name, input, caller=caller)
        while outcome.state == "input_required":
            outcome = await self._answered(outcome.run_id, caller)
        handle = await self._host.run(outcome.run_id, caller=caller)
        async for event in handle.events():
            if event.kind == "log":
                self._note(event.data)
        return outcome

    # -- questions

    async def _answered(self, run_id: str, caller: Caller) -> Outcome:
        """Answer the first question of a run, and return what comes of the run then."""
        handle = await self._host.run(run_id, caller=caller)
        run = await handle.record()
        question = run.questions[0]
        try:
            action, value = await self._answers.take(question)
        except LlmspellError:
            await handle.cancel()
            raise
        if action == "expire":
            self._clock.set(question.expires_at)
            async for event in handle.events(run.generation):
                if event.kind == "answer":
                    break
        else:
            await handle.answer(value, question=question.id, action=action)
        return await handle.result()

    def _asked(self, question: Question) -> None:
        """Answer what the test asks itself."""
        task = asyncio.get_running_loop().create_task(self._answer_own(question))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer_own(self, question: Question) -> None:
        try:
            action, value = await self._answers.take(question)
        except LlmspellError as error:
            self._failure = error
            if self._task is not None:
                self._task.cancel()
            return
        if action == "expire":
            self._clock.set(question.expires_at)
            return
        live = self._host.services.live
        live[question.run_id].answer(question.key, {"action": action, "value": value})
        for run in list(live.values()):
            run.settled(question, action)

    # -- the log

    async def _noted(self, data: Object) -> None:
        self._note(data)

    def _note(self, data: Object) -> None:
        level = data.get("level", "info")
        text = str(data.get("message", ""))
        self.log.append(text if level == "info" else f"{level}: {text}")

    # -- what the library asks for

    async def _cast(self, arguments: Object, key: str) -> JSON:
        performer = self._casting.performer(self._castable, _caller(arguments.get("options")))
        return await performer.perform(
            Cast(target=str(arguments.get("name")), input=arguments.get("input")), key
        )

    async def _state(self, arguments: Object, key: str) -> JSON:
        name = str(arguments.get("name"))
        castable = self._book.get(name)
        if castable is None:
            raise SpellNotFound(f"no spell named {name!r}", hint=self._book.suggest(name))
        given = cast(Object, arguments.get("arguments") or {})
        for option in ("ttl", "timeout"):
            if given.get(option) is not None:
                given[option] = _seconds(option, given[option])
        effect = read_operation(str(arguments.get("effect")), given)
        caller = _caller(arguments.get("options"))
        return await self._casting.performer(castable, caller).perform(effect, key)

    async def _now(self, arguments: Object, key: str) -> JSON:
        self._clock.set(float(arguments["time"]))
        return None

    async def _model(self, arguments: Object, key: str) -> JSON:
        self._models.script(str(arguments["name"]), cast("list[Object]", arguments["steps"]))
        return None

    async def _requests(self, arguments: Object, key: str) -> JSON:
        return self._models.requests(str(arguments["name"]))

    async def _ask(self, arguments: Object, key: str) -> JSON:
        self._answers.script(cast("list[JSON]", arguments["answers"]))
        return None

    async def _questions(self, arguments: Object, key: str) -> JSON:
        return self._answers.questions

    async def _tool(self, arguments: Object, key: str) -> JSON:
        value = arguments.get("value")

        async def answer(input: JSON) -> JSON:
            return value

        self._mock(str(arguments["name"]), answer)
        return None

    async def _mock_function(self, declaration: Object) -> JSON:
        async def answer(input: JSON) -> JSON:
            return await self._casting.call(declaration["run"], input)

        if declaration["name"] == _ASK:
            self._answers.script_function(answer)
        else:
            self._mock(str(declaration["name"]), answer)
        return None

    def _mock(self, name: str, answer: Callable[[JSON], Awaitable[JSON]]) -> None:
        calls = self._calls[name] = []

        async def recorded(input: JSON) -> JSON:
            calls.append(input)
            return await answer(input)

        self._book.mock(name, recorded)

    async def _calls_of(self, arguments: Object, key: str) -> JSON:
        return self._calls[str(arguments["name"])]


def _seconds(option: str, value: object) -> float:
    try:
        return seconds_of(value)
    except ValueError as error:
        raise SpellRaised(f"{option}: {error}") from None


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


_ANSWERS: dict[str, Callable[[_Trial, Object, str], Awaitable[JSON]]] = {
    "ask": _Trial._ask,  # pyright: ignore[reportPrivateUsage]  # its own table
    "calls": _Trial._calls_of,  # pyright: ignore[reportPrivateUsage]
    "cast": _Trial._cast,  # pyright: ignore[reportPrivateUsage]
    "model": _Trial._model,  # pyright: ignore[reportPrivateUsage]
    "now": _Trial._now,  # pyright: ignore[reportPrivateUsage]
    "questions": _Trial._questions,  # pyright: ignore[reportPrivateUsage]
    "requests": _Trial._requests,  # pyright: ignore[reportPrivateUsage]
    "state": _Trial._state,  # pyright: ignore[reportPrivateUsage]
    "tool": _Trial._tool,  # pyright: ignore[reportPrivateUsage]
}
