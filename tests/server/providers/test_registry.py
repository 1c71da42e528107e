from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.effects.messages import Message, ModelReply, ModelRequest, TextDelta
from llmspell.errors import ModelUnavailable, ModelUnknown
from llmspell.providers.registry import FALLBACK_MODEL, Providers
from llmspell.values import dumps


def test_without_a_default_model_the_echo_answers_and_the_host_can_tell() -> None:
    providers = Providers()
    assert providers.is_fallback
    assert providers.resolve("").full_name == FALLBACK_MODEL
    assert not Providers(default="scripted/tour.json").is_fallback


def test_a_scripted_model_goes_to_the_scripted_provider_by_its_path() -> None:
    found = Providers().resolve("scripted/tests/tour.json")
    assert (found.provider.name, found.model) == ("scripted", "tests/tour.json")


def test_any_other_provider_goes_to_litellm_by_its_full_name() -> None:
    providers = Providers()
    for name in ("openrouter/vendor/model", "litellm/openrouter/vendor/model"):
        found = providers.resolve(name)
        assert (found.provider.name, found.model) == ("litellm", "openrouter/vendor/model")
        assert found.full_name == "openrouter/vendor/model"


def test_a_role_stands_for_its_model_also_as_the_default() -> None:
    providers = Providers(default="smart", roles={"smart": "anthropic/claude-sonnet-4-5"})
    assert providers.resolve("smart").full_name == "anthropic/claude-sonnet-4-5"
    assert providers.resolve("").full_name == "anthropic/claude-sonnet-4-5"


@pytest.mark.parametrize("name", ["smrt", "openai/", "/gpt", "gpt-5"])
def test_what_is_neither_role_nor_model_is_refused(name: str) -> None:
    with pytest.raises(ModelUnknown, match="no model and no role"):
        Providers(roles={"smart": "openai/x"}).resolve(name)


def test_a_misspelt_role_comes_with_a_suggestion() -> None:
    with pytest.raises(ModelUnknown) as caught:
        Providers(roles={"smart": "openai/x", "fast": "openai/y"}).resolve("smrt")
    assert (caught.value.hint or "").startswith("did you mean 'smart'? The roles are: fast, smart.")


def test_without_network_only_scripted_models_resolve_and_the_error_names_the_switch() -> None:
    providers = Providers(allow_network=False)
    assert providers.resolve("scripted/echo").model == "echo"
    with pytest.raises(ModelUnavailable, match="LLMSPELL_ALLOW_NETWORK"):
        providers.resolve("openai/gpt-5")


async def test_a_request_streams_from_the_model_it_names(tmp_path: Path) -> None:
    (tmp_path / "tour.json").write_text(dumps([{"text": "Hello there"}]), encoding="utf-8")
    providers = Providers(roles={"guide": "scripted/tour.json"}, project=tmp_path)
    request = ModelRequest(model="guide", messages=(Message(role="user", text="go"),))
    events = [event async for event in providers.stream(request)]
    assert events[:2] == [TextDelta("Hello "), TextDelta("there")]
    assert isinstance(events[2], ModelReply)
    assert events[2].model == "scripted/tour.json"


async def test_closing_twice_is_no_error() -> None:
    providers = Providers()
    await providers.close()
    await providers.close()
