"""One cast from its beginning to its end: the run's state, its deadline, its outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Literal, cast

from llmspell.errors import (
    InternalError,
    LimitWallClock,
    LlmspellError,
    RunCanceled,
    RunDiverged,
    SpellRaised,
)
from llmspell.runs.budget import Budget
from llmspell.runs.castable import Castable
from llmspell.runs.children import (
    Child,
    charge_again,
    new_child,
    relay_models,
    was_cut_short,
)
from llmspell.runs.journal import Journal
from llmspell.runs.live import LiveRun
from llmspell.runs.outputs import accepted
from llmspell.runs.own_script import OwnScript
from llmspell.runs.parking import Tree
from llmspell.runs.performing import Performer
from llmspell.runs.record import Outcome, Question, child_id, outcome_of
from llmspell.runs.scripting import Continued
from llmspell.runs.services import Services
from llmspell.runs.spell_body import perform_body, returned_castable
from llmspell.runs.stop import Stop, unbroken
from llmspell.runs.stored_trees import stop_below
from llmspell.runs.work import Work
from llmspell.security.principals import Caller
from llmspell.state.store import DeletePrefix, Durability, Family
from llmspell.values import JSON, Object

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
        self._is_told = False
        self._wake_at: float | None = None
        self._services = services
        self._castable = castable
        self._input = input
        self._caller = caller
        self._parent = parent
        self._is_resumed = is_resumed
        self._was_begun = is_resumed or (parent is not None and parent._was_begun)
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
        if is_resumed and not self._is_inline:
            journal.on_lost = partial(charge_again, self._budget)
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
        # What its parent's file declares lives in the parent's script.
        self._script = (
            parent._script
            if parent is not None and castable.program is None
            else OwnScript(self._work, is_child=parent is not None)
        )
        self._performer = Performer(
            self._work,
            session=self._script.session,
            begin_child=self._cast_child,
            show=self._show,
            settle=self._settle,
        )

    @property
    def _root(self) -> Casting:
        return self._parent._root if self._parent else self

    def _above(self) -> Iterator[Casting]:
        casting = self._parent
        while casting is not None:
            yield casting
            casting = casting._parent

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
            await unbroken(self._left() if self._root.leaving else self.stopped())
            raise
        except Exception as error:  # a fault of ours must end the run, not leave it stuck
            log.exception("cast of %s failed", self._castable.name)
            await self._fail(InternalError(f"{type(error).__name__}: {error}"))
        else:
            await self._end("completed", output=output, content=content)
        finally:
            self._performer.close()
            try:
                if not self._is_inline:  # else the script is another's
                    await self._script.close()
            finally:  # canceled meanwhile: the run has ended, or is left, all the same
                self._let_go()
        return outcome_of(self.live.run)

    def _let_go(self) -> None:
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
        await self._script.close()
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
        if self._tell():
            self.leaving = why

    def cancel(self) -> None:
        """Stop a cast without a parent, and everything it began."""
        self._tell()

    def _tell(self) -> bool:
        """Cancel the task, once: a second time would hit it while it puts things in order."""
        if self._is_told or self.task is None or self.task.done():
            return False
        self._is_told = True
        self.task.cancel()
        return True

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
        chain = [self, *self._above()]
        for casting in chain:
            casting._work.acted = True
        return [casting.live for casting in chain]

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
        if limit is None or any(each._castable.name == castable.name for each in self._above()):
            return self._spec_result(castable)
        return self._result_in_turn(castable, limit)

    async def _result_in_turn(self, castable: Castable, limit: int) -> JSON:
        async with AsyncExitStack() as stack:
            with self._tree.busy():
                await stack.enter_async_context(self._services.turns.taken(castable.name, limit))
            return await self._spec_result(castable)

    def _spec_result(self, castable: Castable) -> Awaitable[JSON]:
        return perform_body(
            castable.spec,
            self._input,
            performer=self._performer,
            script=self._script,
            path=self._work.path,
            is_first=not self._is_inline,
        )

    async def _file_result(self) -> JSON:
        """Cast a file that is not published: its top level, then what it returned."""
        session = await self._script.session()
        ended = cast(Object, await session.main(self._input, perform=self._performer.perform))
        inner = returned_castable(ended.get("returned"), self._castable)
        if inner is not None:
            self._castable = inner
            given = inner.filled(self._input) if isinstance(self._input, str) else self._input
            self._input = inner.accept_input(given, limit_bytes=self._services.limits.input_bytes)
            self._work.path = "main"
            return await self._spec_result(inner)
        return ended.get("returned") if ended.get("has_returned") else ended.get("last")

    # -- children

    async def _cast_child(self, castable: Castable, input: JSON, label: str, key: str) -> Child:
        services = self._services
        is_inline = castable.program is None
        run_id = child_id(self._journal.run_id, key)
        # A run that was begun before may have begun this child: then it is that one.
        live = await services.reopen(self.live.run.tenant, run_id) if self._was_begun else None
        is_resumed = live is not None
        if (ending := services.ending.get(run_id)) is not None:  # it is stopped at this moment
            with self._tree.busy():
                await ending.wait()
        if live is None:
            value = castable.accept_input(input, limit_bytes=services.limits.input_bytes)
            live = new_child(services, self.live.run, run_id, castable, value)
        elif is_inline and was_cut_short(live.run):
            self._journal.discard(key)
            return Child.of(live.run, acted=True)
        elif live.run.is_final and not is_inline:
            run = live.run
            self._budget.recharge(run.usage, children=run.children, tool_calls=run.tool_calls)
            return Child.of(run, acted=True)
        elif not is_inline and live.run.spell_version != castable.version:
            castable = await services.castable_of(live.run)
        begun: Object = {"spell": castable.name, "run_id": live.run.id, "label": label}
        self.live.note("cast.started", begun, key + "<")
        child = Casting(
            services,
            live,
            castable,
            live.run.input,
            self._caller,
            journal=self._journal if is_inline else await services.journal_of(run_id, is_resumed),
            parent=self,
            path=key if is_inline else None,
            is_resumed=is_resumed,
        )
        relay = asyncio.ensure_future(relay_models(live, self.live, after=len(live.log)))
        stop = services.stops[run_id] = Stop()
        try:
            with stop:
                await child.run()
        finally:
            del services.stops[run_id]
            if not live.log.is_closed:
                relay.cancel()  # the child is left, not ended: others may follow it further
            await asyncio.gather(relay, return_exceptions=True)
            if is_inline and was_cut_short(live.run):
                self._journal.discard(key)  # what it did before it need not be asked for again
            if live.run.is_final:  # else the tree is left, and the child goes on with it
                self.live.note("cast.ended", {**begun, "state": live.run.state}, key + ">")
        return Child.of(live.run, acted=child._work.acted or live.is_saved)

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
            self._journal.drop()
            await self._journal.flush()
        if self._is_resumed and state != "completed":
            # What it had begun and has not come to again.
            left = await stop_below(self._services, self.live.run.id)
            self._budget.recharge(left.usage, children=left.children, tool_calls=left.tool_calls)
        await self.live.finish(
            state,
            usage=self._budget.spent,
            children=self._budget.children,
            tool_calls=self._budget.tool_calls,
            durability=Durability.DURABLE if acted else Durability.WRITTEN,
            # One for each key that somebody presses would crowd out the runs of spells.
            is_kept=acted or self._castable.spec.kind != "completion",
            **parts,
        )
