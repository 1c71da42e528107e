"""Budgets: a cast and all it begins spend from one account, and its end is an error with a sum."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.effects.messages import Message, ModelRequest, ToolOffer, Usage
from llmspell.errors import BudgetExhausted, BudgetUnknownPrice, ModelTimeout
from llmspell.providers.prices import FREE, Price
from llmspell.runs.budget import OUTPUT_TOKENS, Budget, Estimate, estimate
from llmspell.spec.declaration import Budget as Limits


def account(
    parent: Budget | None = None, *, calls: int = 100, depth: int = 16, **limits: float
) -> Budget:
    return Budget(Limits.model_validate(limits), parent=parent, calls=calls, depth=depth)


def usage(tokens: int = 0, usd: float | None = 0.0) -> Usage:
    return Usage(input_tokens=tokens, output_tokens=0, calls=1, usd=usd)


SMALL = Estimate(
    model="scripted/echo",
    input_tokens=1,
    max_tokens=1,
    price=Price(read=0.001, written=0.001),
)


async def spend(budget: Budget, spent: Usage) -> None:
    (await budget.reserve(SMALL)).settle(spent)


async def call(budget: Budget) -> None:
    """Reserve what another small call may spend, which must fit, and give it back."""
    (await budget.reserve(SMALL)).release()


async def test_a_budget_without_limits_still_ends_at_the_calls_of_the_settings() -> None:
    budget = account(calls=3)
    for _ in range(3):
        await spend(budget, usage())
    with pytest.raises(BudgetExhausted) as caught:
        await call(budget)
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
async def test_the_error_names_the_limit_that_was_reached(
    limits: dict[str, float], spent: Usage, name: str
) -> None:
    budget = Budget(Limits.model_validate(limits), calls=100, depth=16)
    await spend(budget, spent)
    with pytest.raises(BudgetExhausted) as caught:
        await call(budget)
    assert caught.value.code == "budget.exhausted"
    assert caught.value.data["limit"] == name
    assert name in caught.value.message


async def test_a_spells_own_limit_stands_even_above_that_of_the_settings() -> None:
    budget = account(calls=1)
    generous = Budget(Limits(calls=5), calls=1, depth=16)
    await spend(budget, usage())
    with pytest.raises(BudgetExhausted):
        await call(budget)
    for _ in range(5):
        await spend(generous, usage())


async def test_a_child_spends_from_its_parent() -> None:
    parent = account(tokens=100)
    child = account(parent)
    grandchild = account(child)
    await spend(grandchild, usage(tokens=60))
    assert (parent.spent.input_tokens, child.spent.input_tokens) == (60, 60)
    await spend(child, usage(tokens=40))
    for budget in (parent, child, grandchild):
        with pytest.raises(BudgetExhausted) as caught:
            await call(budget)
        assert caught.value.data["spent"]["input_tokens"] == 100


async def test_a_childs_own_limit_does_not_end_its_parent() -> None:
    parent = account(tokens=100)
    child = account(parent, tokens=10)
    await spend(child, usage(tokens=10))
    with pytest.raises(BudgetExhausted):
        await call(child)
    await call(parent)
    await call(account(parent))


async def test_a_child_cannot_give_itself_more_than_its_parent_has() -> None:
    parent = account(calls=1)
    child = Budget(Limits(calls=1000), parent=parent, calls=1000, depth=16)
    await spend(child, usage())
    with pytest.raises(BudgetExhausted):
        await call(child)


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


# --- reservations

PRICE = Price(read=0.001, written=0.01)


def wanted(
    tokens: int = 10, most: int | None = 10, *, price: Price | None = FREE, model: str = "a/b"
) -> Estimate:
    return Estimate(model=model, input_tokens=tokens, max_tokens=most, price=price)


async def test_a_call_holds_the_most_it_can_spend_and_gives_back_the_rest() -> None:
    budget = account(tokens=100)
    held = await budget.reserve(wanted(10, 80))
    held.settle(usage(tokens=15))
    assert budget.spent.input_tokens == 15
    (await budget.reserve(wanted(10, 75))).release()
    with pytest.raises(BudgetExhausted) as caught:
        await budget.reserve(wanted(10, 76))
    assert caught.value.data["limit"] == "tokens"
    assert caught.value.data["needed"] == 86
    assert caught.value.data["spent"]["input_tokens"] == 15


async def test_a_call_that_fails_spends_nothing() -> None:
    budget = account(tokens=100)
    for _ in range(3):
        with contextlib.suppress(ModelTimeout), await budget.reserve(wanted(10, 90)):
            raise ModelTimeout("no answer")
    assert budget.spent == Usage()
    (await budget.reserve(wanted(10, 90))).settle(usage(tokens=100))


async def test_calls_made_side_by_side_wait_for_one_another_rather_than_overspend() -> None:
    budget = account(calls=3, tokens=100)
    first = await budget.reserve(wanted(10, 50))
    second = asyncio.ensure_future(account(budget).reserve(wanted(10, 50)))
    await asyncio.sleep(0)
    assert not second.done()
    first.settle(usage(tokens=20))
    async with asyncio.timeout(5):
        (await second).settle(usage(tokens=20))
    assert budget.spent.input_tokens == 40


async def test_one_that_waits_is_told_when_the_others_spent_what_it_needs() -> None:
    budget = account(tokens=100)
    first = await budget.reserve(wanted(10, 50))
    second = asyncio.ensure_future(budget.reserve(wanted(10, 50)))
    await asyncio.sleep(0)
    first.settle(usage(tokens=60))
    async with asyncio.timeout(5):
        with pytest.raises(BudgetExhausted):
            await second


async def test_one_that_is_canceled_while_it_waits_holds_nothing() -> None:
    budget = account(tokens=100)
    first = await budget.reserve(wanted(10, 50))
    second = asyncio.ensure_future(budget.reserve(wanted(10, 50)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    first.release()
    (await budget.reserve(wanted(10, 90))).release()


@pytest.mark.parametrize(
    ("limits", "spent", "most"),
    [
        ({}, 0, None),  # nobody limits it: as its request says
        ({"tokens": 100_000}, 0, OUTPUT_TOKENS),
        ({"tokens": 1000}, 100, 890),
        ({"usd": 1.0}, 100, 89),
    ],
)
async def test_a_request_without_a_longest_answer_gets_one_where_a_spell_limits_it(
    limits: dict[str, float], spent: int, most: int | None
) -> None:
    budget = Budget(Limits.model_validate(limits), calls=100, depth=16)
    budget.recharge(Usage(input_tokens=spent, calls=1, usd=spent * PRICE.read))
    held = await budget.reserve(wanted(10, None, price=PRICE))
    assert held.max_tokens == most
    held.release()


async def test_a_request_that_says_how_long_its_answer_is_keeps_its_word() -> None:
    held = await account(tokens=100).reserve(wanted(10, 20))
    assert held.max_tokens is None


async def test_a_call_is_reserved_at_its_price() -> None:
    budget = account(usd=0.11)
    (await budget.reserve(wanted(10, 10, price=PRICE))).release()
    with pytest.raises(BudgetExhausted) as caught:
        await budget.reserve(wanted(11, 10, price=PRICE))
    assert caught.value.data["limit"] == "usd"
    assert caught.value.data["needed"] == pytest.approx(0.111)


async def test_what_the_provider_does_not_price_costs_what_the_list_says() -> None:
    budget = account(usd=1.0)
    held = await budget.reserve(wanted(10, 10, price=PRICE))
    charged = held.settle(Usage(input_tokens=10, output_tokens=5, calls=1, usd=None))
    assert charged.usd == pytest.approx(0.06)
    assert budget.spent.usd == pytest.approx(0.06)


async def test_a_call_of_unknown_price_is_not_made_where_a_spell_limits_usd() -> None:
    for budget in (account(usd=1.0), account(account(usd=1.0))):
        with pytest.raises(BudgetUnknownPrice, match="'x/y'") as caught:
            await budget.reserve(wanted(price=None, model="x/y"))
        assert caught.value.code == "budget.unknown_price"
        assert budget.spent == Usage()


async def test_a_limit_of_the_settings_in_usd_lets_unknown_prices_pass() -> None:
    budget = Budget(Limits(), calls=10, depth=1, usd=0.1)
    held = await budget.reserve(wanted(price=None))
    held.settle(Usage(input_tokens=10, calls=1, usd=None))
    assert budget.spent.usd is None
    with pytest.raises(BudgetExhausted):
        await budget.reserve(wanted(100, 1, price=PRICE))


async def test_the_settings_limit_tokens_where_a_spell_does_not() -> None:
    with pytest.raises(BudgetExhausted):
        await Budget(Limits(), calls=10, depth=1, tokens=15).reserve(wanted(10, 10))
    own = Budget(Limits(tokens=20), calls=10, depth=1, tokens=15)
    (await own.reserve(wanted(10, 10))).release()


async def test_what_was_recorded_before_a_restart_is_spent() -> None:
    budget = account(account(tokens=100), calls=2)
    budget.recharge(usage(tokens=95))
    # More than allowed, and yet it is a fact.
    budget.recharge(usage(tokens=95), children=1, tool_calls=1)
    assert (budget.spent.calls, budget.children, budget.tool_calls) == (2, 1, 1)
    with pytest.raises(BudgetExhausted):
        await budget.reserve(wanted())


def test_children_and_tool_calls_are_counted_over_the_whole_tree() -> None:
    root = account(children=3, tool_calls=1)
    child = account(root)
    child.enter("one")
    child.enter("two", tool_call=True)
    with pytest.raises(BudgetExhausted) as caught:
        account(child).enter("three", tool_call=True)
    assert caught.value.data["limit"] == "tool_calls"
    assert (root.children, root.tool_calls) == (2, 1)
    child.enter("three")
    with pytest.raises(BudgetExhausted, match="3 children") as caught:
        root.enter("four")
    assert caught.value.data["spent"]["children"] == 3


def test_the_input_of_a_request_is_counted_with_its_tools_and_its_schema() -> None:
    bare = ModelRequest(model="m", messages=(Message(role="user", text="x" * 400),))
    assert estimate(bare, model="m", price=None).input_tokens == 104
    full = msgspec.structs.replace(
        bare,
        tools=(ToolOffer(name="t", description="d" * 400, input_schema={}),),
        output_schema={"description": "s" * 400},
        max_tokens=7,
    )
    counted = estimate(full, model="m", price=FREE)
    assert counted.input_tokens > 304
    assert counted.max_tokens == 7


class _Call(NamedTuple):
    account: int
    input: int
    most: int | None
    used: float
    """Which part of the most it spends; below 0 = it fails."""
    turns: int


_LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "tokens": st.integers(1, 6000),
        "calls": st.integers(1, 8),
        "usd": st.floats(0.01, 30.0),
    },
)
_CALLS = st.builds(
    _Call,
    account=st.integers(0, 3),
    input=st.integers(0, 800),
    most=st.none() | st.integers(1, 2000),
    used=st.floats(-0.5, 1.0),
    turns=st.integers(0, 5),
)


@given(
    limits=st.lists(_LIMITS, min_size=4, max_size=4),
    parents=st.tuples(st.just(0), st.integers(0, 1), st.integers(0, 2)),
    calls=st.lists(_CALLS, max_size=15),
)
async def test_no_interleaving_of_calls_exceeds_a_limit_and_every_call_is_answered(
    limits: list[dict[str, Any]], parents: tuple[int, int, int], calls: list[_Call]
) -> None:
    accounts: list[Budget] = []
    for parent, own in zip((None, *parents), limits, strict=True):
        above = None if parent is None else accounts[parent]
        accounts.append(Budget(Limits.model_validate(own), parent=above, calls=12, depth=16))

    def check() -> None:
        for budget, own in zip(accounts, limits, strict=True):
            spent = budget.spent
            assert spent.calls <= own.get("calls", 12)
            assert spent.input_tokens + spent.output_tokens <= own.get("tokens", sys.maxsize)
            assert (spent.usd or 0) <= own.get("usd", sys.maxsize) + 1e-6

    async def make(call: _Call) -> None:
        asked = wanted(call.input, call.most, price=PRICE)
        try:
            with await accounts[call.account].reserve(asked) as held:
                for _ in range(call.turns):
                    await asyncio.sleep(0)
                if call.used < 0:
                    return
                most = call.most or held.max_tokens or OUTPUT_TOKENS
                written = int(most * call.used)
                usd = PRICE.of(call.input, written)
                held.settle(Usage(input_tokens=call.input, output_tokens=written, calls=1, usd=usd))
        except BudgetExhausted:
            pass
        check()

    async with asyncio.timeout(20):
        await asyncio.gather(*map(make, calls))
    for budget in accounts:
        assert not budget._waiting  # pyright: ignore[reportPrivateUsage]  # nobody is forgotten
