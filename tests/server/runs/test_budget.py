"""Budgets: a cast and all it begins spend from one account, and its end is an error with a sum."""

from __future__ import annotations

import pytest

from llmspell.effects.messages import Usage
from llmspell.errors import BudgetExhausted, BudgetUnknownPrice
from llmspell.runs.budget import Budget
from llmspell.spec.declaration import Budget as Limits


def account(
    parent: Budget | None = None, *, calls: int = 100, depth: int = 16, **limits: float
) -> Budget:
    return Budget(Limits.model_validate(limits), parent=parent, calls=calls, depth=depth)


def usage(tokens: int = 0, usd: float | None = 0.0) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=0, calls=1, usd=usd)


def spend(budget: Budget, spent: Usage) -> None:
    budget.before_call()
    budget.charge(spent, "scripted/echo")


def test_a_budget_without_limits_still_ends_at_the_calls_of_the_settings() -> None:
    budget = account(calls=3)
    for _ in range(3):
        spend(budget, usage())
    with pytest.raises(BudgetExhausted) as caught:
        budget.before_call()
    assert caught.value.data["limit"] == "calls"
    assert caught.value.data["allowed"] == 3
    assert caught.value.data["spent"]["calls"] == 3


@pytest.mark.parametrize(
    ("limits", "spent", "name"),
    [
        ({"calls": 1}, usage(), "calls"),
        ({"tokens": 10}, usage(tokens=10), "tokens"),
        ({"usd": 0.5}, usage(usd=0.5), "usd"),
    ],
)
def test_the_error_names_the_limit_that_was_reached(
    limits: dict[str, float], spent: Usage, name: str
) -> None:
    budget = Budget(Limits.model_validate(limits), calls=100, depth=16)
    spend(budget, spent)
    with pytest.raises(BudgetExhausted) as caught:
        budget.before_call()
    assert caught.value.code == "budget.exhausted"
    assert caught.value.data["limit"] == name
    assert name in caught.value.message


def test_a_spells_own_limit_stands_even_above_that_of_the_settings() -> None:
    budget = account(calls=1)
    generous = Budget(Limits(calls=5), calls=1, depth=16)
    spend(budget, usage())
    with pytest.raises(BudgetExhausted):
        budget.before_call()
    for _ in range(5):
        spend(generous, usage())


def test_a_child_spends_from_its_parent() -> None:
    parent = account(tokens=100)
    child = account(parent)
    grandchild = account(child)
    spend(grandchild, usage(tokens=60))
    assert (parent.spent.input_tokens, child.spent.input_tokens) == (60, 60)
    spend(child, usage(tokens=40))
    for budget in (parent, child, grandchild):
        with pytest.raises(BudgetExhausted) as caught:
            budget.before_call()
        assert caught.value.data["spent"]["input_tokens"] == 100


def test_a_childs_own_limit_does_not_end_its_parent() -> None:
    parent = account(tokens=100)
    child = account(parent, tokens=10)
    spend(child, usage(tokens=10))
    with pytest.raises(BudgetExhausted):
        child.before_call()
    parent.before_call()
    account(parent).before_call()


def test_a_child_cannot_give_itself_more_than_its_parent_has() -> None:
    parent = account(calls=1)
    child = Budget(Limits(calls=1000), parent=parent, calls=1000, depth=16)
    spend(child, usage())
    with pytest.raises(BudgetExhausted):
        child.before_call()


def test_casts_nest_as_deep_as_allowed_and_no_deeper() -> None:
    budget = account(depth=2)
    budget.enter("one")
    child = account(budget, depth=2)
    child.enter("two")
    grandchild = account(child, depth=2)
    with pytest.raises(BudgetExhausted, match="'three' cannot be cast") as caught:
        grandchild.enter("three")
    assert caught.value.data["limit"] == "depth"


def test_a_spell_may_allow_less_depth_below_itself_but_not_more() -> None:
    root = account(depth=3)
    careful = Budget(Limits(depth=1), parent=root, calls=1, depth=3)
    careful.enter("child")
    with pytest.raises(BudgetExhausted):
        Budget(Limits(), parent=careful, calls=1, depth=3).enter("grandchild")
    bold = Budget(
        Limits(depth=100), parent=Budget(Limits(depth=1), calls=1, depth=3), calls=1, depth=3
    )
    with pytest.raises(BudgetExhausted):
        bold.enter("child")


def test_an_unknown_price_matters_only_where_a_budget_is_in_usd() -> None:
    free = account(tokens=100)
    spend(free, usage(usd=None))
    assert free.spent.usd is None
    with pytest.raises(BudgetUnknownPrice, match="'scripted/echo'") as caught:
        spend(account(usd=1.0), usage(usd=None))
    assert caught.value.code == "budget.unknown_price"
    with pytest.raises(BudgetUnknownPrice):
        spend(account(account(usd=1.0)), usage(usd=None))
