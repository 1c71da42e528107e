from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmspell.components.agent import MAX_RESULT_CHARS, run_agent
from llmspell.effects.effect import CallModel, Cast, Describe, Effect
from llmspell.effects.messages import ModelReply, ModelRequest, ToolCall, ToolOffer, Usage
from llmspell.errors import (
    BudgetExhausted,
    BudgetUnknownPrice,
    InputInvalid,
    ModelBadRequest,
    ModelContentPolicy,
    ModelUnavailable,
    SpellRaised,
)
from llmspell.spec.declaration import AgentLimits, AgentSpec
from llmspell.values import JSON, Object
from tests.support.driving import drive


def call(name: str, arguments: JSON, id: str = "c1") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


def says(text: str, **usage: Any) -> ModelReply:
    return ModelReply(text=text, usage=Usage(calls=1, **usage))


def wants(*calls: ToolCall, text: str = "", **usage: Any) -> ModelReply:
    return ModelReply(text=text, calls=calls, finish="tool_calls", usage=Usage(calls=1, **usage))


class World:
    """Answers an agent's effects from a list of replies and a table of tools."""

    def __init__(self, *replies: ModelReply, **tools: Callable[[Any], JSON]) -> None:
        self.replies = list(replies)
        self.tools: dict[str, Callable[[Any], JSON]] = tools
        self.requests: list[ModelRequest] = []
        self.asked: list[CallModel] = []
        self.casts: list[Cast] = []

    def __call__(self, effect: Effect) -> Any:
        match effect:
            case Describe(targets=targets):
                return [self._offer(target) for target in targets]
            case CallModel(request=request):
                self.asked.append(effect)
                self.requests.append(request)
                return self.replies.pop(0)
            case Cast(target=target, input=input):
                self.casts.append(effect)
                return self.tools[str(target)](input)
            case _:
                raise AssertionError(f"unexpected {effect}")

    @staticmethod
    def _offer(target: str | Object) -> ToolOffer:
        return ToolOffer(name=str(target), description="", input_schema={"type": "object"})

    def run(self, spec: AgentSpec, prompt: JSON = "go", **more: Any) -> Object:
        return drive(run_agent(spec, prompt, **more), self)


def results(request: ModelRequest) -> list[str]:
    return [message.text for message in request.messages if message.role == "tool"]


def test_an_agent_without_tools_asks_once_and_returns_the_text() -> None:
    world = World(says("42", input_tokens=5, output_tokens=2))
    result = world.run(AgentSpec(name="sage", system="Be brief.", model="smart"), "meaning?")
    assert result["text"] == "42"
    assert result["stopped"] == "done"
    assert result["output"] is None
    assert result["usage"] == {"input_tokens": 5, "output_tokens": 2, "calls": 1, "usd": 0.0}
    assert result["messages"] == [
        {"role": "user", "text": "meaning?"},
        {"role": "assistant", "text": "42"},
    ]
    (request,) = world.requests
    assert request.model == "smart"
    assert [(m.role, m.text) for m in request.messages] == [
        ("system", "Be brief."),
        ("user", "meaning?"),
    ]


def test_a_prompt_that_is_no_text_is_sent_as_json() -> None:
    world = World(says("ok"))
    world.run(AgentSpec(), {"topic": "owls", "n": 1})
    assert world.requests[0].messages[-1].text == '{"n":1,"topic":"owls"}'


def test_tool_calls_are_cast_and_their_results_answered_in_the_order_of_the_calls() -> None:
    world = World(
        wants(call("weather", {"city": "Oslo"}, "a"), call("weather", {"city": "Rome"}, "b")),
        says("Oslo is cold."),
        weather=lambda input: {"Oslo": "3 C", "Rome": 18}[input["city"]],
    )
    result = world.run(AgentSpec(tools=("weather",)))
    assert result["text"] == "Oslo is cold."
    answered = [(m.call_id, m.text) for m in world.requests[1].messages if m.role == "tool"]
    assert answered == [("a", "3 C"), ("b", "18")]
    assert [cast.label for cast in world.casts] == ["weather", "weather"]


def test_a_failing_tool_is_a_result_the_model_sees_and_not_the_end() -> None:
    def broken(input: Any) -> JSON:
        raise SpellRaised("no such city")

    world = World(wants(call("weather", {})), says("I do not know."), weather=broken)
    result = world.run(AgentSpec(tools=("weather",)))
    assert results(world.requests[1]) == ["error: no such city {code: spell.raised}"]
    assert result["stopped"] == "done"


def test_an_unknown_tool_is_answered_with_the_names_there_are_and_casts_nothing() -> None:
    world = World(wants(call("wether", {})), says("sorry"), weather=lambda _: "x")
    world.run(AgentSpec(tools=("weather", "clock")))
    assert results(world.requests[1]) == [
        "error: there is no tool 'wether'; the tools are: clock, weather"
    ]
    assert world.casts == []


def test_arguments_that_are_no_object_are_refused_without_a_cast() -> None:
    world = World(wants(call("weather", '{"city": "Os')), says("sorry"), weather=lambda _: "x")
    world.run(AgentSpec(tools=("weather",)))
    assert results(world.requests[1]) == ["error: the arguments of 'weather' are not a JSON object"]
    assert world.casts == []


def test_every_call_has_exactly_one_result_whatever_becomes_of_it() -> None:
    def fussy(input: Any) -> JSON:
        if input:
            raise SpellRaised("no")
        return "yes"

    calls = [call("fussy", {}, "a"), call("nope", {}, "b"), call("fussy", {"x": 1}, "c")]
    world = World(wants(*calls), says("done"), fussy=fussy)
    result = world.run(AgentSpec(tools=("fussy",)))
    answered = [m["call_id"] for m in result["messages"] if m["role"] == "tool"]
    assert answered == ["a", "b", "c"]


def test_the_last_allowed_turn_is_asked_for_without_tools() -> None:
    replies = [wants(call("count", {"n": n}, f"c{n}")) for n in range(2)]
    world = World(*replies, says("at most two"), count=lambda input: input["n"])
    result = world.run(AgentSpec(system="Count.", tools=("count",), limits=AgentLimits(turns=3)))
    assert [bool(request.tools) for request in world.requests] == [True, True, False]
    assert "Answer now" in world.requests[2].messages[0].text
    assert "Answer now" not in world.requests[1].messages[0].text
    assert (result["text"], result["stopped"]) == ("at most two", "turns")


def test_a_call_made_in_the_last_turn_is_dropped_rather_than_left_without_a_result() -> None:
    world = World(wants(call("count", {}), text="I would count."), count=lambda _: 1)
    result = world.run(AgentSpec(tools=("count",), limits=AgentLimits(turns=1)))
    assert result["messages"][-1] == {"role": "assistant", "text": "I would count."}
    assert (result["stopped"], world.casts) == ("turns", [])


def test_the_same_call_with_the_same_result_three_times_ends_in_an_answer_without_tools() -> None:
    replies = [wants(call("look", {"at": "sky"}, f"c{n}")) for n in range(3)]
    world = World(*replies, says("It is blue."), look=lambda _: "blue")
    result = world.run(AgentSpec(tools=("look",), limits=AgentLimits(turns=20)))
    assert len(world.casts) == 3
    assert world.requests[3].tools == ()
    assert (result["text"], result["stopped"]) == ("It is blue.", "repeated")


def test_a_call_whose_results_differ_may_be_repeated() -> None:
    rolls = iter(range(9))
    replies = [wants(call("roll", {}, f"c{n}")) for n in range(5)]
    world = World(*replies, says("enough"), roll=lambda _: next(rolls))
    assert world.run(AgentSpec(tools=("roll",)))["stopped"] == "done"


def test_a_long_result_keeps_its_head_and_tail_and_says_what_is_missing() -> None:
    world = World(
        wants(call("read", {})), says("ok"), read=lambda _: "H" * 9000 + "M" * 9000 + "T" * 9000
    )
    world.run(AgentSpec(tools=("read",)))
    (shown,) = results(world.requests[1])
    assert len(shown) < MAX_RESULT_CHARS
    assert shown.startswith("HHH")
    assert shown.endswith("TTT")
    assert "[... 19500 characters left out ...]" in shown


def test_tokens_are_checked_before_each_request_and_the_last_words_are_returned() -> None:
    world = World(
        wants(call("a", {}), text="Let me look.", input_tokens=60, output_tokens=50),
        a=lambda _: "x",
    )
    result = world.run(AgentSpec(tools=("a",), limits=AgentLimits(tokens=100)))
    assert (result["stopped"], result["text"]) == ("budget", "Let me look.")
    assert len(world.requests) == 1


def test_a_prompt_larger_than_the_token_limit_is_refused_before_any_request() -> None:
    world = World()
    with pytest.raises(BudgetExhausted, match="first request"):
        world.run(AgentSpec(limits=AgentLimits(tokens=10)), "word " * 100)
    assert world.requests == []


def test_dollars_are_checked_before_each_request() -> None:
    world = World(wants(call("a", {}), usd=0.2), a=lambda _: "x")
    result = world.run(AgentSpec(tools=("a",), limits=AgentLimits(usd=0.1)))
    assert result["stopped"] == "budget"


def test_a_limit_in_dollars_and_a_model_of_unknown_price_do_not_go_together() -> None:
    world = World(wants(call("a", {}), usd=None), a=lambda _: "x")
    with pytest.raises(BudgetUnknownPrice):
        world.run(AgentSpec(tools=("a",), limits=AgentLimits(usd=0.1)))


OUTPUT = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_a_structured_answer_is_parsed_and_validated() -> None:
    world = World(says('```json\n{"n": 3}\n```'))
    result = world.run(AgentSpec(output=OUTPUT))
    assert result["output"] == {"n": 3}
    assert world.requests[0].output_schema == OUTPUT


def test_a_structured_answer_that_does_not_fit_is_repaired_by_the_model() -> None:
    world = World(says("three"), says('{"n": "3"}'), says('{"n": 3}'))
    result = world.run(AgentSpec(output=OUTPUT))
    assert result["output"] == {"n": 3}
    first, second = world.requests[1].messages[-1], world.requests[2].messages[-1]
    assert (first.role, second.role) == ("user", "user")
    assert "not JSON" in first.text
    assert "n: " in second.text
    assert '"additionalProperties":false' in second.text


def nested(levels: int) -> str:
    return '{"x": ' * levels + "1" + "}" * levels


@pytest.mark.parametrize("text", ["[" * 100_000, nested(300), nested(900)])
def test_an_answer_nested_without_end_is_repaired_as_any_other(text: str) -> None:
    world = World(says(text), says('{"n": 4}'))
    assert world.run(AgentSpec(name="a", output=OUTPUT))["output"] == {"n": 4}


def test_after_two_repairs_the_error_has_the_text_and_what_is_wrong_with_it() -> None:
    world = World(says("a"), says("b"), says("c"))
    with pytest.raises(ModelBadRequest) as caught:
        world.run(AgentSpec(name="counter", output=OUTPUT))
    assert "counter" in caught.value.message
    assert caught.value.data["text"] == "c"
    assert caught.value.data["errors"]
    assert world.replies == []


def test_text_streams_when_asked_but_a_structured_answer_never_does() -> None:
    world = World(says("a"), says('{"n": 1}'))
    world.run(AgentSpec(), stream=True)
    world.run(AgentSpec(output=OUTPUT), stream=True)
    assert [effect.stream for effect in world.asked] == [True, False]


def test_the_messages_of_a_result_carry_a_conversation_on() -> None:
    world = World(wants(call("look", {})), says("blue"), says("as I said"), look=lambda _: "x")
    spec = AgentSpec(system="S", tools=("look",))
    first = world.run(spec, "sky?")
    world.run(spec, "sure?", messages=first["messages"])
    roles = [message.role for message in world.requests[2].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_messages_that_are_no_conversation_are_refused() -> None:
    with pytest.raises(InputInvalid, match="no conversation"):
        World().run(AgentSpec(), messages=[{"role": "wizard"}])


def test_names_are_offered_as_models_accept_them_and_lead_back_to_their_targets() -> None:
    world = World(wants(call("git_hub_2", {})), says("ok"))
    world.tools = {"git.hub": lambda _: "A", "git hub": lambda _: "B"}
    world.run(AgentSpec(tools=("git.hub", "git hub", "x" * 80)))
    assert [offer.name for offer in world.requests[0].tools] == ["git_hub", "git_hub_2", "x" * 64]
    assert results(world.requests[1]) == ["B"]


def test_an_error_of_the_model_ends_the_agent() -> None:
    def answer(effect: Effect) -> Any:
        raise ModelUnavailable("down")

    with pytest.raises(ModelUnavailable, match="down"):
        drive(run_agent(AgentSpec(), "go"), answer)


def test_an_answer_that_the_provider_withheld_is_an_error_and_not_an_empty_text() -> None:
    world = World(ModelReply(text="I", finish="content_filter"))
    with pytest.raises(ModelContentPolicy):
        world.run(AgentSpec())
