from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmspell.clock import ManualClock
from llmspell.effects.messages import Message, ModelReply, ModelRequest, TextDelta, ToolCall
from llmspell.errors import (
    ModelBadRequest,
    ModelContextLength,
    ModelError,
    ModelRateLimit,
    ModelUnavailable,
    ModelUnknown,
)
from llmspell.providers.scripted import ScriptedProvider
from llmspell.values import JSON, dumps


def user(text: str) -> Message:
    return Message(role="user", text=text)


def said(text: str) -> Message:
    return Message(role="assistant", text=text)


async def collect(
    provider: ScriptedProvider, model: str, *messages: Message
) -> tuple[list[str], ModelReply]:
    """Return the streamed pieces and the reply."""
    pieces: list[str] = []
    request = ModelRequest(model=model, messages=messages)
    async for event in provider.stream(request, model=model):
        match event:
            case TextDelta(text=text):
                pieces.append(text)
            case ModelReply():
                return pieces, event
    raise AssertionError("no reply")


def scripted(*steps: Any, clock: ManualClock | None = None) -> ScriptedProvider:
    return ScriptedProvider(scripts={"s": steps}, clock=clock)


async def answer(provider: ScriptedProvider, *messages: Message) -> ModelReply:
    return (await collect(provider, "s", *messages))[1]


async def test_echo_repeats_the_last_user_message_and_says_that_it_is_no_model() -> None:
    pieces, reply = await collect(
        ScriptedProvider(), "echo", Message(role="system", text="S"), user("one"), user("two words")
    )
    assert reply.text == "[scripted/echo] two words"
    assert pieces == ["[scripted/echo] ", "two ", "words"]
    assert (reply.model, reply.finish, reply.calls) == ("scripted/echo", "stop", ())
    assert (reply.usage.calls, reply.usage.usd) == (1, 0.0)


async def test_the_pieces_of_a_text_are_the_text_whatever_its_spaces() -> None:
    text = "  two\n\n  lines \n"
    pieces, reply = await collect(scripted({"text": text}), "s", user("go"))
    assert "".join(pieces) == reply.text == text


async def test_steps_in_order_answer_by_the_number_of_assistant_turns() -> None:
    provider = scripted({"text": "first"}, {"text": "second"})
    assert (await answer(provider, user("a"))).text == "first"
    assert (await answer(provider, user("a"), said("first"), user("b"))).text == "second"
    assert (await answer(provider, user("other"))).text == "first"


async def test_conversations_side_by_side_get_the_same_answers_as_one_after_the_other() -> None:
    provider = scripted({"text": "first"}, {"text": "second"})
    later = (user("a"), said("first"), user("b"))
    replies = await asyncio.gather(
        answer(provider, *later), answer(provider, user("a")), answer(provider, *later)
    )
    assert [reply.text for reply in replies] == ["second", "first", "second"]


async def test_a_step_with_when_answers_whatever_matches_any_number_of_times() -> None:
    provider = scripted({"text": "in order"}, {"when": "(?i)hello", "text": "Hi!"})
    for _ in range(2):
        assert (await answer(provider, user("well, Hello"))).text == "Hi!"
    assert (await answer(provider, user("bye"))).text == "in order"


async def test_groups_of_when_fill_the_text_and_the_arguments_of_calls() -> None:
    step = {
        "when": r"weather in (\w+) on (?P<day>\w+)",
        "text": "{{0}}? {{1}}! {{other}}",
        "calls": [{"name": "weather", "arguments": {"city": "{{1}}", "days": ["{{day}}", 2]}}],
    }
    reply = await answer(scripted(step), user("the weather in Oslo on Monday"))
    assert reply.text == "weather in Oslo on Monday? Oslo! {{other}}"
    assert reply.calls[0].arguments == {"city": "Oslo", "days": ["Monday", 2]}


async def test_system_narrows_a_step_to_the_agents_it_is_meant_for() -> None:
    provider = scripted(
        {"system": "scholar", "text": "papers"},
        {"system": "editor", "text": "brief"},
        {"system": "editor", "text": "second brief"},
    )
    editor = Message(role="system", text="You are an editor.")
    assert (await answer(provider, editor, user("go"))).text == "brief"
    assert (await answer(provider, editor, user("go"), said("x"), user("go"))).text == (
        "second brief"
    )
    scholar = Message(role="system", text="You are a scholar.")
    assert (await answer(provider, scholar, user("go"))).text == "papers"


async def test_calls_get_ids_that_no_other_turn_of_the_conversation_has() -> None:
    steps = [{"calls": [{"name": "a"}, {"name": "b", "arguments": {"x": 1}}]}] * 2
    provider = scripted(*steps)
    first = await answer(provider, user("go"))
    second = await answer(provider, user("go"), said(""), user("on"))
    assert first.calls == (
        ToolCall(id="call_1_1", name="a", arguments={}),
        ToolCall(id="call_1_2", name="b", arguments={"x": 1}),
    )
    assert first.finish == "tool_calls"
    assert [call.id for call in second.calls] == ["call_2_1", "call_2_2"]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limit", ModelRateLimit),
        ("unavailable", ModelUnavailable),
        ("context_length", ModelContextLength),
        ("failed", ModelError),
    ],
)
async def test_an_error_breaks_off_after_the_text_of_its_step(
    kind: str, error: type[ModelError]
) -> None:
    pieces: list[str] = []
    provider = scripted({"text": "half a", "error": kind})
    request = ModelRequest(model="", messages=(user("go"),))

    async def read() -> None:
        async for event in provider.stream(request, model="s"):
            assert isinstance(event, TextDelta)
            pieces.append(event.text)

    with pytest.raises(error, match=kind):
        await read()
    assert pieces == ["half ", "a"]


async def test_a_delay_waits_on_the_injected_clock() -> None:
    clock = ManualClock()
    provider = scripted({"text": "late", "delay": 3600}, clock=clock)
    waiting = asyncio.create_task(answer(provider, user("go")))
    async with asyncio.timeout(5):
        await clock.sleeper()
        assert not waiting.done()
        await clock.advance(3600)
        assert (await waiting).text == "late"


async def test_usage_is_counted_from_the_characters_or_taken_from_the_step() -> None:
    counted = await answer(scripted({"text": "12345678"}), user("1234"), user("5"))
    assert (counted.usage.input_tokens, counted.usage.output_tokens) == (2, 2)
    step = {"text": "x", "usage": {"input_tokens": 900, "output_tokens": 30}}
    told = await answer(scripted(step), user("1234"))
    assert (told.usage.input_tokens, told.usage.output_tokens) == (900, 30)


async def test_a_conversation_that_no_step_fits_is_an_error_that_names_it_and_the_steps() -> None:
    provider = scripted({"text": "only"}, {"when": "hel+o", "text": "hi"})
    with pytest.raises(ModelBadRequest) as caught:
        await answer(provider, user("a"), said("only"), user("what now?"))
    assert "'what now?'" in caught.value.message
    assert "turn 2" in caught.value.message
    assert caught.value.hint == "it has 1 step in order, and answers to: 'hel+o'"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ({"text": "x"}, "not a list of steps"),
        ([{"tekst": "x"}], "step 1 of script 's.json': unknown key 'tekst'"),
        ([{"text": "x"}, {"text": 3}], "step 2 of script 's.json': Expected `str`"),
        ([{"when": "("}], "step 1 .*unterminated"),
        ([{"error": "tired"}], "'tired' is no error of a model"),
    ],
)
async def test_a_file_that_is_no_script_is_an_error_that_names_the_step(
    tmp_path: Path, script: JSON, message: str
) -> None:
    (tmp_path / "s.json").write_text(dumps(script), encoding="utf-8")
    with pytest.raises(ModelBadRequest, match=message):
        await collect(ScriptedProvider(tmp_path), "s.json", user("go"))


async def test_an_unknown_key_comes_with_a_suggestion() -> None:
    with pytest.raises(ModelBadRequest) as caught:
        scripted({"tetx": "x"})
    assert "did you mean 'text'?" in (caught.value.hint or "")


async def test_a_file_of_the_project_is_read_at_each_call(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    path = tmp_path / "tests" / "tour.json"
    provider = ScriptedProvider(tmp_path)
    for text in ("one", "two"):
        path.write_text(dumps([{"text": text}]), encoding="utf-8")
        _, reply = await collect(provider, "tests/tour.json", user("go"))
        assert (reply.text, reply.model) == (text, "scripted/tests/tour.json")


async def test_no_path_leads_out_of_the_project(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    outside = tmp_path / "secret.json"
    outside.write_text(dumps([{"text": "secret"}]), encoding="utf-8")
    (project / "link.json").symlink_to(outside)
    provider = ScriptedProvider(project)
    for model in (
        "../secret.json",
        str(outside),
        "link.json",
        "a/../../secret.json",
        "a/../b.json",
        "",
        ".",
        "\0",
    ):
        with pytest.raises(ModelUnknown):
            await collect(provider, model, user("go"))


async def test_a_missing_script_is_an_unknown_model_and_the_hint_says_what_one_is(
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelUnknown) as caught:
        await collect(ScriptedProvider(tmp_path), "tour.json", user("go"))
    assert "'tour.json'" in caught.value.message
    assert "JSON list of steps" in (caught.value.hint or "")
