"""One cast from its beginning to its end: the run's state, its deadline, its outcome."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, cast

from llmspell.components.workflow import run_workflow
from llmspell.errors import (
    BudgetExhausted,
    InternalError,
    LimitWallClock,
    LlmspellError,
    OutputInvalid,
    RunCanceled,
    RunInterrupted,
)
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.live import LiveRun
from llmspell.runs.performing import Performer
from llmspell.runs.record import Outcome, Run, new_run_id, outcome_of
from llmspell.runs.scripting import ScriptSession
from llmspell.runs.services import Services
from llmspell.runtime.engine import ScriptContext
from llmspell.security.principals import Caller
from llmspell.spec.reading import read_spec
from llmspell.state.store import Durability
from llmspell.values import JSON, Object, dumps

log = logging.getLogger(__name__)


class Casting:
    """Performs one cast. `run` is called once, in a task of its own.

    Args:
        live: The run, in state `submitted`, or `working` already.
        input: The input, validated.
        timeout: Seconds the caller gives the whole cast.
        parent: The casting this is a child of.
        session: The script a castable without a program has its functions in.
    """

    def __init__(
        self,
        services: Services,
        live: LiveRun,
        castable: Castable,
        input: JSON,
        caller: Caller,
        *,
        timeout: float | None = None,
        parent: Casting | None = None,
        session: ScriptSession | None = None,
        as_file: bool = False,
    ) -> None:
        self.live = live
        self.interrupted = False
        """Set by the host before it cancels everything to shut down."""
        self._services = services
        self._castable = castable
        self._input = input
        self._caller = caller
        self._as_file = as_file
        self._parent = parent
        limits = services.limits
        self._budget = Budget(
            castable.spec.budget,
            parent=parent._budget if parent else None,
            calls=limits.model_calls,
            depth=limits.depth,
        )
        own = castable.spec.budget.seconds
        given = [seconds for seconds in (timeout, own) if seconds is not None]
        if parent is None:
            given.append(limits.cast_seconds)
        self._seconds = min(given) if given else None
        self._shared_session = session
        self._own_session: ScriptSession | None = None
        self._opening = asyncio.Lock()
        self._performer = Performer(
            services,
            live,
            castable,
            caller,
            self._budget,
            self._session,
            self._cast_child,
        )

    async def run(self) -> Outcome:
        """Cast, record what came of it, and return it.

        Raises:
            StateError: The end could not be written; nothing was answered.
            CancelledError: The cast was stopped, and that is recorded.
        """
        if self.live.run.state != "working":
            self.live.enter("working")
        try:
            async with self._services.clock.timeout(self._seconds):
                result = await self._result()
            output, content = self._accept(result)
        except TimeoutError:
            await self._fail(
                LimitWallClock(
                    f"{self._castable.name!r} took longer than {self._seconds:g} seconds",
                    hint="give it more time (budget.seconds, --timeout, limits.cast_seconds)",
                )
            )
        except LlmspellError as error:
            await self._fail(error)
        except asyncio.CancelledError:
            await asyncio.shield(self.stopped())
            raise
        except Exception as error:  # a fault of ours must end the run, not leave it stuck
            log.exception("cast of %s failed", self._castable.name)
            await self._fail(InternalError(f"{type(error).__name__}: {error}"))
        else:
            await self._end("completed", output=output, content=content)
        finally:
            await self._close_session()
            if not self.live.run.is_final:
                self.live.abandon()
        return outcome_of(self.live.run)

    async def _result(self) -> JSON:
        if self._as_file:
            return await self._file_result()
        castable = self._castable
        # A spell that casts itself would wait for its own turn for ever.
        limit = None if self._is_below(castable.name) else castable.spec.concurrency
        async with self._services.turns.taken(castable.name, limit):
            return await self._spec_result(castable)

    def _is_below(self, name: str) -> bool:
        above = self._parent
        while above is not None:
            if above._castable.name == name:
                return True
            above = above._parent
        return False

    async def _spec_result(self, castable: Castable) -> JSON:
        spec = castable.spec
        if spec.run is not None:
            session = await self._session()
            return await session.call(
                spec.run, (self._input,), with_context=True, perform=self._performer.perform
            )
        if spec.workflow is not None:
            return await self._performer.drive(run_workflow(spec.workflow, self._input))
        assert spec.agent is not None  # a spec has exactly one of the three
        prompt = _prompt(self._input)
        result = await self._performer.run_agent(spec.agent, prompt, stream=True)
        if spec.agent.output is None:
            return result["text"]
        if result["output"] is None and result["stopped"] == "budget":
            raise BudgetExhausted(
                f"agent {spec.agent.name!r} spent its limits before it had a structured answer",
                data={"limit": "limits", "spent": result["usage"], "text": result["text"]},
            )
        return result["output"]

    async def _file_result(self) -> JSON:
        """Cast a file that is not published: its top level, then what it returned."""
        session = await self._session()
        ended = cast(Object, await session.main(self._input, perform=self._performer.perform))
        returned = ended.get("returned")
        if isinstance(returned, dict) and cast(Object, returned).get("$kind") in (
            "spell",
            "agent",
            "tool",
            "workflow",
        ):
            own = self._castable
            spec = read_spec(cast(Object, returned), own.origin, default_name=own.name)
            inner = make_castable(spec, own.origin, own.engine, unrestricted=True)
            self._castable = inner
            given = inner.filled(self._input) if isinstance(self._input, str) else self._input
            self._input = inner.accept_input(given, limit_bytes=self._services.limits.input_bytes)
            return await self._spec_result(inner)
        return cast(JSON, returned) if ended.get("has_returned") else ended.get("last")

    def _accept(self, result: JSON) -> tuple[JSON, list[Object] | None]:
        content: list[Object] | None = None
        if isinstance(result, dict) and "$content" in result:
            content = _content(cast(Object, result)["$content"])
            result = None
        own = self._castable.spec.limits.output_bytes
        limit = min(own or sys.maxsize, self._services.limits.output_bytes)
        if content is not None:
            self._castable.accept_output(content, limit_bytes=limit)
            return None, content
        return self._castable.accept_output(result, limit_bytes=limit), None

    # -- the script

    async def _session(self) -> ScriptSession:
        if self._shared_session is not None:
            return self._shared_session
        async with self._opening:
            if self._own_session is None:
                self._own_session = await self._open_session()
            return self._own_session

    async def _open_session(self) -> ScriptSession:
        castable = self._castable
        assert castable.program is not None  # else a session is shared
        now = self._services.clock.time()
        run = self.live.run
        script = await castable.engine.open(
            castable.program,
            castable.limits_within(self._services.script_limits),
            ScriptContext(
                run_id=run.id,
                session=run.session,
                user=run.principal,
                tenant=run.tenant,
                deadline=now + self._seconds if self._seconds is not None else None,
                now=now,
                seed=run.id.encode(),
                message=self._caller.message,
            ),
            is_child=self._parent is not None,
        )
        session = ScriptSession(script, self._services.clock)
        if not self._as_file:
            session.load(castable.declaration)
        return session

    async def _close_session(self) -> None:
        if self._own_session is not None:
            session, self._own_session = self._own_session, None
            await session.close()

    # -- children

    async def _cast_child(self, castable: Castable, input: JSON, label: str) -> Outcome:
        services = self._services
        value = castable.accept_input(input, limit_bytes=services.limits.input_bytes)
        now = round(services.clock.time(), 6)
        parent = self.live.run
        live = LiveRun(
            Run(
                id=new_run_id(now),
                tenant=parent.tenant,
                principal=parent.principal,
                session=parent.session,
                spell=castable.name,
                spell_version=castable.version,
                parent=parent.id,
                door="spell",
                input=value,
                created_at=now,
                updated_at=now,
            ),
            services.archive,
            services.clock,
        )
        begun: Object = {"spell": castable.name, "run_id": live.run.id, "label": label}
        self.live.note("cast.started", begun)
        child = Casting(
            services,
            live,
            castable,
            value,
            self._caller,
            parent=self,
            session=await self._session() if castable.program is None else None,
        )
        relay = asyncio.ensure_future(self._relay(live))
        try:
            outcome = await child.run()
        finally:
            await asyncio.gather(relay, return_exceptions=True)
            self.live.note("cast.ended", {**begun, "state": live.run.state})
        return outcome

    async def _relay(self, child: LiveRun) -> None:
        """Show a child's model calls and their text in the parent's log."""
        async for event in child.log.read():
            if event.kind in ("model.delta", "model.started", "model.ended"):
                data = {key: value for key, value in event.data.items() if key != "answer"}
                self.live.note(event.kind, data)

    # -- ends

    async def _fail(self, error: LlmspellError) -> None:
        error.with_run(self.live.run.id)
        await self._end("failed", error=error.to_value())

    async def stopped(self) -> None:
        """Record that the cast was stopped: by `run`, or for a `run` that never began.

        A task that is cancelled before its first step runs none of its code.
        """
        kind: type[LlmspellError] = RunInterrupted if self._is_interrupted() else RunCanceled
        what = (
            "was interrupted: llmspell was shut down" if kind is RunInterrupted else "was canceled"
        )
        error = kind(f"the cast of {self._castable.name!r} {what}")
        error.with_run(self.live.run.id)
        await self._end("failed" if kind is RunInterrupted else "canceled", error=error.to_value())

    def _is_interrupted(self) -> bool:
        return self.interrupted or (self._parent is not None and self._parent._is_interrupted())

    async def _end(self, state: Any, **parts: Any) -> None:
        # What had effects must not be forgotten; a pure computation can be repeated.
        acted = self._performer.acted or self.live.is_saved
        await self.live.finish(
            state,
            usage=self._budget.spent,
            durability=Durability.DURABLE if acted else Durability.WRITTEN,
            **parts,
        )


def _content(value: Any) -> list[Object]:
    """Return the parts of `Content.*`; a script can also write such a table by hand.

    Raises:
        OutputInvalid: They are no typed parts.
    """
    parts: list[Any] = cast("list[Any]", value) if isinstance(value, list) else []
    if not parts or not all(_is_part(part) for part in parts):
        raise OutputInvalid("'$content' is no list of content", hint="make it with Content.*")
    return parts


def _is_part(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    part = cast(Object, value)
    fields = [part.get(name) for name in ("text", "data", "uri", "media_type")]
    return part.get("type") in _CONTENT_TYPES and all(
        field is None or isinstance(field, str) for field in fields
    )


_CONTENT_TYPES = ("text", "image", "audio", "resource")


def _prompt(input: JSON) -> JSON:
    if isinstance(input, dict):
        table = cast(Object, input)
        if set(table) == {"prompt"}:
            return table["prompt"]
    return dumps(input)
