"""What a cast and all it begins may spend. A child spends from its parent's budget too.

A model call reserves the most it can cost before it is made, and gives back
what it did not spend. So calls made side by side cannot overspend together:
one that does not fit beside the others waits until they have settled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from llmspell.effects.messages import ModelRequest, Usage
from llmspell.errors import BudgetExhausted, BudgetUnknownPrice
from llmspell.providers.prices import Price
from llmspell.spec.declaration import Budget as BudgetSpec
from llmspell.values import Object, canonical

OUTPUT_TOKENS: Final = 4096
"""What a call is taken to write at most when its request does not say."""

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
_EPSILON = 1e-9  # what sums of prices may be off by


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a model call may spend."""

    model: str
    """`provider/model`, for messages."""
    input_tokens: int
    max_tokens: int | None
    """The longest answer it asks for; None = it does not say."""
    price: Price | None
    """None = unknown."""


def estimate(request: ModelRequest, *, model: str, price: Price | None) -> Estimate:
    """Return what a request may spend; its input is counted as a token for every four bytes."""
    size = sum(
        len(message.text.encode("utf-8", "surrogatepass"))
        + sum(len(canonical([call.name, call.arguments])) for call in message.calls)
        for message in request.messages
    )
    for offer in request.tools:
        size += len(canonical([offer.name, offer.description, offer.input_schema]))
    if request.output_schema is not None:
        size += len(canonical(request.output_schema))
    tokens = -(-size // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(request.messages)
    return Estimate(model=model, input_tokens=tokens, max_tokens=request.max_tokens, price=price)


class Reservation:
    """What a model call holds of a budget. Ended once, by `settle` or `release`.

    As a context manager it is released where it was not settled.
    """

    def __init__(self, budget: Budget, price: Price | None, tokens: int, usd: float) -> None:
        self._budget = budget
        self._price = price
        self._tokens = tokens
        self._usd = usd
        self._open = True
        self.max_tokens: int | None = None
        """The longest answer the call may ask for; None = as its request says."""

    def settle(self, usage: Usage) -> Usage:
        """Charge what was spent, give back the rest, and return what was charged.

        That is what the provider told, and the price the call was made at where it told none.
        """
        self.release()
        if usage.usd is None and self._price is not None:
            usd = self._price.of(usage.input_tokens, usage.output_tokens)
            usage = msgspec.structs.replace(usage, usd=usd)
        self._budget.recharge(usage)
        return usage

    def release(self) -> None:
        """Give everything back: nothing was spent. Twice is no error."""
        if self._open:
            self._open = False
            self._budget.give_back(self._tokens, self._usd)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Budget:
    """A running account of one cast, with limits; charges go up to the root.

    Args:
        limits: The spell's own limits.
        parent: The account of the cast that began this one.
        calls: Most model calls when the spell names no limit (settings), as the next four.
        depth: How deep casts may nest below the root.
        tool_calls: Most tool calls of agents.
        children: Most casts begun below.
        tokens: Most tokens; None = any number.
        usd: Most US dollars, with models of unknown price counted as 0; None = any sum.
    """

    def __init__(
        self,
        limits: BudgetSpec,
        *,
        parent: Budget | None = None,
        calls: int,
        depth: int,
        tool_calls: int = 1_000,
        children: int = 10_000,
        tokens: int | None = None,
        usd: float | None = None,
    ) -> None:
        self._parent = parent
        self._root: Budget = parent._root if parent else self
        self._calls = limits.calls if limits.calls is not None else calls
        self._tokens = limits.tokens if limits.tokens is not None else tokens
        self._usd = limits.usd if limits.usd is not None else usd
        self._usd_is_authors = limits.usd is not None
        self._is_authors = self._usd_is_authors or limits.tokens is not None
        self._tool_calls = limits.tool_calls if limits.tool_calls is not None else tool_calls
        self._children = limits.children if limits.children is not None else children
        own_depth = limits.depth if limits.depth is not None else depth
        self._depth = own_depth if parent is None else min(own_depth, parent._depth - 1)
        self.spent = Usage()
        """What was spent; `usd` is None once a call of unknown price was made."""
        self.tool_calls = 0
        """Tool calls that agents made, here and below."""
        self.children = 0
        """Casts begun, here and below."""
        self._spent_usd = 0.0
        self._held_calls = 0
        self._held_tokens = 0
        self._held_usd = 0.0
        self._waiting: dict[asyncio.Future[None], None] = {}  # the root's, in order: of the tree

    # -- casts

    def enter(self, what: str, *, tool_call: bool = False) -> None:
        """Count a child that is about to be begun.

        Args:
            tool_call: Whether it is a tool that a model called.

        Raises:
            BudgetExhausted: Casts are nested too deeply, or there were too many; nothing counts.
        """
        if self._depth <= 0:
            raise BudgetExhausted(
                f"{what!r} cannot be cast: casts are nested too deeply",
                data={"limit": "depth", "spent": self.spent.to_value()},
            )
        for account in self._chain():
            if account.children >= account._children:
                raise account._exhausted("children", account._children)
            if tool_call and account.tool_calls >= account._tool_calls:
                raise account._exhausted("tool_calls", account._tool_calls)
        for account in self._chain():
            account.children += 1
            account.tool_calls += tool_call

    # -- model calls

    async def reserve(self, wanted: Estimate) -> Reservation:
        """Hold what a model call may spend, here and in every account above.

        Waits while the call fits only after others, under way now, have settled.

        Returns:
            The reservation, with the `max_tokens` that the call must not exceed. A request that
            names none gets `OUTPUT_TOKENS`, or what is left if that is less, where a spell
            limits tokens or usd.

        Raises:
            BudgetExhausted: It does not fit into what is left.
            BudgetUnknownPrice: Its price is unknown, and a spell limits usd.
        """
        chain = list(self._chain())
        if wanted.price is None and any(account._usd_is_authors for account in chain):
            raise BudgetUnknownPrice(
                f"the price of {wanted.model!r} is unknown, and the budget is in usd",
                hint="leave usd out of the budget, use a model of known price, or set "
                "models.worst_usd_per_million_tokens",
                data={"limit": "usd", "model": wanted.model, "spent": self.spent.to_value()},
            )
        while True:
            output = wanted.max_tokens
            if output is None:
                output = min([OUTPUT_TOKENS, *(account._room(wanted) for account in chain)])
            needed = wanted.input_tokens + max(output, 1)
            usd = wanted.price.of(wanted.input_tokens, max(output, 1)) if wanted.price else 0.0
            short = next(filter(None, (account._short(needed, usd) for account in chain)), None)
            if short is not None:
                raise short
            if all(account._fits(needed, usd) for account in chain):
                break
            await self._settled()
        for account in chain:
            account._held_calls += 1
            account._held_tokens += needed
            account._held_usd += usd
        held = Reservation(self, wanted.price, needed, usd)
        if wanted.max_tokens is None and (
            output < OUTPUT_TOKENS or any(account._is_authors for account in chain)
        ):
            held.max_tokens = max(output, 1)
        return held

    def give_back(self, tokens: int, usd: float) -> None:
        """End a reservation; for `Reservation`."""
        for account in self._chain():
            account._held_calls -= 1
            account._held_tokens -= tokens
            # Sums of floats: with nothing held, nothing may remain.
            account._held_usd = account._held_usd - usd if account._held_calls else 0.0
        for waiter in self._root._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def recharge(self, usage: Usage, *, children: int = 0, tool_calls: int = 0) -> None:
        """Note what has been spent, e.g. by a recorded model call or child. No limit is asked."""
        for account in self._chain():
            account.spent = account.spent + usage
            account._spent_usd += usage.usd or 0.0
            account.children += children
            account.tool_calls += tool_calls

    # -- inside

    def _chain(self) -> Iterator[Budget]:
        account: Budget | None = self
        while account is not None:
            yield account
            account = account._parent

    def _room(self, wanted: Estimate) -> int:
        """Return how long an answer may be, were everything held given back."""
        room = OUTPUT_TOKENS
        if self._tokens is not None:
            room = min(room, self._tokens - _tokens(self.spent) - wanted.input_tokens)
        if self._usd is not None and wanted.price is not None:
            left = self._usd - self._spent_usd - wanted.price.of(wanted.input_tokens, 0)
            each = wanted.price.of(wanted.input_tokens, 1) - wanted.price.of(wanted.input_tokens, 0)
            if each > 0:
                room = min(room, int((left + _EPSILON) / each))
        return max(room, 0)

    def _short(self, tokens: int, usd: float) -> BudgetExhausted | None:
        """Return what is wrong when so much more does not fit even once nothing is held."""
        if self.spent.calls >= self._calls:
            return self._exhausted("calls", self._calls)
        if self._tokens is not None and _tokens(self.spent) + tokens > self._tokens:
            return self._exhausted("tokens", self._tokens, needed=tokens)
        if self._usd is not None and self._spent_usd + usd > self._usd + _EPSILON:
            return self._exhausted("usd", self._usd, needed=usd)
        return None

    def _fits(self, tokens: int, usd: float) -> bool:
        """Return whether so much more fits beside what is held."""
        return (
            self.spent.calls + self._held_calls < self._calls
            and (
                self._tokens is None
                or _tokens(self.spent) + self._held_tokens + tokens <= self._tokens
            )
            and (
                self._usd is None or self._spent_usd + self._held_usd + usd <= self._usd + _EPSILON
            )
        )

    async def _settled(self) -> None:
        """Wait until a reservation in the tree has ended."""
        waiting = self._root._waiting
        waiter = asyncio.get_running_loop().create_future()
        waiting[waiter] = None
        try:
            await waiter
        finally:
            waiting.pop(waiter, None)

    def _exhausted(
        self, name: str, limit: float, *, needed: float | None = None
    ) -> BudgetExhausted:
        spent: Object = {
            **self.spent.to_value(),
            "tool_calls": self.tool_calls,
            "children": self.children,
        }
        data: Object = {"limit": name, "allowed": limit, "spent": spent}
        if needed is not None:
            data["needed"] = needed
        label = name.replace("_", " ")
        return BudgetExhausted(f"the budget of {limit:g} {label} is spent", data=data)


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
