"""Perform what a running spell asks for.

The only module that turns effects into acts: permission, budget, deadlines,
cancelling, events and records of effects live here and nowhere else. It knows
nothing of Lua (see `runtime`) nor of any wire (see `endpoints`). One
`Performer` serves one run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, cast

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
from llmspell.effects.messages import ModelReply, ToolOffer, Usage
from llmspell.errors import (
    LimitError,
    LimitWallClock,
    LlmspellError,
    NeedUndeclared,
    SpellNotFound,
    SpellRaised,
)
from llmspell.runs.asking import Asking, check_client
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.model_calls import ModelCalls
from llmspell.runs.record import Outcome, Question
from llmspell.runs.scripting import Continued, ScriptSession
from llmspell.runs.state_effects import StateEffects
from llmspell.runs.work import Work
from llmspell.spec.declaration import AgentSpec
from llmspell.spec.reading import read_spec
from llmspell.state.store import Durability
from llmspell.values import JSON, Object, canonical, dumps

INLINE_KEPT = 64
"""Declarations of one run that are kept ready: checking one costs more than all else of a call."""

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
        begin_child: Callable[[Castable, JSON, str, str], Coroutine[Any, Any, Child]],
        show: Callable[[Question], Coroutine[Any, Any, None]],
        settle: Callable[[Question, str], None],
    ) -> None:
        self._work = work
        self._session = session
        self._begin_child = begin_child
        self._show = show
        self._settle = settle
        self._state = StateEffects(work)
        self._records = self._record_bytes = 0
        self._inline: dict[bytes, Castable] = {}

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
        if performs is not None:
            return await performs(self, effect, key)
        return await self._state.perform(effect, key)

    def close(self) -> None:
        """Let go of what the run has left open."""
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
        await self._work.caught_up()
        await self._work.act()
        raise Continued(effect.input)

    async def _render(self, effect: RenderTemplate, key: str) -> JSON:
        return render(effect.text, effect.data)

    async def _record(self, effect: Record, key: str) -> None:
        if effect.kind == "notice" or "list" in effect.data:
            check_client(self._work.live.run)
        self._records += 1
        own = self._work.castable.spec.limits.log_events
        limit = min(own or sys.maxsize, self._work.services.limits.log_events)
        if self._records > limit:
            raise LimitError(
                f"the run wrote more than {limit} log lines and parts",
                hint="write less, or raise the setting limits.log_events",
                data={"limit": "limits.log_events"},
            )
        self._record_bytes += len(dumps(effect.data))
        limit = self._work.services.limits.log_bytes
        if self._record_bytes > limit:
            raise LimitError(
                f"the run wrote more than {limit} bytes of log lines and parts",
                hint="write less, or raise limits.log_bytes",
            )
        self._work.live.note(effect.kind, effect.data, key)
        if effect.kind == "changed" and "list" in effect.data:
            self._work.services.list_changed(effect.data["list"])
        elif effect.kind == "changed":
            self._work.services.resource_changed(self._work.live.run.tenant, effect.data["uri"])

    # -- casting

    async def _cast(self, effect: Cast, key: str) -> JSON:
        label = effect.label or _target_name(effect.target)
        outcome = await self._child(
            effect.target, effect.input, label, key, tool_call=effect.tool_call
        )
        if outcome.content is not None:
            return {"content": outcome.content}
        return outcome.output

    async def _child(
        self, target: str | Object, input: JSON, label: str, key: str, *, tool_call: bool = False
    ) -> _ChildResult:
        """Cast something and return what came of it.

        A published spell has a journal of its own, so only its end is recorded. What this file
        declares works in this run's script: it is performed again, its effects are recalled.
        """
        if not _is_published(target):
            await self._work.act()
            castable = self._resolve(target)
            self._work.budget.enter(castable.name, tool_call=tool_call)
            child = await self._begin_child(castable, input, label, key)
            return _result_of(child.outcome)
        name = _target_name(target)
        row = await self._work.recall(key, "cast", name)
        if row is not None:
            result = msgspec.convert(row.record.value, _ChildResult)
            self._work.budget.recharge(result.usage, children=1, tool_calls=int(tool_call))
            return result
        await self._work.act()
        await self._work.journal.flush()
        acted = False
        try:
            castable = self._resolve(target)
            self._work.budget.enter(castable.name, tool_call=tool_call)
            child = await self._begin_child(castable, input, label, key)
            acted = child.acted
            result = _result_of(child.outcome)
        except LlmspellError as error:
            await self._note_end(key, name, error.to_value(), ok=False, acted=acted)
            raise
        value = msgspec.to_builtins(result)
        await self._note_end(key, name, value, ok=True, acted=acted)
        return result

    async def _note_end(self, key: str, name: str, value: JSON, *, ok: bool, acted: bool) -> None:
        if acted:
            await self._work.journal.record(key, "cast", name, value, ok=ok)
            return
        # What did nothing can be done again: its end is written with what comes next.
        self._work.journal.note(key, "cast", name, value, ok=ok)
        if self._work.journal.is_heavy:
            await self._work.journal.flush()

    async def _run_agent(self, effect: RunAgent, key: str) -> JSON:
        if not _is_published(effect.agent):
            await self._work.act()
            agent = self._resolve(effect.agent).spec.agent
            if agent is None:
                raise SpellRaised(f"{_target_name(effect.agent)!r} is no agent")
            return await self.run_agent(
                agent, effect.prompt, messages=effect.messages, stream=effect.stream, path=key
            )
        name = _target_name(effect.agent)
        if effect.messages:
            raise SpellRaised(
                f"the agent {name!r} is published: it takes a prompt and no messages",
                hint="give messages to an agent that the same file creates",
            )
        # A published agent acts with its own rights, so it is a run of its own.
        prompt = effect.prompt if isinstance(effect.prompt, str) else dumps(effect.prompt)
        result = await self._child(effect.agent, {"prompt": prompt}, name, key)
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
        name = ",".join(map(_target_name, effect.targets))
        row = await self._work.recall(key, "describe", name)
        if row is not None:
            return msgspec.convert(row.record.value, list[ToolOffer])
        offers: list[ToolOffer] = []
        for target in effect.targets:
            castable = self._resolve(target)
            offers.append(
                ToolOffer(
                    name=castable.name,
                    description=castable.spec.description or castable.spec.title,
                    input_schema=castable.spec.input,
                )
            )
        self._work.journal.note(key, "describe", name, msgspec.to_builtins(offers))
        return offers

    def _resolve(self, target: str | Object) -> Castable:
        if isinstance(target, str):
            return self._named(target)
        own = self._work.castable
        if target.get("$kind") == "ref":
            return self._equipped(self._named(str(target["name"])), target.get("tools"))
        declared = canonical(target)
        known = self._inline.get(declared)
        if known is None:
            spec = read_spec(target, own.origin, default_name="inline")
            inline = make_castable(spec, own.origin, own.engine)
            # A declaration made in the middle of a cast grants itself nothing.
            known = replace(inline, granted=own.granted, owner=own.state_name)
            if len(self._inline) < INLINE_KEPT:
                self._inline[declared] = known
        return known

    def _named(self, name: str) -> Castable:
        granted = self._work.castable.granted
        if granted is not None and name not in granted:
            raise NeedUndeclared(
                f"{self._work.castable.name!r} casts {name!r}, which it does not declare",
                hint=f'declare it: needs = {{ tools = {{ "{name}" }} }}',
            )
        found = self._work.services.find(name)
        if found is None:
            raise SpellNotFound(
                f"there is no spell, agent or tool {name!r}", hint=self._work.services.suggest(name)
            )
        return found

    def _equipped(self, castable: Castable, tools: JSON) -> Castable:
        """Return a published agent with other tools, which the step that names it grants."""
        if tools is None:
            return castable
        agent = castable.spec.agent
        if agent is None:
            raise SpellRaised(f"{castable.name!r} is no agent, so it takes no tools")
        names = tuple(self._named(str(tool)).name for tool in cast("list[JSON]", tools))
        spec = castable.spec.model_copy(update={"agent": agent.model_copy(update={"tools": names})})
        granted = None if castable.granted is None else castable.granted | set(names)
        return replace(castable, spec=spec, granted=granted)

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


class Child(NamedTuple):
    """What came of a child."""

    outcome: Outcome
    acted: bool
    """Whether it did what a repetition would do again."""


class _ChildResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is recorded of a child that completed."""

    output: JSON = None
    content: list[Object] | None = None
    usage: Usage = Usage()


def _result_of(outcome: Outcome) -> _ChildResult:
    if outcome.error is not None:
        raise _of_child(outcome.error)
    return _ChildResult(output=outcome.output, content=outcome.content, usage=outcome.usage)


def _is_published(target: str | Object) -> bool:
    return isinstance(target, str) or target.get("$kind") == "ref"


def _target_name(target: str | Object) -> str:
    return target if isinstance(target, str) else str(target.get("name") or "inline")


def _of_child(value: Object) -> LlmspellError:
    """Return the error of a child as its parent meets it.

    Without the child's run id, which the log has: an error names the run it ended,
    and that is now the parent, unless it catches the error.
    """
    error = LlmspellError.from_value(value)
    error.run_id = None
    return error


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(cast("BaseExceptionGroup[Any]", error))
        else:
            found.append(error)
    return found
