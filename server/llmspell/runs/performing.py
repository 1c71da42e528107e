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
from typing import Any, cast

from llmspell.components.agent import run_agent
from llmspell.components.template import render
from llmspell.effects.effect import (
    CallFunction,
    CallModel,
    Cast,
    DeleteState,
    Describe,
    Driver,
    Effect,
    IncrementState,
    Parallel,
    ReadState,
    Record,
    RenderTemplate,
    RunAgent,
    ScanState,
    Settled,
    Sleep,
    WriteState,
)
from llmspell.effects.messages import ModelReply, TextDelta, ToolOffer
from llmspell.errors import (
    InternalError,
    LimitError,
    LimitWallClock,
    LlmspellError,
    ModelError,
    ModelTimeout,
    NeedUndeclared,
    SpellNotFound,
    SpellRaised,
)
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Outcome
from llmspell.runs.scripting import ScriptSession
from llmspell.runs.services import Services
from llmspell.security.principals import Caller
from llmspell.spec.declaration import AgentSpec
from llmspell.spec.reading import read_spec
from llmspell.values import JSON, Object, dumps

NO_MODEL = (
    "no model is set, so scripted/echo repeats the request: set models.default in llmspell.toml, "
    "or an API key such as ANTHROPIC_API_KEY in the environment"
)
"""What a run's log says when no model answers it."""

DELTA_SECONDS = 0.05
DELTA_CHARACTERS = 1024
"""A burst of streamed text becomes one event per so many seconds or characters."""


class Performer:
    """Performs the effects of one run.

    Args:
        castable: What the run casts; its `granted` names bound what it may reach.
        session: Returns the script the run's functions live in, opening it when needed.
        begin_child: Casts something as a child of this run and returns its outcome.
    """

    def __init__(
        self,
        services: Services,
        live: LiveRun,
        castable: Castable,
        caller: Caller,
        budget: Budget,
        session: Callable[[], Coroutine[Any, Any, ScriptSession]],
        begin_child: Callable[[Castable, JSON, str], Coroutine[Any, Any, Outcome]],
    ) -> None:
        self._services = services
        self._live = live
        self._castable = castable
        self._caller = caller
        self._budget = budget
        self._session = session
        self._begin_child = begin_child
        self._records = self._record_bytes = 0
        self._model_calls = 0
        self.acted = False
        """Whether the run did anything beyond computing."""

    async def drive(self, driver: Driver) -> Any:
        """Run a driver to its end and return what it returns."""
        result: Any = None
        failure: LlmspellError | None = None
        try:
            while True:
                try:
                    effect = driver.send(result) if failure is None else driver.throw(failure)
                except StopIteration as stop:
                    return stop.value
                failure = None
                try:
                    result = await self.perform(effect)
                except LlmspellError as error:
                    failure = error
        finally:
            driver.close()

    async def perform(self, effect: Effect) -> Any:
        """Perform one effect and return its result.

        Raises:
            LlmspellError: Whatever went wrong, as the script or driver is told it.
        """
        handler = _HANDLERS.get(type(effect))
        if handler is None:
            raise InternalError(f"nothing performs {type(effect).__name__}")
        return await handler(self, effect)

    async def _act(self) -> None:
        """Note that the run acts: from here on a crash must leave its trace."""
        if not self.acted:
            self.acted = True
            if not self._live.is_saved:
                await self._live.save()
        if self._live.failure is not None:
            raise InternalError(f"the run cannot be recorded: {self._live.failure}")

    # -- scripts and drivers

    async def _call_function(self, effect: CallFunction) -> JSON:
        session = await self._session()
        return await session.call(
            effect.function, effect.arguments, with_context=False, perform=self.perform
        )

    async def _parallel(self, effect: Parallel) -> list[Settled]:
        gate = asyncio.Semaphore(effect.limit or max(1, len(effect.drivers)))

        async def one(driver: Driver) -> Settled:
            async with gate:
                try:
                    return Settled(ok=True, value=await self.drive(driver))
                except LlmspellError as error:
                    if effect.cancel_on_failure:
                        raise
                    return Settled(ok=False, error=error.to_value())

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(driver)) for driver in effect.drivers]
        except* LlmspellError as failed:
            first = next(error for error in _leaves(failed) if isinstance(error, LlmspellError))
            raise first from None
        finally:
            for driver in effect.drivers:
                driver.close()
        return [task.result() for task in tasks]

    async def _sleep(self, effect: Sleep) -> None:
        await self._act()
        await self._services.clock.sleep(effect.seconds)

    async def _render(self, effect: RenderTemplate) -> JSON:
        return render(effect.text, effect.data)

    async def _record(self, effect: Record) -> None:
        self._records += 1
        own = self._castable.spec.limits.log_events
        limit = min(own or sys.maxsize, self._services.limits.log_events)
        if self._records > limit:
            raise LimitError(
                f"the run wrote more than {limit} log lines and parts",
                hint="write less, or raise the setting limits.log_events",
                data={"limit": "limits.log_events"},
            )
        self._record_bytes += len(dumps(effect.data))
        limit = self._services.limits.log_bytes
        if self._record_bytes > limit:
            raise LimitError(
                f"the run wrote more than {limit} bytes of log lines and parts",
                hint="write less, or raise limits.log_bytes",
            )
        self._live.note(effect.kind, effect.data)

    # -- casting

    async def _cast(self, effect: Cast) -> JSON:
        await self._act()
        castable = self._resolve(effect.target)
        self._budget.enter(castable.name)
        label = effect.label or castable.name
        outcome = await self._begin_child(castable, effect.input, label)
        if outcome.error is not None:
            raise _of_child(outcome.error)
        if outcome.content is not None:
            return {"content": outcome.content}
        return outcome.output

    async def _run_agent(self, effect: RunAgent) -> JSON:
        await self._act()
        castable = self._resolve(effect.agent)
        agent = castable.spec.agent
        if agent is None:
            raise SpellRaised(f"{castable.name!r} is no agent")
        if castable.program is None:
            return await self.run_agent(
                agent, effect.prompt, messages=effect.messages, stream=effect.stream
            )
        if effect.messages:
            raise SpellRaised(
                f"the agent {castable.name!r} is published: it takes a prompt and no messages",
                hint="give messages to an agent that the same file creates",
            )
        # A published agent acts with its own rights, so it is a run of its own.
        self._budget.enter(castable.name)
        prompt = effect.prompt if isinstance(effect.prompt, str) else dumps(effect.prompt)
        outcome = await self._begin_child(castable, {"prompt": prompt}, castable.name)
        if outcome.error is not None:
            raise _of_child(outcome.error)
        text = outcome.output if isinstance(outcome.output, str) else dumps(outcome.output)
        return {
            "text": text,
            "output": None if isinstance(outcome.output, str) else outcome.output,
            "usage": outcome.usage.to_value(),
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
    ) -> Object:
        """Let an agent answer within its own time limit, and return what its loop returns.

        Raises:
            LimitWallClock: `limits.seconds` of the agent are over.
            LlmspellError: As the loop.
        """
        seconds = agent.limits.seconds
        try:
            async with self._services.clock.timeout(seconds):
                return await self.drive(run_agent(agent, prompt, messages=messages, stream=stream))
        except TimeoutError:
            raise LimitWallClock(
                f"agent {agent.name!r} took longer than {seconds:g} seconds",
                hint="the limit is limits.seconds of the agent",
            ) from None

    async def _describe(self, effect: Describe) -> list[ToolOffer]:
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
        return offers

    def _resolve(self, target: str | Object) -> Castable:
        if isinstance(target, str):
            return self._named(target)
        own = self._castable
        if target.get("$kind") == "ref":
            return self._equipped(self._named(str(target["name"])), target.get("tools"))
        spec = read_spec(target, own.origin, default_name="inline")
        inline = make_castable(spec, own.origin, own.engine)
        # A declaration made in the middle of a cast grants itself nothing.
        return replace(inline, granted=own.granted, owner=own.state_name)

    def _named(self, name: str) -> Castable:
        granted = self._castable.granted
        if granted is not None and name not in granted:
            raise NeedUndeclared(
                f"{self._castable.name!r} casts {name!r}, which it does not declare",
                hint=f'declare it: needs = {{ tools = {{ "{name}" }} }}',
            )
        found = self._services.find(name)
        if found is None:
            raise SpellNotFound(
                f"there is no spell, agent or tool {name!r}", hint=self._services.suggest(name)
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

    # -- models

    async def _call_model(self, effect: CallModel) -> ModelReply:
        await self._act()
        self._budget.before_call()
        model = self._services.models.resolve(effect.request.model).full_name
        started: Object = {"model": model, "source": effect.source}
        self._live.note("model.started", started)
        if not effect.request.model and self._services.models.is_fallback:
            self._live.note("log", {"level": "warn", "message": NO_MODEL})
        deltas = _Deltas(self._live, effect.source, answer=effect.stream)
        reply: ModelReply | None = None
        timeout = self._services.model_settings.timeout_seconds
        self._model_calls += 1
        stream = self._services.models.stream(
            effect.request, idempotency_key=f"{self._live.run.id}-{self._model_calls}"
        )
        try:
            async with self._services.clock.timeout(timeout):
                async for event in stream:
                    if isinstance(event, TextDelta):
                        deltas.add(event.text)
                    else:
                        reply = event
        except TimeoutError:
            raise ModelTimeout(
                f"{model!r} did not answer within {timeout:g} seconds",
                hint="the limit is the setting models.timeout_seconds",
            ) from None
        finally:
            deltas.flush()
            await stream.aclose()
        if reply is None:
            raise ModelError(f"{model!r} ended without an answer")
        self._live.note(
            "model.ended",
            {
                "model": reply.model or model,
                "source": effect.source,
                "finish": reply.finish,
                "usage": reply.usage.to_value(),
            },
        )
        self._budget.charge(reply.usage, reply.model or model)
        return reply

    # -- state

    async def _read_state(self, effect: ReadState) -> JSON:
        return await self._services.scopes.get(
            self._caller, self._castable.state_name, effect.scope, effect.key
        )

    async def _write_state(self, effect: WriteState) -> JSON:
        await self._act()
        return await self._services.scopes.set(
            self._caller,
            self._castable.state_name,
            effect.scope,
            effect.key,
            effect.value,
            if_version=effect.if_version,
        )

    async def _delete_state(self, effect: DeleteState) -> JSON:
        await self._act()
        return await self._services.scopes.delete(
            self._caller,
            self._castable.state_name,
            effect.scope,
            effect.key,
            if_version=effect.if_version,
        )

    async def _increment_state(self, effect: IncrementState) -> JSON:
        await self._act()
        return await self._services.scopes.increment(
            self._caller, self._castable.state_name, effect.scope, effect.key, by=effect.by
        )

    async def _scan_state(self, effect: ScanState) -> JSON:
        return await self._services.scopes.scan(
            self._caller,
            self._castable.state_name,
            effect.scope,
            effect.prefix,
            after=effect.after,
            limit=effect.limit,
            reverse=effect.reverse,
        )


_HANDLERS: dict[type[Any], Callable[[Performer, Any], Coroutine[Any, Any, Any]]] = {
    CallFunction: Performer._call_function,  # pyright: ignore[reportPrivateUsage]  # its own table
    CallModel: Performer._call_model,  # pyright: ignore[reportPrivateUsage]
    Cast: Performer._cast,  # pyright: ignore[reportPrivateUsage]
    DeleteState: Performer._delete_state,  # pyright: ignore[reportPrivateUsage]
    Describe: Performer._describe,  # pyright: ignore[reportPrivateUsage]
    IncrementState: Performer._increment_state,  # pyright: ignore[reportPrivateUsage]
    Parallel: Performer._parallel,  # pyright: ignore[reportPrivateUsage]
    ReadState: Performer._read_state,  # pyright: ignore[reportPrivateUsage]
    Record: Performer._record,  # pyright: ignore[reportPrivateUsage]
    RenderTemplate: Performer._render,  # pyright: ignore[reportPrivateUsage]
    RunAgent: Performer._run_agent,  # pyright: ignore[reportPrivateUsage]
    ScanState: Performer._scan_state,  # pyright: ignore[reportPrivateUsage]
    Sleep: Performer._sleep,  # pyright: ignore[reportPrivateUsage]
    WriteState: Performer._write_state,  # pyright: ignore[reportPrivateUsage]
}


class _Deltas:
    """Coalesces streamed text into events."""

    def __init__(self, live: LiveRun, source: str, *, answer: bool) -> None:
        self._live = live
        self._source = source
        self._answer = answer
        self._text: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        self._text.append(text)
        self._size += len(text)
        if self._size >= DELTA_CHARACTERS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELTA_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._text:
            data: Object = {"text": "".join(self._text), "source": self._source}
            if self._answer:
                data["answer"] = True
            self._live.note("model.delta", data)
            self._text.clear()
            self._size = 0


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
