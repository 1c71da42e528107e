"""What a cast and all it begins may spend. A child spends from its parent's budget too."""

from __future__ import annotations

from llmspell.effects.messages import Usage
from llmspell.errors import BudgetExhausted, BudgetUnknownPrice
from llmspell.spec.declaration import Budget as BudgetSpec
from llmspell.values import Object


class Budget:
    """A running account of one cast, with limits; charges go up to the root.

    Args:
        limits: The spell's own limits.
        parent: The account of the cast that began this one.
        calls: Most model calls when the spell names no limit (settings).
        depth: How deep casts may nest below the root (settings).
    """

    def __init__(
        self, limits: BudgetSpec, *, parent: Budget | None = None, calls: int, depth: int
    ) -> None:
        self._parent = parent
        self._usd = limits.usd
        self._tokens = limits.tokens
        self._calls = limits.calls if limits.calls is not None else calls
        own_depth = limits.depth if limits.depth is not None else depth
        self._depth = own_depth if parent is None else min(own_depth, parent._depth - 1)
        self.spent = Usage()

    def enter(self, what: str) -> None:
        """Check that a child may be begun.

        Raises:
            BudgetExhausted: Casts are nested too deeply.
        """
        if self._depth <= 0:
            raise BudgetExhausted(
                f"{what!r} cannot be cast: casts are nested too deeply",
                data={"limit": "depth", "spent": self.spent.to_value()},
            )

    def before_call(self) -> None:
        """Check that another model call may be made.

        Raises:
            BudgetExhausted: A limit of this cast, or of one above it, is reached.
        """
        for account in self._chain():
            spent = account.spent
            if spent.calls >= account._calls:
                raise account._exhausted("calls", account._calls)
            if account._tokens is not None and _tokens(spent) >= account._tokens:
                raise account._exhausted("tokens", account._tokens)
            if account._usd is not None and (spent.usd or 0.0) >= account._usd:
                raise account._exhausted("usd", account._usd)

    def charge(self, usage: Usage, model: str) -> None:
        """Note what a model call spent.

        Raises:
            BudgetUnknownPrice: Its price is unknown, and a budget in usd is set.
        """
        for account in self._chain():
            if usage.usd is None and account._usd is not None:
                raise BudgetUnknownPrice(
                    f"the price of {model!r} is unknown, and the budget is in usd",
                    data={"limit": "usd", "model": model},
                )
            account.spent = account.spent + usage

    def _chain(self) -> list[Budget]:
        account: Budget | None = self
        found: list[Budget] = []
        while account is not None:
            found.append(account)
            account = account._parent
        return found

    def _exhausted(self, name: str, limit: float) -> BudgetExhausted:
        data: Object = {"limit": name, "allowed": limit, "spent": self.spent.to_value()}
        return BudgetExhausted(f"the budget of {limit:g} {name} is spent", data=data)


def _tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
