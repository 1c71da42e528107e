"""The litellm provider: a hundred vendors behind one library, and its only importer.

litellm is imported at the first call, in a thread: the import takes seconds and
190 MB. What it would otherwise do by itself is turned off here: retries, prints
to stdout, a price list from the network, a `.env` of the working directory.
Errors leave as `ModelError`s whose text holds no key.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from llmspell.clock import Clock, SystemClock
from llmspell.effects.messages import (
    Message,
    ModelEvent,
    ModelReply,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolOffer,
    Usage,
)
from llmspell.errors import ModelAuth, ModelTimeout, ModelUnavailable, ModelUnknown
from llmspell.providers.litellm_errors import model_error
from llmspell.security.redaction import Redactor
from llmspell.values import JSON, Object, dumps, loads

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else the import fetches the price list
    "LITELLM_MODE": "PRODUCTION",  # else the import loads `.env` of the working directory
    "LITELLM_LOG": "ERROR",
}
_NO_KEY_NEEDED = "none"  # the OpenAI client refuses to be made without any

# Of the names of tools, what OpenAI and Anthropic accept.
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64

_FINISHES = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class LiteLLMProvider:
    """Every model litellm knows, named as litellm does: `anthropic/claude-sonnet-4-5`.

    Args:
        keys: API keys by litellm's name of the provider, e.g. `{"openai": ...}`.
        api_bases: Base URLs by the same names. A provider that has one and no key is
            called without a key, never with one from the environment.
        secrets: Further values that no error text may show, e.g. keys of the environment.
        timeout_seconds: Longest time one call may take, from the request to its last word.
        clock: Measures the timeout.
    """

    name = "litellm"

    def __init__(
        self,
        *,
        keys: Mapping[str, str] | None = None,
        api_bases: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        timeout_seconds: float = 120.0,
        clock: Clock | None = None,
    ) -> None:
        self._keys = {name: key for name, key in (keys or {}).items() if key}
        self._api_bases = {name: base for name, base in (api_bases or {}).items() if base}
        self._redactor = Redactor([*self._keys.values(), *secrets])
        self._timeout_s = timeout_seconds
        self._clock = clock or SystemClock()
        self._lock = asyncio.Lock()
        self._litellm: Any = None

    async def stream(
        self, request: ModelRequest, *, model: str, idempotency_key: str = ""
    ) -> AsyncGenerator[ModelEvent]:
        """Ask `model` (litellm's full name) and yield `TextDelta`s, then one `ModelReply`.

        Args:
            idempotency_key: Sent as the header `Idempotency-Key` where the wire is OpenAI's.

        Raises:
            ModelAuth: There is no key (found before the call), or it was refused.
            ModelRateLimit: `data["retry_after"]` is in seconds when the provider said so.
            ModelTimeout: The answer was not whole after `timeout_seconds`.
            ModelUnavailable: The provider cannot be reached, is overloaded, or stopped half-way.
            ModelError: Anything else, by its code.
        """
        litellm = await self._imported()
        arguments, provider = self._arguments(litellm, request, model, idempotency_key)
        answer = _Answer(model)
        deadline = self._clock.monotonic() + self._timeout_s
        async with self._waiting(model, deadline):
            chunks: AsyncGenerator[Any] = await litellm.acompletion(**arguments)
        try:
            while True:
                # Each wait has its own timeout: one around the loop would also run, and
                # go off, while the consumer of this generator is at work.
                async with self._waiting(model, deadline):
                    chunk = await anext(chunks, None)
                    text = "" if chunk is None else answer.take(chunk)
                if chunk is None:
                    break
                if text:
                    yield TextDelta(text)
            if not _is_whole(chunks):
                raise ModelUnavailable(f"the answer of {model!r} broke off before its end")
        finally:
            await chunks.aclose()
        yield answer.reply(_price(litellm, answer.usage, model, provider))

    async def close(self) -> None:
        """Close litellm's connections, if it was ever imported."""
        if self._litellm is not None:
            await self._litellm.close_litellm_async_clients()

    async def _imported(self) -> Any:
        if self._litellm is None:
            async with self._lock:
                self._litellm = self._litellm or await asyncio.to_thread(_import_litellm)
        return self._litellm

    @asynccontextmanager
    async def _waiting(self, model: str, deadline: float) -> AsyncGenerator[None]:
        """Run the body until `deadline` at most, and let only errors of ours out."""
        try:
            async with self._clock.timeout(max(0.0, deadline - self._clock.monotonic())):
                yield
        except TimeoutError:
            raise ModelTimeout(
                f"{model!r} did not answer within {self._timeout_s:g} s",
                hint="raise the setting models.timeout_seconds, or use a faster model",
            ) from None
        except Exception as error:  # litellm raises its own, openai's, httpx's and bare exceptions
            # Not chained: the text of the cause may hold the key.
            now = self._clock.time()
            raise model_error(error, model, self._redactor, now=now) from None

    def _arguments(
        self, litellm: Any, request: ModelRequest, model: str, idempotency_key: str
    ) -> tuple[Object, str]:
        """Return what `acompletion` is called with, and litellm's name of the provider.

        Raises:
            ModelUnknown: litellm knows no such provider.
            ModelAuth: The provider's key is missing.
        """
        try:
            bare, provider, _, _ = litellm.get_llm_provider(model=model)
        except litellm.BadRequestError:
            raise ModelUnknown(
                f"no provider of {model!r} is known",
                hint="models are named provider/model; the providers are scripted and litellm's",
            ) from None
        key, base = self._keys.get(provider), self._api_bases.get(provider)
        if key is None and base is not None:
            key = _NO_KEY_NEEDED
        if key is None:
            _require_key(litellm, model, provider, base)
        supported: list[str] = (
            litellm.get_supported_openai_params(model=bare, custom_llm_provider=provider) or []
        )
        messages = [_message(message) for message in request.messages]
        arguments: Object = {
            "model": model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "timeout": self._timeout_s,
            "api_key": key,
            "api_base": base,
            # Both multiply, and retrying is not a provider's business.
            "max_retries": 0,
            "num_retries": 0,
        }
        if request.tools:
            arguments["tools"] = [_offer(offer) for offer in request.tools]
        if request.output_schema is not None:
            if "response_format" in supported:
                named = {"name": "answer", "schema": request.output_schema}
                arguments["response_format"] = {"type": "json_schema", "json_schema": named}
            else:
                demand = "Answer with one JSON document, and nothing else, that fits this schema: "
                text = demand + dumps(request.output_schema)
                messages.insert(0, {"role": "system", "content": text})
        if request.max_tokens is not None:
            arguments["max_tokens"] = request.max_tokens
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if idempotency_key and provider == "openai":
            arguments["extra_headers"] = {"Idempotency-Key": idempotency_key}
        return arguments, provider


class _Answer:
    """Puts the chunks of one streamed answer together."""

    def __init__(self, model: str) -> None:
        self.usage: Any = None
        self._model = model
        self._text: list[str] = []
        self._calls: list[Object] = []
        self._current: dict[int, Object] = {}
        self._finish = "stop"

    def take(self, chunk: Any) -> str:
        """Add one chunk, and return the text in it."""
        self.usage = getattr(chunk, "usage", None) or self.usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish = _FINISHES.get(choice.finish_reason, self._finish)
        for part in choice.delta.tool_calls or ():
            self._take_call(part)
        text = _valid(choice.delta.content or "")
        self._text.append(text)
        return text

    def _take_call(self, part: Any) -> None:
        index = part.index or 0
        call = self._current.get(index)
        # Some providers number every call 0: another id begins another call.
        if call is None or (part.id and call["id"] and part.id != call["id"]):
            call = {"id": "", "name": "", "arguments": ""}
            self._current[index] = call
            self._calls.append(call)
        call["id"] = call["id"] or part.id or ""
        call["name"] += part.function.name or ""
        call["arguments"] += part.function.arguments or ""

    def reply(self, usd: float | None) -> ModelReply:
        """Return the whole answer."""
        calls: dict[str, ToolCall] = {}
        for number, call in enumerate(self._calls, 1):
            own = _valid(call["id"]) or f"call_{number}"
            while own in calls:  # each result names the one call it belongs to
                own += "_"
            arguments = _parsed(_valid(call["arguments"]))
            calls[own] = ToolCall(id=own, name=_valid(call["name"]), arguments=arguments)
        return ModelReply(
            text="".join(self._text),
            calls=tuple(calls.values()),
            finish=cast(Any, "tool_calls" if calls else self._finish),
            usage=Usage(
                # A number below 0 would give back what others have spent.
                input_tokens=max(0, getattr(self.usage, "prompt_tokens", 0) or 0),
                output_tokens=max(0, getattr(self.usage, "completion_tokens", 0) or 0),
                calls=1,
                usd=usd,
            ),
            model=self._model,
        )


def _is_whole(chunks: Any) -> bool:
    """Return whether the provider said why its answer ended.

    Where it did not, as a proxy between hung up, litellm ends the answer with a reason of its own.
    """
    said = ("received_finish_reason", "intermittent_finish_reason")
    return any(getattr(chunks, name, True) for name in said)


def _valid(text: str) -> str:
    """Return text without lone surrogates, which JSON can name and UTF-8 cannot hold."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _import_litellm() -> Any:
    # litellm reads these while it is imported, and from nowhere else: the one place outside
    # `config` that touches the environment.
    os.environ.update(_ENVIRONMENT)
    import litellm

    module: Any = litellm
    module.suppress_debug_info = True  # else every mapped error prints advice to stdout
    # Anthropic wants tools offered wherever a conversation has used some, also when the
    # agent's last turn is asked for without: litellm then adds one that cannot be called.
    module.modify_params = True
    return module


def _require_key(litellm: Any, model: str, provider: str, base: str | None) -> None:
    """Find a missing key before the call: litellm calls some of them server errors.

    Raises:
        ModelAuth: With the environment variable that may hold it.
    """
    missing: list[str] = litellm.validate_environment(model=model, api_base=base)["missing_keys"]
    # Addresses have defaults, and cloud credentials have places litellm does not look at.
    variables = [name for name in missing if name.endswith("_API_KEY")]
    if variables:
        variable = variables[-1]
        raise ModelAuth(
            f"there is no key for {model!r}",
            hint=f"set {variable}, or write in llmspell.toml: "
            f'[providers.{provider}] api_key = "${{env:{variable}}}"',
            data={"variable": variable},
        )


def _message(message: Message) -> Object:
    sent: Object = {"role": message.role, "content": message.text}
    if message.calls:
        sent["content"] = message.text or None  # litellm puts words of its own into an empty text
        sent["tool_calls"] = [_call(call) for call in message.calls]
    if message.call_id is not None:
        sent["tool_call_id"] = message.call_id
    return sent


def _call(call: ToolCall) -> Object:
    """Return a call of the conversation as it is sent.

    One that the model got wrong stands there too, with the error it got for it; but no vendor
    takes such a name, and some no other arguments than an object.
    """
    name = _NOT_IN_NAMES.sub("_", call.name)[:_LONGEST_NAME] or "unknown"
    said: JSON = call.arguments
    arguments = dumps(said if isinstance(said, dict) else {"wrong": said})
    function = {"name": name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _offer(offer: ToolOffer) -> Object:
    function = {
        "name": offer.name,
        "description": offer.description,
        "parameters": offer.input_schema,
    }
    return {"type": "function", "function": function}


def _parsed(arguments: str) -> JSON:
    if not arguments.strip():
        return {}
    try:
        return loads(arguments)
    except ValueError:
        return arguments


def _price(litellm: Any, usage: Any, model: str, provider: str) -> float | None:
    """Return what an answer cost in USD, or None when litellm has no price for the model."""
    if usage is None:
        return None
    try:
        read, written = litellm.cost_per_token(
            model=model, custom_llm_provider=provider, usage_object=usage
        )
    except Exception:  # a bare Exception among others; without a price the cost is unknown
        return None
    return max(0.0, float(read + written))
