"""What passes between an agent and a model: messages, tool offers, replies.

Shapes follow the OpenAI chat format, which every provider can be mapped to.
No provider's own types appear above `providers/`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from llmspell.values import JSON, Object


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A model's wish to call a tool."""

    id: str
    name: str
    arguments: JSON
    """The arguments as parsed; a string when the model's JSON could not be parsed."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn: the tools it wants called."""
    call_id: str | None = None
    """Of a tool's turn: the call this answers."""


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as it is shown to a model."""

    name: str
    description: str
    input_schema: Object


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one model call depends on. Contains no key and no header."""

    model: str
    """`provider/model`, a role named in settings, or "" for the default."""
    messages: tuple[Message, ...]
    tools: tuple[ToolOffer, ...] = ()
    output_schema: Object | None = None
    """JSON Schema the reply's text must be a document of."""
    max_tokens: int | None = None
    temperature: float | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a model call, or a whole run, spent."""

    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    usd: float | None = 0.0
    """None when the price of a call is unknown."""

    def __add__(self, other: Usage) -> Usage:
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            calls=self.calls + other.calls,
            usd=usd,
        )

    def to_value(self) -> Object:
        """Return the usage as a JSON object."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "calls": self.calls,
            "usd": self.usd,
        }


class ModelReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered, whole."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "tool_calls", "length", "content_filter"] = "stop"
    usage: Usage = Usage()
    model: str = ""
    """The model that answered, as `provider/model`."""


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of a model's text, as it streams."""

    text: str


ModelEvent = TextDelta | ModelReply
"""What a provider yields: any number of deltas, then one reply that holds them all."""
