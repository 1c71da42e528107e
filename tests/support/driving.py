"""Drive a driver without an event loop: each effect is answered by a function of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmspell.effects.effect import Driver, Effect, Parallel, Settled
from llmspell.errors import LlmspellError


def drive(driver: Driver, answer: Callable[[Effect], Any]) -> Any:
    """Return the driver's result; what `answer` raises is thrown into the driver.

    The drivers of a `Parallel` run one after the other, in their order.
    """
    result: Any = None
    error: LlmspellError | None = None
    try:
        while True:
            effect = driver.send(result) if error is None else driver.throw(error)
            result, error = None, None
            try:
                result = _settle(effect, answer) if isinstance(effect, Parallel) else answer(effect)
            except LlmspellError as raised:
                error = raised
    except StopIteration as stop:
        return stop.value


def _settle(parallel: Parallel, answer: Callable[[Effect], Any]) -> list[Settled]:
    settled: list[Settled] = []
    for driver in parallel.drivers:
        try:
            settled.append(Settled(ok=True, value=drive(driver, answer)))
        except LlmspellError as error:
            if parallel.cancel_on_failure:
                raise
            settled.append(Settled(ok=False, error=error.to_value()))
    return settled
