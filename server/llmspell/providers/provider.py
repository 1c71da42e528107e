"""The provider interface. A provider knows models and a wire, and nothing of spells.

Retries, budgets and fallbacks are not a provider's business: it tries once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from llmspell.effects.messages import ModelEvent, ModelRequest


class Provider(Protocol):
    """One way to reach models."""

    name: str
    """The part before the slash in `provider/model`, e.g. `scripted`."""

    def stream(
        self, request: ModelRequest, *, model: str, idempotency_key: str = ""
    ) -> AsyncGenerator[ModelEvent]:
        """Ask `model` (the part after the slash) and yield `TextDelta`s, then one `ModelReply`.

        Closing the iterator ends the call at once.

        Raises:
            ModelError: With the code of what went wrong; no vendor's error passes.
        """
        ...

    async def close(self) -> None:
        """Release connections. Closing twice is no error."""
        ...
