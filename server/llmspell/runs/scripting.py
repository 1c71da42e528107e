"""A script at work for a run: its requests are performed, its results delivered.

One session serves one cast and every function of the same file that the cast
calls, those of spells declared in that file included: each call brings the
`perform` of its own run. It knows frames and tasks; what an effect means is the
performer's part.

What a script does depends on its messages (calls and answers) and their order,
and on nothing else. So each message is marked in the journal, and a resumed
script is given the messages of before in the order of before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from llmspell.effects.effect import (
    BeginTransaction,
    CommitTransaction,
    Effect,
    ReadInTransaction,
    ScanInTransaction,
)
from llmspell.errors import InternalError, LlmspellError, OutputInvalid, RunCanceled
from llmspell.runs.effect_tasks import EffectTasks
from llmspell.runs.journal import Journal
from llmspell.runs.operations import RECORDED, read_operation
from llmspell.runs.pacing import AT_ONCE, Pace
from llmspell.runs.parking import Tree
from llmspell.runs.stop import unbroken
from llmspell.runtime.engine import Canceled, Finished, Noted, Requested, Script, ScriptEvent
from llmspell.values import JSON, FunctionRef

log = logging.getLogger(__name__)

Perform: TypeAlias = Callable[[Effect, str], Coroutine[Any, Any, Any]]
"""Performs an effect that has this key: returns its result, or raises `LlmspellError`. A `Record`
is performed without waiting for anything."""

BEGUN = "<"
"""What the mark of an effect that only began has behind its key."""


class Continued(Exception):
    """The run begins anew with `input`: raised through everything of it that is under way."""

    def __init__(self, input: JSON) -> None:
        super().__init__("the run was continued as new")
        self.input = input


class ScriptSession:
    """Drives one script until it is closed.

    Args:
        script: Fresh; `load` or `main` is called through this session.
        journal: Of the run whose script this is.
        tree: Is busy while the script computes.
        pace: At which crowds of effects are begun and ended.
    """

    def __init__(self, script: Script, journal: Journal, tree: Tree, pace: Pace) -> None:
        self._script = script
        self._journal = journal
        self._tree = tree
        self._pace = pace
        self._waiting: dict[int, asyncio.Future[JSON]] = {}
        self._performing: dict[int, Perform] = {}
        self._effects = EffectTasks(pace)
        self._held: dict[str, Callable[[float], None]] = {}
        self._queued = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._is_pumped = False
        """Whether the first caller does the pump's work: it waits for nothing else."""
        self._failure: LlmspellError | Continued | None = None
        journal.on_discard = self._give_held

    def load(self, expected: JSON) -> None:
        """Queue the top level; its declaration must equal `expected`."""
        self._script.load(expected=expected)

    async def main(self, input: JSON, *, perform: Perform) -> JSON:
        """Run the top level as a cast and return `{returned, has_returned, last}`."""

        def begin() -> int:
            self._script.main(input)
            return 0

        return await self._result("@", begin, perform)

    def call(
        self,
        function: FunctionRef,
        arguments: Sequence[JSON],
        *,
        with_context: bool,
        path: str,
        perform: Perform,
        is_first: bool = False,
    ) -> Awaitable[JSON]:
        """Call a function of the script and return its result.

        Args:
            path: What the keys of its effects begin with.
            perform: Performs the effects of this call.
            is_first: Whether nobody else can use the script before this call asks for an effect.

        Raises:
            LlmspellError: What the function raised, or the limit that ended the script.
        """

        def begin() -> int:
            return self._script.call(function, arguments, with_context=with_context, path=path)

        return self._result("@" + path, begin, perform, is_first=is_first)

    async def close(self) -> None:
        """End the script, and every effect it still waits for."""
        try:
            if self._pump is not None or not self._effects.is_idle:
                await unbroken(self._close_tasks())
        finally:  # canceled once more meanwhile: the worker must not be lost
            await self._script.close()
        # What leads back here goes, or all of it would wait for the garbage collector.
        self._pump = self._journal.on_discard = None

    async def _close_tasks(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await self._effects.close()

    async def _result(
        self, mark: str, begin: Callable[[], int], perform: Perform, *, is_first: bool = False
    ) -> JSON:
        """Begin a task of the script when it is its turn, and return what it ends with."""
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[JSON] | None = asyncio.get_running_loop().create_future()
        task: int | None = None
        # Most casts are one call, and need no task beside their own.
        is_alone = is_first and self._pump is None

        def message(_: float) -> None:
            nonlocal task
            if waiter is None or waiter.done():
                return  # whoever called has gone
            try:
                task = begin()
            except LlmspellError as error:
                waiter.set_exception(error)
                return
            self._waiting[task] = waiter
            self._performing[task] = perform
            self._queued.set()
            if not is_alone:
                self._pump_on()

        self._give(mark, message)
        try:
            if is_alone and task is not None:
                await self._pump_until(waiter)
            is_alone = False
            if not waiter.done():
                self._pump_on()
            return await waiter
        finally:
            if task is not None:
                # Whoever stops waiting, or has a result, has no use for what is still under way.
                self._waiting.pop(task, None)
                del self._performing[task]
                self._effects.end_soon(task)
            waiter = None  # it holds what was raised, which holds this frame

    async def _pump_until(self, waiter: asyncio.Future[JSON]) -> None:
        """Do the pump's work in this task until what it waits for is there."""
        self._is_pumped = True
        try:
            while True:
                await self._exchange()
                if waiter.done():
                    return
                await self._queued.wait()
                if waiter.done():
                    return
        finally:
            self._is_pumped = False
            if any(other is not waiter for other in self._waiting.values()):  # who came meanwhile
                self._pump_on()

    def _pump_on(self) -> None:
        if self._pump is None and not self._is_pumped:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self._failure is None:
            await self._queued.wait()
            if self._failure is None:
                await self._exchange()

    async def _exchange(self) -> None:
        """Give the script what is queued, and look at what it says."""
        self._queued.clear()
        try:
            self._tree.enter()
            try:
                events = await self._script.exchange()
            finally:
                self._tree.leave()
            for number, event in enumerate(events, 1):
                self._handle(event)
                if number % AT_ONCE == 0:
                    await self._pace.turn()
        except LlmspellError as error:
            self._fail(error)
        except Exception as error:  # a fault here would leave every waiter stuck
            self._fail(InternalError(f"the script session failed: {error!r}"))

    def _handle(self, event: ScriptEvent) -> None:
        if isinstance(event, Finished):
            waiter = self._waiting.pop(event.task, None)
            if waiter is None or waiter.done():
                return
            if event.ok:
                waiter.set_result(event.value)
            else:
                waiter.set_exception(_error(event.value))
        elif isinstance(event, Requested):
            perform = self._performing.get(event.task)
            if perform is None:
                return  # nobody waits for that call any more, so its script stays as it is
            if event.operation in RECORDED:
                self._record(event, perform)
                return
            task = self._effects.begin(_perform(event, perform), event.task, event.call)
            task.add_done_callback(partial(self._ended, event))
        elif isinstance(event, Noted):
            perform = self._performing.get(event.task)
            if perform is not None:
                self._effects.begin(_note(event, perform), event.task)
        elif isinstance(event, Canceled):
            self._effects.cancel(event.call)

    def _ended(self, request: Requested, effect: asyncio.Task[Any]) -> None:
        """Tell the script what came of an effect; one nobody waits for any more is not told."""
        is_unwanted = self._effects.ended(effect, request.call)
        if effect.cancelled():
            if is_unwanted and not self._is_over():
                self._journal.discard(request.key)
                told = f"{request.operation} was canceled: another branch failed"
                self._tell(request, request.key, ok=False, value=RunCanceled(told).to_value())
        elif (error := effect.exception()) is not None:
            self._tell_failure(request, error)
        elif not self._is_over():
            value, mark = effect.result()
            self._tell(request, mark, ok=True, value=value)

    def _record(self, request: Requested, perform: Perform) -> None:
        """Perform what a script says of itself: no task is needed for what waits for nothing."""
        performing = _perform(request, perform)
        try:
            performing.send(None)
        except StopIteration as ended:
            value, mark = ended.value
            if not self._is_over():
                self._tell(request, mark, ok=True, value=value)
        except Exception as error:  # whatever it is, the script is told
            self._tell_failure(request, error)
        else:
            performing.close()
            self._tell_failure(request, InternalError("a record waits for something"))

    def _is_over(self) -> bool:
        """Return whether the script is gone. It is, once its journal says something else."""
        if self._failure is None and self._journal.diverged is not None:
            self._fail(self._journal.diverged)  # no script may catch it: it would go on wrongly
        return self._failure is not None

    def _tell_failure(self, request: Requested, error: BaseException) -> None:
        if self._is_over():
            return
        if isinstance(error, Continued):
            self._fail(error)
            return
        if not isinstance(error, LlmspellError):  # the script must get an answer, or waits for ever
            error = InternalError(f"{request.operation}: {error!r}")
        self._tell(request, request.key, ok=False, value=error.to_value())

    def _tell(self, request: Requested, mark: str | None, *, ok: bool, value: JSON) -> None:
        self._give(mark, partial(self._answer, request, ok, value))

    def _answer(self, request: Requested, ok: bool, value: JSON, now: float) -> None:
        if self._failure is not None:
            return
        try:
            self._script.answer(request.call, ok=ok, value=value, now=now)
        except LlmspellError as refused:
            # The result itself cannot cross (too large): the script is told why.
            self._script.answer(request.call, ok=False, value=refused.to_value(), now=now)
        self._queued.set()

    # -- the order of messages

    def _give(self, mark: str | None, message: Callable[[float], None]) -> None:
        """Give the script a message, or hold it until it is its turn."""
        journal = self._journal
        if mark is None:
            message(journal.now())
        elif journal.next_mark is None or journal.next_mark.key == mark:
            message(journal.delivered(mark))
            if self._held:
                self._give_held()
        else:
            self._held[mark] = message

    def _give_held(self) -> None:
        journal = self._journal
        while self._held:
            following = journal.next_mark
            mark = next(iter(self._held)) if following is None else following.key
            message = self._held.pop(mark, None)
            if message is None:
                return
            message(journal.delivered(mark))

    def _fail(self, error: LlmspellError | Continued) -> None:
        self._failure = error
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()
        self._queued.set()  # whoever pumps looks at what it waits for
        self._effects.end_soon()


async def _note(note: Noted, perform: Perform) -> None:
    """Perform what nobody waits for. Its failure is the next effect's too, which tells it."""
    try:
        await perform(read_operation(note.operation, note.arguments), note.key)
    except LlmspellError as error:
        log.debug("%s failed: %s", note.operation, error)


async def _perform(request: Requested, perform: Perform) -> tuple[Any, str | None]:
    """Return the result of a request, and what its answer is marked with."""
    effect = read_operation(request.operation, request.arguments)
    result = await perform(effect, request.key)
    match effect:
        case ReadInTransaction() | ScanInTransaction():
            return result, None  # a resumed run reads what is there then
        case BeginTransaction() if not result.get("recorded"):
            return result, request.key + BEGUN
        case CommitTransaction() if not result:
            return result, None
        case _:
            return result, request.key


def _error(value: JSON) -> LlmspellError:
    if isinstance(value, dict):
        return LlmspellError.from_value(value)  # pyright: ignore[reportUnknownArgumentType]  # JSON
    return OutputInvalid(f"the script ended with {value!r}")
