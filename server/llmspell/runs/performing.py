"""Perform what a running spell asks for.

The only module that turns effects into acts: permission, budget, deadlines,
cancelling, events and records of effects live here and nowhere else. It knows
nothing of Lua (see `runtime`) nor of any wire (see `endpoints`). One
`Performer` serves one run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, cast

import msgspec

from llmspell.components.agent import run_agent
from llmspell.components.template import render
from llmspell.effects.effect import (
    Ask,
    BeginStep,
    CallFunction,
    CallModel,
    Cast,
    ContinueAsNew,
    Describe,
    Driver,
    Effect,
    EndStep,
    Parallel,
    Record,
    RenderTemplate,
    RunAgent,
    Settled,
    Sleep,
)
from llmspell.effects.messages import ModelReply, ToolOffer
from llmspell.errors import (
    LimitWallClock,
    LlmspellError,
    SpellRaised,
    StateError,
)
from llmspell.runs.asking import Asking
from llmspell.runs.children import BeginChild, Children
from llmspell.runs.lines import Lines
from llmspell.runs.model_calls import ModelCalls
from llmspell.runs.record import Question
from llmspell.runs.scripting import Continued, ScriptSession
from llmspell.runs.state_effects import StateEffects
from llmspell.runs.targets import Targets, is_published, target_name
from llmspell.runs.work import Work
from llmspell.spec.declaration import AgentSpec
from llmspell.state.store import Durability
from llmspell.values import JSON, Object, dumps

SHORT_SECONDS = 5.0
"""A sleep up to this long keeps its process; what is longer survives a restart."""


class Performer:
    """Performs the effects of one run.

    Args:
        session: Returns the script the run's functions live in, opening it when needed.
        begin_child: Casts something as a child of this run, at a key, and returns what came of it.
        show: Shows a question of this run to a person; see `Asking`.
        settle: Takes one back.
    """

    def __init__(
        self,
        work: Work,
        *,
        session: Callable[[], Coroutine[Any, Any, ScriptSession]],
        begin_child: BeginChild,
        show: Callable[[Question], Coroutine[Any, Any, None]],
        settle: Callable[[Question, str], None],
    ) -> None:
        self._work = work
        self._session = session
        self._begin_child = begin_child
        self._show = show
        self._settle = settle
        # Made when they are needed: most runs ask for nothing.
        self._state: StateEffects | None = None
        self._targets: Targets | None = None
        self._children: Children | None = None
        self._lines: Lines | None = None

    async def drive(self, driver: Driver, path: str | None = None) -> Any:
        """Run a driver to its end: perform what it yields and send it the results.

        Args:
            path: Where in the run it stands; the run's own path when None.

        Raises:
            LlmspellError: What the driver raised.
        """
        path = self._work.path if path is None else path
        result: Any = None
        failure: LlmspellError | None = None
        number = 0
        try:
            while True:
                try:
                    effect = driver.send(result) if failure is None else driver.throw(failure)
                except StopIteration as stop:
                    return stop.value
                failure = None
                number += 1
                try:
                    result = await self.perform(effect, f"{path}:{number}")
                except LlmspellError as error:
                    failure = error
        finally:
            driver.close()

    async def perform(self, effect: Effect, key: str) -> Any:
        """Perform one effect, or recall what it came to, and return its result.

        Args:
            key: Where in the run it is asked; see `journal`.

        Raises:
            LlmspellError: Whatever went wrong, as the script or driver is told it.
        """
        performs = self._PERFORMS.get(type(effect))
        try:
            if performs is not None:
                return await performs(self, effect, key)
            if self._state is None:
                self._state = StateEffects(self._work)
            return await self._state.perform(effect, key)
        except StateError as error:
            if _is_recorded(effect):
                self._work.journal.note_unrecorded(key, error)
            raise

    def close(self) -> None:
        """Let go of what the run has left open."""
        if self._state is not None:
            self._state.close()

    # -- scripts and drivers

    async def _call_function(self, effect: CallFunction, key: str) -> JSON:
        session = await self._session()
        return await session.call(
            effect.function, effect.arguments, with_context=False, path=key, perform=self.perform
        )

    async def _parallel(self, effect: Parallel, key: str) -> list[Settled]:
        gate = asyncio.Semaphore(effect.limit or max(1, len(effect.drivers)))

        async def one(driver: Driver, path: str) -> Settled:
            async with gate:
                try:
                    return Settled(ok=True, value=await self.drive(driver, path))
                except LlmspellError as error:
                    if effect.cancel_on_failure:
                        raise
                    return Settled(ok=False, error=error.to_value())

        paths = [f"{key}.{number}" for number in range(1, len(effect.drivers) + 1)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(one(driver, path))
                    for driver, path in zip(effect.drivers, paths, strict=True)
                ]
        except* LlmspellError as failed:
            first = next(error for error in _leaves(failed) if isinstance(error, LlmspellError))
            for path in paths:
                self._work.journal.discard(
                    path
                )  # what the canceled ones did is not asked for again
            raise first from None
        finally:
            for driver in effect.drivers:
                driver.close()
        return [task.result() for task in tasks]

    async def _sleep(self, effect: Sleep, key: str) -> None:
        clock = self._work.services.clock
        name = f"{effect.seconds:g}"
        if await self._work.recall(key, "sleep", name) is not None:
            return
        if effect.seconds <= SHORT_SECONDS:
            with self._work.tree.busy():
                await clock.sleep(effect.seconds)
        else:
            await self._work.act()
            due = cast("float | None", self._work.journal.begun(key))
            if due is None:
                due = round(clock.time() + effect.seconds, 6)
                await self._work.journal.begin(key, "sleep", name, due)
            with self._work.tree.waits(due):
                await clock.sleep_until(due)
        self._work.journal.note(key, "sleep", name, None)
        await self._work.written()

    async def _begin_step(self, effect: BeginStep, key: str) -> JSON:
        row = self._work.journal.take(key, "step", effect.name)
        if row is None:
            self._work.live.note("step.started", {"name": effect.name}, key + "<")
            return {"recorded": False}
        path, _, number = key.rpartition(":")
        self._work.journal.discard(f"{path}/s{number}")
        self._work.journal.discard(key)
        if not row.record.ok:
            raise LlmspellError.from_value(cast(Object, row.record.value))
        return {"recorded": True, "value": row.record.value}

    async def _end_step(self, effect: EndStep, key: str) -> None:
        await self._work.act()
        await self._work.caught_up()
        # Its effects have their own promises; the step itself can be done again after a power cut.
        await self._work.journal.record(
            key, "step", effect.name, effect.value, durability=Durability.WRITTEN
        )
        self._work.live.note("step.ended", {"name": effect.name}, key)

    async def _continue_as_new(self, effect: ContinueAsNew, key: str) -> None:
        self._work.raise_unrecorded(key, "")
        await self._work.caught_up()
        await self._work.begin(key, "")
        raise Continued(effect.input)

    async def _render(self, effect: RenderTemplate, key: str) -> JSON:
        return render(effect.text, effect.data)

    async def _record(self, effect: Record, key: str) -> None:
        if self._lines is None:
            self._lines = Lines(self._work)
        self._lines.write(effect, key)

    # -- casting

    @property
    def _reach(self) -> Targets:
        if self._targets is None:
            self._targets = Targets(self._work)
        return self._targets

    @property
    def _family(self) -> Children:
        if self._children is None:
            self._children = Children(self._work, self._reach, self._begin_child)
        return self._children

    async def _cast(self, effect: Cast, key: str) -> JSON:
        return await self._family.perform(effect, key)

    async def _run_agent(self, effect: RunAgent, key: str) -> JSON:
        if not is_published(effect.agent):
            await self._work.begin(key, target_name(effect.agent))
            agent = self._reach.find(effect.agent).spec.agent
            if agent is None:
                raise SpellRaised(f"{target_name(effect.agent)!r} is no agent")
            return await self.run_agent(
                agent, effect.prompt, messages=effect.messages, stream=effect.stream, path=key
            )
        name = target_name(effect.agent)
        if effect.messages:
            raise SpellRaised(
                f"the agent {name!r} is published: it takes a prompt and no messages",
                hint="give messages to an agent that the same file creates",
            )
        # A published agent acts with its own rights, so it is a run of its own.
        prompt = effect.prompt if isinstance(effect.prompt, str) else dumps(effect.prompt)
        result = await self._family.cast(effect.agent, {"prompt": prompt}, name, key)
        text = result.output if isinstance(result.output, str) else dumps(result.output)
        return {
            "text": text,
            "output": None if isinstance(result.output, str) else result.output,
            "usage": result.usage.to_value(),
            "messages": [],
            "stopped": "done",
        }

    async def run_agent(
        self,
        agent: AgentSpec,
        prompt: JSON,
        *,
        messages: tuple[Object, ...] = (),
        stream: bool = False,
        path: str | None = None,
    ) -> Object:
        """Let an agent answer within its own time limit, and return what its loop returns.

        Raises:
            LimitWallClock: `limits.seconds` of the agent are over.
            LlmspellError: As the loop.
        """
        seconds = agent.limits.seconds
        path = self._work.path if path is None else path
        late = LimitWallClock(
            f"agent {agent.name!r} took longer than {seconds or 0:g} seconds",
            hint="the limit is limits.seconds of the agent",
        )
        if self._work.journal.take(path + "!", "timeout", agent.name) is not None:
            self._work.journal.discard(path)
            raise late
        loop = run_agent(agent, prompt, messages=messages, stream=stream)
        try:
            async with self._work.services.clock.timeout(seconds):
                return await self.drive(loop, path)
        except TimeoutError:
            # Recorded, or a resumed run would be done before it is late.
            self._work.journal.note(path + "!", "timeout", agent.name, None)
            raise late from None

    async def _describe(self, effect: Describe, key: str) -> list[ToolOffer]:
        name = ",".join(map(target_name, effect.targets))
        row = await self._work.recall(key, "describe", name)
        if row is not None:
            return msgspec.convert(row.record.value, list[ToolOffer])
        offers: list[ToolOffer] = []
        for target in effect.targets:
            castable = self._reach.find(target)
            offers.append(
                ToolOffer(
                    name=castable.name,
                    description=castable.spec.description or castable.spec.title,
                    input_schema=castable.spec.input,
                )
            )
        self._work.journal.note(key, "describe", name, msgspec.to_builtins(offers))
        return offers

    # -- models and questions

    async def _call_model(self, effect: CallModel, key: str) -> ModelReply:
        return await ModelCalls(self._work).perform(effect, key)

    async def _ask(self, effect: Ask, key: str) -> JSON:
        return await Asking(self._work, self._show, self._settle).perform(effect, key)

    # Of the class and not of each performer: most runs ask for one or two of these, or none.
    _PERFORMS: ClassVar[dict[type[Any], Callable[..., Coroutine[Any, Any, Any]]]] = {
        Ask: _ask,
        BeginStep: _begin_step,
        CallFunction: _call_function,
        CallModel: _call_model,
        Cast: _cast,
        ContinueAsNew: _continue_as_new,
        Describe: _describe,
        EndStep: _end_step,
        Parallel: _parallel,
        Record: _record,
        RenderTemplate: _render,
        RunAgent: _run_agent,
        Sleep: _sleep,
    }


def _is_recorded(effect: Effect) -> bool:
    """Return whether an effect has a record of its own, rather than those it is made of."""
    if isinstance(effect, Cast):
        return is_published(effect.target)
    if isinstance(effect, RunAgent):
        return is_published(effect.agent)
    return not isinstance(effect, CallFunction | ContinueAsNew | Parallel | Record | RenderTemplate)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(cast("BaseExceptionGroup[Any]", error))
        else:
            found.append(error)
    return found
