"""Calling models for one run: the budget, the stream, the time limit, the record."""

from __future__ import annotations

import asyncio

import msgspec

from llmspell import failpoints
from llmspell.effects.effect import CallModel
from llmspell.effects.messages import ModelReply, ModelRequest, TextDelta
from llmspell.errors import LlmspellError, ModelError, ModelTimeout
from llmspell.runs.budget import estimate
from llmspell.runs.journal_records import Spent
from llmspell.runs.live import LiveRun
from llmspell.runs.work import Work
from llmspell.values import Object

NO_MODEL = (
    "no model is set, so scripted/echo repeats the request: set models.default in llmspell.toml, "
    "or an API key such as ANTHROPIC_API_KEY in the environment"
)
"""What a run's log says when no model answers it."""

DELTA_SECONDS = 0.05
DELTA_CHARACTERS = 1024
"""A burst of streamed text becomes one event per so many seconds or characters."""


class ModelCalls:
    """Performs the model calls of one run."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def perform(self, effect: CallModel, key: str) -> ModelReply:
        """Ask the model, or recall what it said.

        Raises:
            ModelError: It did not answer.
            BudgetExhausted: The call may not be made.
        """
        name = effect.request.model
        row = await self._work.recall(key, "model", name)
        if row is not None:
            reply = msgspec.convert(row.record.value, ModelReply)
            self._work.budget.recharge(reply.usage)
            return reply
        await self._work.act()
        # The provider must not know of a call that depends on what a crash would forget.
        await self._work.journal.flush()
        with self._work.tree.busy():
            try:
                reply = await self._ask_model(effect, key)
            except LlmspellError as error:
                await self._work.journal.record(key, "model", name, error.to_value(), ok=False)
                raise
            failpoints.hit("run.after_reply")
            await self._work.journal.record(
                key, "model", name, msgspec.to_builtins(reply), spent=Spent(reply.usage)
            )
        return reply

    async def _ask_model(self, effect: CallModel, key: str) -> ModelReply:
        models = self._work.services.models
        model = models.resolve(effect.request.model).full_name
        price = await models.price(effect.request.model)
        wanted = estimate(effect.request, model=model, price=price)
        with await self._work.budget.reserve(wanted) as held:
            request = effect.request
            if held.max_tokens is not None:
                request = msgspec.structs.replace(request, max_tokens=held.max_tokens)
            reply = await self._stream(effect, request, model, key)
            return msgspec.structs.replace(reply, usage=held.settle(reply.usage))

    async def _stream(
        self, effect: CallModel, request: ModelRequest, model: str, key: str
    ) -> ModelReply:
        started: Object = {"model": model, "source": effect.source}
        self._work.live.note("model.started", started)
        if not effect.request.model and self._work.services.models.is_fallback:
            self._work.live.note("log", {"level": "warn", "message": NO_MODEL}, key + "!")
        deltas = _Deltas(self._work.live, effect.source, answer=effect.stream)
        reply: ModelReply | None = None
        timeout = self._work.services.model_settings.timeout_seconds
        stream = self._work.services.models.stream(
            request, idempotency_key=f"{self._work.journal.run_id}-{key}"
        )
        try:
            async with self._work.services.clock.timeout(timeout):
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
        self._work.live.note(
            "model.ended",
            {
                "model": reply.model or model,
                "source": effect.source,
                "finish": reply.finish,
                "usage": reply.usage.to_value(),
            },
        )
        return reply


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
