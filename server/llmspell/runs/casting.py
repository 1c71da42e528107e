"""One cast from its beginning to its end: the run's state, its deadline, its outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, Literal, cast

from llmspell.components.workflow import run_workflow
from llmspell.errors import (
    BudgetExhausted,
    InternalError,
    LimitWallClock,
    LlmspellError,
    RunCanceled,
    RunDiverged,
    SpellRaised,
)
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.children import Child, new_child, relay_models
from llmspell.runs.journal import Journal
from llmspell.runs.live import LiveRun
from llmspell.runs.outputs import accepted
from llmspell.runs.parking import Tree
from llmspell.runs.performing import Performer
from llmspell.runs.record import Outcome, Question, child_id, outcome_of
from llmspell.runs.scripting import Continued, ScriptSession
from llmspell.runs.services import Services
from llmspell.runs.work import Work
from llmspell.runtime.engine import ScriptContext
from llmspell.security.principals import Caller
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.reading import read_spec
from llmspell.state.store import DeletePrefix, Durability, Family
from llmspell.values import JSON, Object, dumps

log = logging.getLogger(__name__)


class Casting:
    """Performs one cast. `run` is called once, in a task of its own.

    Args:
        live: The run, in state `submitted` or `working`; another when it is resumed.
        input: The input, validated.
        parent: The casting this is a child of.
        journal: What was recorded before, and what is recorded now.
        path: What the keys of its effects begin with: for a child that shares its parent's
            script and journal, the key it is cast at.
        is_resumed: Whether the run was begun before, by this process or another.
    """

    def __init__(
        self,
        services: Services,
        live: LiveRun,
        castable: Castable,
        input: JSON,
        caller: Caller,
        *,
        journal: Journal,
        parent: Casting | None = None,
        path: str | None = None,
        is_resumed: bool = False,
    ) -> None:
        self.live = live
        self.task: asyncio.Task[Outcome] | None = None
        """The task `run` is in; set by whoever makes it, for a cast without a parent."""
        self.leaving: Literal["parked", "suspended"] | None = None
        """Why the whole tree is left although it has not ended."""
        self._wake_at: float | None = None
        self._services = services
        self._castable = castable
        self._input = input
        self._caller = caller
        self._parent = parent
        self._is_resumed = is_resumed
        self._journal = journal
        self._tree = parent._tree if parent else Tree(self._park)
        limits = services.limits
        self._budget = Budget(
            castable.spec.budget,
            parent=parent._budget if parent else None,
            calls=limits.model_calls,
            depth=limits.depth,
            tool_calls=limits.tool_calls,
            children=limits.children,
            tokens=limits.tokens,
            usd=limits.usd,
        )
        self._began = services.clock.monotonic()
        self._is_inline = parent is not None and castable.program is None
        self._own_session: ScriptSession | None = None
        self._is_opening = False
        self._opened: asyncio.Event | None = None  # set once who opens it has, or could not
        epoch = live.run.epoch
        self._work = Work(
            services,
            live,
            castable,
            caller,
            self._budget,
            journal=journal,
            tree=self._tree,
            path=path if path is not None else (f"e{epoch}" if epoch else ""),
        )
        self._performer = Performer(
            self._work,
            session=self._session,
            begin_child=self._cast_child,
            show=self._show,
            settle=self._settle,
        )

    @property
    def _root(self) -> Casting:
        return self._parent._root if self._parent else self

    @property
    def is_detached(self) -> bool:
        """Whether the spell goes on when every caller has left."""
        return self._castable.spec.detached

    async def run(self) -> Outcome:
        """Cast, record what came of it, and return it.

        Raises:
            StateError: The end could not be written; nothing was answered.
            CancelledError: The cast was stopped, and that is recorded; or its tree was left.
        """
        if self.live.run.is_final:
            return await self._repeat()
        if self._is_resumed:
            self.live.perform_again()
        if self.live.run.state == "submitted":
            self.live.enter("working")
        self._services.live[self.live.run.id] = self.live
        try:
            output, content = await self._outcome()
        except TimeoutError:
            await self._fail(
                LimitWallClock(
                    f"{self._castable.name!r} took longer than {self.live.run.seconds:g} seconds",
                    hint="give it more time (budget.seconds, --timeout, limits.cast_seconds)",
                )
            )
        except LlmspellError as error:
            await self._fail(error)
        except asyncio.CancelledError:
            await asyncio.shield(self._left() if self._root.leaving else self.stopped())
            raise
        except Exception as error:  # a fault of ours must end the run, not leave it stuck
            log.exception("cast of %s failed", self._castable.name)
            await self._fail(InternalError(f"{type(error).__name__}: {error}"))
        else:
            await self._end("completed", output=output, content=content)
        finally:
            self._performer.close()
            await self._close_session()
            if not self.live.run.is_final:  # whoever has it open still finds this very object
                self._services.opened[self.live.run.id] = self.live
            self._services.live.pop(self.live.run.id, None)
            # It leads back here: without it all of the cast is freed at once, and the garbage
            # collector has nothing to look for.
            del self._performer
            if self._root is self:
                self._tree.stop()
            if not self.live.run.is_final and self._root.leaving != "parked":
                self.live.abandon()
        return outcome_of(self.live.run)

    async def _outcome(self) -> tuple[JSON, list[Object] | None]:
        while True:
            try:
                async with self._services.clock.timeout(self._seconds_left()):
                    result = await self._result()
                if not self._is_inline and self._journal.is_replaying:
                    raise self._journal.left_over()
                return accepted(self._castable, result, self._services.limits.output_bytes)
            except Continued as continued:
                await self._renew(continued.input)

    async def _repeat(self) -> Outcome:
        """Perform a run again that has ended, for what it does to the script it shares."""
        try:
            await self._result()
        except RunDiverged:
            raise
        except LlmspellError as error:
            log.debug("run %s ends again with %s", self.live.run.id, error)
        return outcome_of(self.live.run)

    async def _renew(self, input: JSON) -> None:
        """Begin anew with another input and an empty journal."""
        if self._is_inline or self.live.run.source:
            raise SpellRaised(
                "only a published spell can be continued as new",
                hint="call ctx:continue_as_new in the run function of the spell itself",
            )
        value = self._castable.accept_input(input, limit_bytes=self._services.limits.input_bytes)
        await self._close_session()
        run = self.live.run
        run.input = self._input = value
        run.epoch += 1
        run.answers, run.worked = {}, 0.0
        self._began = self._services.clock.monotonic()
        self.live.note("resumed", {"reason": "continued"})
        await self.live.save(Durability.DURABLE, also=(DeletePrefix(Family.JOURNAL, (run.id,)),))
        self._journal = self._work.journal = self._services.journal(run.id)
        self._work.path = f"e{run.epoch}"

    def _seconds_left(self) -> float | None:
        seconds = self.live.run.seconds
        return None if seconds is None else max(0.001, seconds - self.live.run.worked)

    # -- leaving without an end

    def leave(self, why: Literal["parked", "suspended"]) -> None:
        """Let the whole tree go as it stands; its records stay, and it can be resumed."""
        if self.leaving is None and self.task is not None and not self.task.done():
            self.leaving = why
            self.task.cancel()

    def _park(self, wake_at: float | None) -> None:
        self._wake_at = wake_at
        self.leave("parked")

    async def _left(self) -> None:
        """Write what is known, so that whoever resumes the run finds it."""
        run = self.live.run
        run.worked += self._services.clock.monotonic() - self._began
        if self._root is self and self.leaving == "parked":
            run.parked, run.wake_at = True, self._wake_at
        if self.live.is_saved:
            await self._journal.flush()
            await self.live.save(Durability.DURABLE)

    # -- questions

    def _chain(self) -> list[LiveRun]:
        chain: list[LiveRun] = []
        casting: Casting | None = self
        while casting is not None:
            casting._work.acted = True
            chain.append(casting.live)
            casting = casting._parent
        return chain

    async def _show(self, question: Question) -> None:
        """Show a question at this run and all above it: their callers know those."""
        chain = self._chain()
        for live in chain:
            live.asks(question)
        await chain[0].save_with(chain[1:])

    def _settle(self, question: Question, action: str) -> None:
        if self._root.leaving:
            return  # it is asked on
        for live in self._chain():
            live.settled(question, action)

    # -- what is cast

    def _result(self) -> Awaitable[JSON]:
        if self.live.run.source:
            return self._file_result()
        castable = self._castable
        limit = castable.spec.concurrency
        # A spell that casts itself would wait for its own turn for ever.
        if limit is None or self._is_below(castable.name):
            return self._spec_result(castable)
        return self._result_in_turn(castable, limit)

    async def _result_in_turn(self, castable: Castable, limit: int) -> JSON:
        async with AsyncExitStack() as stack:
            with self._tree.busy():
                await stack.enter_async_context(self._services.turns.taken(castable.name, limit))
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
                spec.run,
                _arguments(spec, self._input),
                with_context=True,
                path=self._work.path,
                perform=self._performer.perform,
                is_first=not self._is_inline,
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
            self._work.path = "main"
            return await self._spec_result(inner)
        return cast(JSON, returned) if ended.get("has_returned") else ended.get("last")

    # -- the script

    async def _session(self) -> ScriptSession:
        if self._is_inline:
            assert self._parent is not None  # whose file declared it
            return await self._parent._session()
        while self._own_session is None:
            if self._is_opening:  # by another branch of the same cast
                if self._opened is None:
                    self._opened = asyncio.Event()
                await self._opened.wait()
                continue
            self._is_opening = True
            try:
                self._own_session = await self._open_session()
            finally:
                self._is_opening = False
                if self._opened is not None:
                    self._opened.set()
                    self._opened = None
        return self._own_session

    async def _open_session(self) -> ScriptSession:
        castable = self._castable
        assert castable.program is not None  # else a session is shared
        run = self.live.run
        script = await castable.engine.open(
            castable.program,
            castable.limits_within(self._services.script_limits),
            ScriptContext(
                run_id=run.id,
                session=run.session,
                user=run.principal,
                tenant=run.tenant,
                deadline=run.created_at + run.seconds if run.seconds is not None else None,
                now=run.created_at,
                seed=(run.seed or run.id).encode(),
                message=self._caller.message,
                steps=self._journal.steps(),
            ),
            is_child=self._parent is not None,
        )
        session = ScriptSession(script, self._journal, self._tree, self._services.pace)
        if not run.source:
            session.load(castable.declaration)
        return session

    async def _close_session(self) -> None:
        if self._own_session is not None:
            session, self._own_session = self._own_session, None
            await session.close()

    # -- children

    async def _cast_child(self, castable: Castable, input: JSON, label: str, key: str) -> Child:
        services = self._services
        is_inline = castable.program is None
        run_id = child_id(self._journal.run_id, key)
        # A run that was begun before may have begun this child: then it is that one.
        live = await services.reopen(self.live.run.tenant, run_id) if self._was_begun() else None
        is_resumed = live is not None
        if live is None:
            value = castable.accept_input(input, limit_bytes=services.limits.input_bytes)
            live = new_child(services, self.live.run, run_id, castable, value)
        else:
            value = live.run.input
            if live.run.is_final and not is_inline:
                self._budget.recharge(live.run.usage, castable.name)
                return Child(outcome_of(live.run), acted=True)
            if not is_inline and live.run.spell_version != castable.version:
                castable = await services.castable_of(live.run)
        begun: Object = {"spell": castable.name, "run_id": live.run.id, "label": label}
        self.live.note("cast.started", begun, key + "<")
        child = Casting(
            services,
            live,
            castable,
            value,
            self._caller,
            journal=self._journal if is_inline else await services.journal_of(run_id, is_resumed),
            parent=self,
            path=key if is_inline else None,
            is_resumed=is_resumed,
        )
        relay = asyncio.ensure_future(relay_models(live, self.live, after=len(live.log)))
        try:
            outcome = await child.run()
        finally:
            if not live.log.is_closed:
                relay.cancel()  # the child is left, not ended: others may follow it further
            await asyncio.gather(relay, return_exceptions=True)
            if live.run.is_final:  # else the tree is left, and the child goes on with it
                self.live.note("cast.ended", {**begun, "state": live.run.state}, key + ">")
        return Child(outcome, acted=child._work.acted or live.is_saved)

    def _was_begun(self) -> bool:
        return self._is_resumed or (self._parent is not None and self._parent._was_begun())

    # -- ends

    async def _fail(self, error: LlmspellError) -> None:
        error.with_run(self.live.run.id)
        await self._end("failed", error=error.to_value())

    async def stopped(self) -> None:
        """Record that the cast was stopped: by `run`, or for a `run` that never began.

        A task that is cancelled before its first step runs none of its code.
        """
        error = RunCanceled(f"the cast of {self._castable.name!r} was canceled")
        await self._end("canceled", error=error.with_run(self.live.run.id).to_value())

    async def _end(self, state: Any, **parts: Any) -> None:
        # What had effects must not be forgotten; a pure computation can be repeated.
        acted = self._work.acted or self.live.is_saved
        if acted and not self._is_inline:
            await self._journal.flush()
        await self.live.finish(
            state,
            usage=self._budget.spent,
            durability=Durability.DURABLE if acted else Durability.WRITTEN,
            # One for each key that somebody presses would crowd out the runs of spells.
            is_kept=acted or self._castable.spec.kind != "completion",
            **parts,
        )


def _arguments(spec: SpellSpec, input: JSON) -> tuple[JSON, ...]:
    """Return what a spec's function is called with, before its `ctx`."""
    if spec.kind == "completion":
        return (input["value"], input["context"])
    return (input,)


def _prompt(input: JSON) -> JSON:
    if isinstance(input, dict):
        table = cast(Object, input)
        if set(table) == {"prompt"}:
            return table["prompt"]
    return dumps(input)
