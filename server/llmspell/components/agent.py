"""The agent loop: a driver that asks a model, calls the tools it wants, and asks again.

Sans-I/O: it yields effects and is sent their results, so it knows no provider,
no store and no clock. Seconds are therefore not its business; its turns,
tokens and dollars are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from llmspell.components.schema import Schema
from llmspell.components.template import as_text
from llmspell.effects.effect import CallModel, Cast, Describe, Effect, Parallel, Settled
from llmspell.effects.messages import Message, ModelReply, ModelRequest, ToolCall, ToolOffer, Usage
from llmspell.errors import (
    BudgetExhausted,
    BudgetUnknownPrice,
    InputInvalid,
    LlmspellError,
    ModelBadRequest,
    ModelContentPolicy,
)
from llmspell.spec.declaration import AgentSpec
from llmspell.values import JSON, Object, canonical, dumps, loads

Stopped: TypeAlias = Literal["done", "turns", "budget", "repeated"]
"""Why an agent stopped: it answered; its turns ran out and it was made to answer; its tokens or
dollars ran out; it repeated a call to no effect and was made to answer."""

MAX_RESULT_CHARS = 8_000
"""Longest result of a tool that a model is shown."""

MAX_REPEATS = 3
"""How often a call may be made with the same arguments and the same result."""

MAX_REPAIRS = 2
"""How often a model is told what is wrong with its structured answer."""

_KEPT_HEAD = 5_500
_KEPT_TAIL = 2_000
_CHARS_PER_TOKEN = 4  # an estimate that no tokenizer of a provider is far from, in English
_NOT_IN_TOOL_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_MAX_TOOL_NAME = 64  # with the characters above: what OpenAI and Anthropic accept
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_ANSWER_NOW = "No tool can be called any more. Answer now, from what is known."


def run_agent(
    spec: AgentSpec, prompt: JSON, *, messages: Sequence[Object] = (), stream: bool = False
) -> Generator[Effect, Any, Object]:
    """Let an agent answer.

    A tool's error is a result that the model sees, never the end of the loop.
    The last turn the limits allow is asked for without tools.

    Args:
        prompt: The user's message; anything but a string is sent as JSON.
        messages: The conversation so far, as an earlier result's `messages`.
        stream: Whether the model's text is part of the run's answer as it comes.
            A structured answer (`spec.output`) is not: it may be asked for again.

    Returns:
        `{text, output, usage, messages, stopped}`: the last text; the validated
        document, or null when the agent has no `output` schema or its budget ran out;
        what was spent; the whole conversation without the system text; see `Stopped`.

    Raises:
        InputInvalid: `messages` is no conversation.
        BudgetExhausted: The limits do not even allow the first request.
        BudgetUnknownPrice: Dollars are limited, and the price of the model is unknown.
        ModelBadRequest: The answer does not fit `spec.output` after `MAX_REPAIRS` repairs;
            `data` has its `text` and the `errors`.
        ModelError: As the model call raised it.
    """
    loop = _Loop(spec, _history(messages), stream=stream and spec.output is None)
    return (yield from loop.run(as_text(prompt)))


class _Loop:
    """One answer of one agent."""

    def __init__(self, spec: AgentSpec, messages: list[Message], *, stream: bool) -> None:
        self._spec = spec
        self._messages = messages
        self._stream = stream
        self._usage = Usage()
        self._offers: tuple[ToolOffer, ...] = ()
        self._targets: dict[str, str | Object] = {}
        self._outcomes: Counter[bytes] = Counter()

    def run(self, prompt: str) -> Generator[Effect, Any, Object]:
        self._messages.append(Message(role="user", text=prompt))
        if self._spec.tools:
            yield from self._describe()
        turn, repeated = 0, False
        while True:
            turn += 1
            if not self._affordable():
                return self._result("budget")
            last = repeated or turn == self._spec.limits.turns
            reply = yield from self._ask(last=last)
            if last or not reply.calls:
                break
            repeated = yield from self._call_tools(reply.calls)
        stopped: Stopped = "done"
        if last and (self._offers or reply.calls):
            stopped = "repeated" if repeated else "turns"
        if self._spec.output is None:
            return self._result(stopped)
        return (yield from self._structured(self._spec.output, stopped, reply.text))

    def _describe(self) -> Generator[Effect, Any, None]:
        offers: list[ToolOffer] = yield Describe(targets=self._spec.tools)
        named: list[ToolOffer] = []
        for target, offer in zip(self._spec.tools, offers, strict=True):
            name = _tool_name(offer.name, self._targets)
            self._targets[name] = target
            named.append(msgspec.structs.replace(offer, name=name))
        self._offers = tuple(named)

    def _affordable(self) -> bool:
        """Return whether the limits allow another request.

        Raises:
            BudgetExhausted, BudgetUnknownPrice: See `run_agent`.
        """
        limits = self._spec.limits
        if limits.usd is not None:
            if self._usage.usd is None:
                raise BudgetUnknownPrice(
                    f"agent {self._spec.name!r} is limited to {limits.usd} usd, "
                    "and the price of its model is unknown",
                    hint="leave usd out of the agent's limits, or use a model of known price",
                    data={"limit": "usd", "spent": self._usage.to_value()},
                )
            if self._usage.usd >= limits.usd:
                return False
        if limits.tokens is None:
            return True
        spent = self._usage.input_tokens + self._usage.output_tokens
        if spent + self._next_input_tokens() <= limits.tokens:
            return True
        if self._usage.calls == 0:
            raise BudgetExhausted(
                f"the first request of agent {self._spec.name!r} is larger than its limit of "
                f"{limits.tokens} tokens",
                hint="raise the agent's limits.tokens, or ask for less",
                data={"limit": "tokens", "allowed": limits.tokens},
            )
        return False

    def _next_input_tokens(self) -> int:
        characters = len(self._spec.system) + sum(map(_length, self._messages))
        return characters // _CHARS_PER_TOKEN

    def _ask(self, *, last: bool) -> Generator[Effect, Any, ModelReply]:
        system = self._spec.system
        if last and self._offers:
            # As a message it would become part of the conversation, and of what `messages` keeps.
            system = f"{system}\n\n{_ANSWER_NOW}".strip()
        head = (Message(role="system", text=system),) if system else ()
        request = ModelRequest(
            model=self._spec.model,
            messages=(*head, *self._messages),
            tools=() if last else self._offers,
            output_schema=self._spec.output,
            max_tokens=self._spec.max_tokens,
            temperature=self._spec.temperature,
        )
        reply: ModelReply = yield CallModel(
            request=request, source=self._spec.name, stream=self._stream
        )
        self._usage += reply.usage
        if reply.finish == "content_filter":
            raise ModelContentPolicy(
                f"the provider of {reply.model!r} withheld the answer of agent {self._spec.name!r}",
                data={"text": reply.text},
            )
        # A call made although none was offered gets no result, so it may not stay either.
        calls = () if last else reply.calls
        self._messages.append(Message(role="assistant", text=reply.text, calls=calls))
        return reply

    def _call_tools(self, calls: Sequence[ToolCall]) -> Generator[Effect, Any, bool]:
        """Give every call its one result, and return whether the model goes in circles."""
        results = [self._refusal(call) for call in calls]
        wanted = [number for number, refusal in enumerate(results) if refusal is None]
        if wanted:
            settled: list[Settled] = yield Parallel(
                drivers=tuple(self._cast(calls[number]) for number in wanted),
                limit=self._spec.limits.parallel_tools,
                cancel_on_failure=False,
            )
            for number, outcome in zip(wanted, settled, strict=True):
                results[number] = _shown(outcome)
        seen: set[bytes] = set()
        for call, result in zip(calls, results, strict=True):
            text = _cut(result or "")
            self._messages.append(Message(role="tool", text=text, call_id=call.id))
            seen.add(canonical([call.name, call.arguments, text]))
        self._outcomes.update(seen)
        return any(self._outcomes[outcome] >= MAX_REPEATS for outcome in seen)

    def _refusal(self, call: ToolCall) -> str | None:
        if call.name not in self._targets:
            names = ", ".join(sorted(self._targets)) or "none"
            return f"error: there is no tool {call.name!r}; the tools are: {names}"
        if not isinstance(call.arguments, dict):
            return f"error: the arguments of {call.name!r} are not a JSON object"
        return None

    def _cast(self, call: ToolCall) -> Generator[Effect, Any, JSON]:
        return (
            yield Cast(
                target=self._targets[call.name],
                input=call.arguments,
                label=call.name,
                tool_call=True,
            )
        )

    def _structured(
        self, schema: Object, stopped: Stopped, text: str
    ) -> Generator[Effect, Any, Object]:
        checker = Schema(schema)
        output, problems = _parse(checker, text)
        for _ in range(MAX_REPAIRS):
            if not problems:
                break
            if not self._affordable():
                return self._result("budget")
            complaint = f"That is not the document asked for: {'; '.join(problems)}. "
            demand = f"Answer with one JSON document that fits this schema: {dumps(schema)}"
            self._messages.append(Message(role="user", text=complaint + demand))
            reply = yield from self._ask(last=True)
            output, problems = _parse(checker, reply.text)
        if not problems:
            return self._result(stopped, output)
        raise ModelBadRequest(
            f"agent {self._spec.name!r} did not answer what its output schema asks for: "
            f"{problems[0]}",
            hint="simplify the agent's output, or use a model that is better at JSON",
            data={"text": self._text(), "errors": problems},
        )

    def _text(self) -> str:
        """Return the last thing the model said in words."""
        said = (m.text for m in reversed(self._messages) if m.role == "assistant" and m.text)
        return next(said, "")

    def _result(self, stopped: Stopped, output: JSON = None) -> Object:
        return {
            "text": self._text(),
            "output": output,
            "usage": self._usage.to_value(),
            "messages": [cast(Object, msgspec.to_builtins(m)) for m in self._messages],
            "stopped": stopped,
        }


def _history(messages: Sequence[Object]) -> list[Message]:
    try:
        return msgspec.convert(list(messages), list[Message])
    except msgspec.ValidationError as error:
        raise InputInvalid(
            f"the messages are no conversation: {error}",
            hint="pass the messages of an earlier result, or tables of role and text",
        ) from None


def _tool_name(name: str, taken: dict[str, str | Object]) -> str:
    """Return `name` as models accept it, unlike every name in `taken`."""
    base = _NOT_IN_TOOL_NAMES.sub("_", name)[:_MAX_TOOL_NAME] or "tool"
    unique, number = base, 1
    while unique in taken:
        number += 1
        unique = f"{base[: _MAX_TOOL_NAME - 1 - len(str(number))]}_{number}"
    return unique


def _length(message: Message) -> int:
    return len(message.text) + sum(len(canonical(call.arguments)) for call in message.calls)


def _shown(settled: Settled) -> str:
    if settled.ok:
        return as_text(settled.value)
    error = LlmspellError.from_value(settled.error or {})
    return f"error: {error.message} {{code: {error.code}}}"


def _cut(text: str) -> str:
    if len(text) <= MAX_RESULT_CHARS:
        return text
    left_out = len(text) - _KEPT_HEAD - _KEPT_TAIL
    note = f"\n[... {left_out} characters left out ...]\n"
    return text[:_KEPT_HEAD] + note + text[-_KEPT_TAIL:]


def _parse(checker: Schema, text: str) -> tuple[JSON, list[str]]:
    """Return the document in `text`, and what is wrong with it."""
    fenced = _FENCE.fullmatch(text)
    try:
        value = loads(fenced[1] if fenced else text)
    except ValueError as error:
        return None, [f"it is not JSON ({error})"]
    return value, [str(problem) for problem in checker.problems(value)]
