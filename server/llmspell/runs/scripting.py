"""A script at work for a run: its requests are performed, its results delivered.

One session serves one cast and every function of the same file that the cast
calls, those of spells declared in that file included: each call brings the
`perform` of its own run. It knows frames and tasks; what an effect means is the
performer's part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from llmspell.clock import Clock
from llmspell.effects.effect import Effect
from llmspell.errors import InternalError, LlmspellError, OutputInvalid, RunCanceled
from llmspell.runs.operations import read_operation
from llmspell.runtime.engine import Canceled, Finished, Requested, Script, ScriptEvent
from llmspell.values import JSON, FunctionRef

Perform: TypeAlias = Callable[[Effect], Coroutine[Any, Any, Any]]

EVENTS_AT_ONCE = 50
"""Effects begun, or ended, before other casts get a turn of the event loop."""


class ScriptSession:
    """Drives one script until it is closed.

    Args:
        script: Fresh; `load` or `main` is called through this session.
    """

    def __init__(self, script: Script, clock: Clock) -> None:
        self._script = script
        self._clock = clock
        self._waiting: dict[int, asyncio.Future[JSON]] = {}
        self._performing: dict[int, Perform] = {}
        self._effects: dict[asyncio.Task[Any], int] = {}
        self._open: dict[int, asyncio.Task[Any]] = {}
        self._unwanted: set[int] = set()
        self._enders: set[asyncio.Task[None]] = set()
        self._queued = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._failure: LlmspellError | None = None

    def load(self, expected: JSON) -> None:
        """Queue the top level; its declaration must equal `expected`."""
        self._script.load(expected=expected)

    async def main(self, input: JSON, *, perform: Perform) -> JSON:
        """Run the top level as a cast and return `{returned, has_returned, last}`."""
        self._script.main(input)
        return await self._result(0, perform)

    async def call(
        self,
        function: FunctionRef,
        arguments: Sequence[JSON],
        *,
        with_context: bool,
        perform: Perform,
    ) -> JSON:
        """Call a function of the script and return its result.

        Args:
            perform: Performs the effects of this call: returns the result of one, or
                raises `LlmspellError`.

        Raises:
            LlmspellError: What the function raised, or the limit that ended the script.
        """
        task = self._script.call(function, arguments, with_context=with_context)
        return await self._result(task, perform)

    async def close(self) -> None:
        """End the script, and every effect it still waits for."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await _end([*self._effects])
        await asyncio.gather(*self._enders, return_exceptions=True)
        await self._script.close()

    async def _result(self, task: int, perform: Perform) -> JSON:
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[JSON] = asyncio.get_running_loop().create_future()
        self._waiting[task] = waiter
        self._performing[task] = perform
        self._queued.set()
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())
        try:
            return await waiter
        finally:
            # Whoever stops waiting, or has a result, has no use for what is still under way.
            self._waiting.pop(task, None)
            del self._performing[task]
            self._end_soon([effect for effect, root in self._effects.items() if root == task])

    async def _run(self) -> None:
        try:
            while True:
                await self._queued.wait()
                self._queued.clear()
                for number, event in enumerate(await self._script.exchange(), 1):
                    self._handle(event)
                    if number % EVENTS_AT_ONCE == 0:
                        await asyncio.sleep(0)  # thousands of effects must not hold up others
        except LlmspellError as error:
            self._fail(error)
        except asyncio.CancelledError:
            raise
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
            task = asyncio.get_running_loop().create_task(_perform(event, perform))
            self._effects[task] = event.task
            self._open[event.call] = task
            task.add_done_callback(partial(self._answer, event))
        elif isinstance(event, Canceled) and event.call in self._open:
            self._unwanted.add(event.call)
            self._open[event.call].cancel()

    def _answer(self, request: Requested, effect: asyncio.Task[Any]) -> None:
        """Tell the script what came of an effect; one nobody waits for any more is not told."""
        del self._effects[effect], self._open[request.call]
        is_unwanted = request.call in self._unwanted
        self._unwanted.discard(request.call)
        if self._failure is not None:
            return  # the script is gone
        ok, value = False, None
        if effect.cancelled():
            if not is_unwanted:
                return
            value = RunCanceled(
                f"{request.operation} was canceled: another branch failed"
            ).to_value()
        elif (error := effect.exception()) is None:
            ok, value = True, effect.result()
        elif isinstance(error, LlmspellError):
            value = error.to_value()
        else:  # the script must get an answer, or it waits for ever
            value = InternalError(f"{request.operation}: {error!r}").to_value()
        try:
            self._script.answer(request.call, ok=ok, value=value, now=self._clock.time())
        except LlmspellError as refused:
            # The result itself cannot cross (too large): the script is told why.
            self._script.answer(
                request.call, ok=False, value=refused.to_value(), now=self._clock.time()
            )
        self._queued.set()

    def _fail(self, error: LlmspellError) -> None:
        self._failure = error
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()
        self._end_soon([*self._effects])

    def _end_soon(self, effects: list[asyncio.Task[Any]]) -> None:
        for effect in effects[:EVENTS_AT_ONCE]:
            effect.cancel()
        if len(effects) > EVENTS_AT_ONCE:
            ender = asyncio.get_running_loop().create_task(_end(effects[EVENTS_AT_ONCE:]))
            self._enders.add(ender)
            ender.add_done_callback(self._enders.discard)


async def _end(effects: list[asyncio.Task[Any]]) -> None:
    """Cancel effects and wait for their ends, some at a time: each end takes a turn of the loop."""
    for start in range(0, len(effects), EVENTS_AT_ONCE):
        some = effects[start : start + EVENTS_AT_ONCE]
        for effect in some:
            effect.cancel()
        await asyncio.gather(*some, return_exceptions=True)


async def _perform(request: Requested, perform: Perform) -> Any:
    return await perform(read_operation(request.operation, request.arguments))


def _error(value: JSON) -> LlmspellError:
    if isinstance(value, dict):
        return LlmspellError.from_value(value)  # pyright: ignore[reportUnknownArgumentType]  # JSON
    return OutputInvalid(f"the script ended with {value!r}")


OpenSession: TypeAlias = Callable[[], Awaitable[ScriptSession]]
