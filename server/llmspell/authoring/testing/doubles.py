"""What stands in a test's host for models and for what is published: only what the test answers."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

from llmspell.authoring.testing.engine import Answer, AnswerEngine
from llmspell.clock import Clock
from llmspell.effects.messages import ModelEvent, ModelRequest
from llmspell.errors import ModelUnavailable, SpecError
from llmspell.host.catalogue import Catalogue
from llmspell.host.spellbook import Spellbook
from llmspell.providers.provider import Provider
from llmspell.providers.registry import Providers, Resolved
from llmspell.providers.scripted import ScriptedProvider
from llmspell.runs.castable import Castable, make_castable
from llmspell.runtime.engine import Program
from llmspell.spec.declaration import NAME_PATTERN, AgentSpec, SpellSpec
from llmspell.spec.origin import Origin
from llmspell.values import JSON, FunctionRef, Object

ANY_MODEL = ""
"""The script of every model that has none of its own."""


class ScriptedModels(Providers):
    """Models that answer as the test says. No other model can be reached."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, allow_network=False)
        self._clock = clock
        self._by_model: dict[str, _Recorded] = {}

    @property
    def is_fallback(self) -> bool:
        """False: a model that is not scripted fails, it is not stood in for."""
        return False

    def script(self, model: str, steps: list[Object]) -> None:
        """Let a model follow these steps; see `providers.scripted`.

        Raises:
            ModelBadRequest: They are no steps.
        """
        provider = ScriptedProvider(scripts={"mock": steps}, clock=self._clock)
        self._by_model[model] = _Recorded(provider)

    def requests(self, model: str) -> list[JSON]:
        """Return what a model was asked, as JSON."""
        return self._by_model[model].requests

    def resolve(self, model: str) -> Resolved:
        """Return the script of a model.

        Raises:
            ModelUnavailable: The test scripts none for it.
        """
        found = self._by_model.get(model) or self._by_model.get(ANY_MODEL)
        if found is None:
            asked = repr(model) if model else "the default model"
            raise ModelUnavailable(
                f"the test scripts no model, and {asked} was asked",
                hint='script it: mock.model { { text = "..." } }',
            )
        return Resolved(found, "mock", model or "scripted/mock")


class _Recorded:
    """A provider that keeps what it is asked."""

    name = "scripted"

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self.requests: list[JSON] = []

    def stream(
        self, request: ModelRequest, *, model: str, idempotency_key: str = ""
    ) -> AsyncGenerator[ModelEvent]:
        self.requests.append(
            {
                "model": request.model,
                "messages": [
                    {
                        "role": message.role,
                        "text": message.text,
                        "calls": [
                            {"name": call.name, "arguments": call.arguments}
                            for call in message.calls
                        ],
                    }
                    for message in request.messages
                ],
                "tools": [tool.name for tool in request.tools],
            }
        )
        return self._inner.stream(request, model=model, idempotency_key=idempotency_key)

    async def close(self) -> None:
        await self._inner.close()


class MockedBook(Spellbook):
    """The project's spells, some answered for by the test.

    Args:
        inner: What is published.
    """

    def __init__(self, inner: Spellbook) -> None:
        # Nothing of a spellbook's own is used: all is asked of `inner`.
        self._inner = inner
        self._mocks: dict[str, Castable] = {}
        self.shelf = inner.shelf

    @property
    def catalogue(self) -> Catalogue:
        """What is published."""
        return self._inner.catalogue

    def get(self, name: str) -> Castable | None:
        """Return the mock of a name, else what is published under it."""
        return self._mocks.get(name) or self._inner.get(name)

    def part(self, label: str) -> Castable | None:
        """Return a part of a published file by its label, or None."""
        return self._inner.part(label)

    def suggest(self, name: str) -> str:
        """Return a hint for a name that nothing answers."""
        return f'{self._inner.suggest(name)}; a test answers for it with mock.tool("{name}", ...)'

    def mock(self, name: str, answer: Answer) -> None:
        """Answer for whatever is cast by this name.

        What is published under it keeps its schemas and its description.

        Raises:
            SpecError: It is no name.
        """
        if not re.match(NAME_PATTERN, name):
            raise SpecError(f"{name!r} is no name: a letter, then up to 47 letters, digits or _")
        published = self._inner.get(name)
        spec = published.spec if published else SpellSpec(name=name, kind="tool")
        spec = spec.model_copy(
            update={
                "run": FunctionRef(1),
                "workflow": None,
                # It may stand where an agent is expected; `run` is what is done all the same.
                "agent": spec.agent or AgentSpec(name=name),
            }
        )
        self._mocks[name] = make_castable(
            spec, Origin("mock"), AnswerEngine(answer), program=Program(name, b"")
        )
