"""The effects of one script that are under way: a task each, begun at once and ended in good order.

Each is cancelled once, and crowds of them a few at a time. What an effect does and what
its script is told is `scripting`'s part.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from llmspell.runs.pacing import AT_ONCE, Pace


class EffectTasks:
    """Keeps the tasks of effects until they have ended.

    Args:
        pace: At which crowds of them are ended.
    """

    __slots__ = ("_calls", "_canceled", "_enders", "_pace", "_roots", "_unwanted")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._roots: dict[asyncio.Task[Any], int] = {}
        self._calls: dict[int, asyncio.Task[Any]] = {}
        self._unwanted: set[int] = set()
        self._canceled: set[asyncio.Task[Any]] = set()
        self._enders: set[asyncio.Task[None]] = set()

    def begin(
        self, work: Coroutine[Any, Any, Any], root: int, call: int | None = None
    ) -> asyncio.Task[Any]:
        """Begin an effect in a task of its own.

        Args:
            root: The call of the script it belongs to.
            call: What names it to the script; None = the script does not wait for it.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._roots[task] = root
        if call is None:
            task.add_done_callback(self._roots.pop)
        else:
            self._calls[call] = task
        return task

    def ended(self, effect: asyncio.Task[Any], call: int) -> bool:
        """Let go of an effect that is over; return whether the script had canceled it."""
        del self._roots[effect], self._calls[call]
        self._canceled.discard(effect)
        is_unwanted = call in self._unwanted
        self._unwanted.discard(call)
        return is_unwanted

    def cancel(self, call: int) -> None:
        """Cancel the effect that the script does not want any more, if it is under way."""
        effect = self._calls.get(call)
        if effect is not None:
            self._unwanted.add(call)
            self._cancel(effect)

    def end_soon(self, root: int | None = None) -> None:
        """Cancel every effect of a call of the script; None = of all of them."""
        if not self._roots:
            return
        effects = [each for each, of in self._roots.items() if root is None or of == root]
        self._cancel_all(effects[:AT_ONCE])
        if len(effects) > AT_ONCE:
            ender = asyncio.get_running_loop().create_task(self._end(effects[AT_ONCE:]))
            self._enders.add(ender)
            ender.add_done_callback(self._enders.discard)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, or about to be ended."""
        return not (self._roots or self._enders)

    async def close(self) -> None:
        """Cancel every effect, and return when all have ended."""
        if self._roots:
            await self._end([*self._roots])
        if self._enders:
            await asyncio.gather(*self._enders, return_exceptions=True)

    def _cancel(self, effect: asyncio.Task[Any]) -> None:
        """Cancel an effect, once: a second time would hit what the first has it put in order."""
        if effect not in self._canceled and not effect.done():
            self._canceled.add(effect)
            effect.cancel()

    def _cancel_all(self, effects: list[asyncio.Task[Any]]) -> None:
        for effect in effects:
            self._cancel(effect)

    async def _end(self, effects: list[asyncio.Task[Any]]) -> None:
        """Cancel effects and wait for their ends, a few at a time, each freed with its end."""
        effects.reverse()
        while effects:
            some = [effects.pop() for _ in range(min(AT_ONCE, len(effects)))]
            self._cancel_all(some)
            await asyncio.wait(some)
            some.clear()  # freeing thousands at once would hold up others too
            if effects:
                await self._pace.turn()
