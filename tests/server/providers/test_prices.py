"""Prices: what a model costs at most, known before it is asked, and without litellm."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmspell.providers.prices import FREE, Price, Prices
from llmspell.providers.registry import Providers


@pytest.mark.parametrize("model", ["scripted/echo", "ollama/qwen3", "lm_studio/anything"])
async def test_scripted_and_local_models_cost_nothing(model: str) -> None:
    assert await Prices(worst_usd_per_million_tokens=5.0).of(model) == FREE


@pytest.mark.parametrize(
    "model", ["anthropic/claude-sonnet-4-5", "openai/gpt-5", "mistral/mistral-large-latest"]
)
async def test_the_models_that_are_defaults_have_prices(model: str) -> None:
    price = await Prices().of(model)
    assert price is not None
    assert 0 < price.read < price.written < 0.001


async def test_a_long_input_is_counted_at_the_dearer_price_it_has() -> None:
    price = await Prices().of("gemini/gemini-2.5-pro")
    assert price is not None
    short, long = price.of(200_000, 0) / 200_000, price.of(200_001, 0) / 200_001
    assert long == pytest.approx(2 * short)


async def test_what_no_list_has_costs_the_worst_that_settings_give() -> None:
    assert await Prices().of("nobody/knows-this") is None
    worst = await Prices(worst_usd_per_million_tokens=50.0).of("nobody/knows-this")
    assert worst == Price(read=0.00005, written=0.00005)


async def test_a_listed_name_of_another_provider_is_no_price() -> None:
    assert await Prices().of("nobody/gpt-5") is None


@pytest.mark.parametrize(
    ("base", "is_free"),
    [
        ("http://localhost:8080/v1", True),
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("https://models.example.com/v1", False),
        ("http://10.0.0.7:8080", False),
        ("", False),
    ],
)
async def test_what_this_machine_serves_is_free_unless_the_list_has_its_price(
    base: str, is_free: bool
) -> None:
    prices = Prices(api_bases={"openai": base})
    assert (await prices.of("openai/my-own-model") == FREE) is is_free
    listed = await prices.of("openai/gpt-5")  # it may be a proxy
    assert listed is not None
    assert listed.read > 0


async def test_a_role_and_the_default_have_the_price_of_their_model() -> None:
    providers = Providers(default="scripted/echo", roles={"smart": "openai/gpt-5"})
    assert await providers.price("") == FREE
    assert await providers.price("smart") == await Prices().of("openai/gpt-5")
    await providers.close()


def test_a_price_is_read_without_importing_litellm() -> None:
    code = (
        "import asyncio, sys\n"
        "from llmspell.providers.prices import Prices\n"
        "price = asyncio.run(Prices().of('openai/gpt-5'))\n"
        "assert price and 'litellm' not in sys.modules, price\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
