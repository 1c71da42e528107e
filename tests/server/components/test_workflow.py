from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmspell.components.workflow import run_workflow
from llmspell.effects.effect import CallFunction, Cast, Describe, Effect, Parallel, Record
from llmspell.effects.messages import ToolOffer
from llmspell.errors import SpellRaised, TemplateError, WorkflowError
from llmspell.values import JSON, FunctionRef, Object
from tests.support.driving import drive

TEXT_INPUT: Object = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["text"],
}


def sequential(*steps: Any, **keys: Any) -> Object:
    return {"$kind": "workflow", "$line": 1, "type": "sequential", "steps": list(steps), **keys}


def parallel(*steps: Any, **keys: Any) -> Object:
    node = {"$kind": "workflow", "$line": 1, "type": "parallel", **keys}
    return {**node, "steps": list(steps)} if steps else node


class World:
    """Answers a workflow's effects from functions by target, and keeps what was asked."""

    def __init__(self, **castables: Callable[[Any], JSON]) -> None:
        self.castables = castables
        self.casts: list[Cast] = []
        self.events: list[tuple[str, str]] = []
        self.runs: list[Object] = []
        self.schema = TEXT_INPUT

    def __call__(self, effect: Effect) -> Any:
        match effect:
            case Cast(target=target, input=input):
                self.casts.append(effect)
                name = target if isinstance(target, str) else str(target["name"])
                return self.castables[name](input)
            case Describe(targets=targets):
                offer = ToolOffer(name="x", description="", input_schema=self.schema)
                return [offer for _ in targets]
            case CallFunction(function=function, arguments=(run,)):
                self.runs.append(run)
                return self.castables[f"f{function.number}"](run)
            case Record(kind=kind, data=data):
                self.events.append((kind, data["name"]))
            case _:
                raise AssertionError(f"unexpected {effect}")
        return None

    def run(self, node: Object, input: JSON = None) -> Any:
        return drive(run_workflow(node, input), self)

    @property
    def inputs(self) -> list[JSON]:
        return [cast.input for cast in self.casts]


def upper(input: Any) -> str:
    return str(next(iter(input.values()))).upper()


def test_a_sequence_returns_the_result_of_its_last_step() -> None:
    world = World(a=lambda _: 1, b=lambda _: 2)
    assert world.run(sequential({"tool": "a"}, {"tool": "b"}), {"text": "x"}) == 2


def test_an_agent_is_asked_the_input_and_later_the_previous_result_under_it() -> None:
    world = World(one=lambda _: "first answer", two=lambda _: "second")
    world.run(sequential({"agent": "one"}, {"agent": "two"}), {"topic": "owls"})
    assert world.inputs == [
        {"prompt": '{"topic":"owls"}'},
        {"prompt": '{"topic":"owls"}\n\nfirst answer'},
    ]


def test_a_prompt_is_rendered_from_input_previous_and_named_results() -> None:
    world = World(a=lambda _: {"n": 1}, b=upper, c=upper)
    world.run(
        sequential(
            {"agent": "a", "name": "count"},
            {"agent": "b", "prompt": "{{input.topic}}: {{results.count.n}}"},
            {"agent": "c", "prompt": "{{previous}}"},
        ),
        {"topic": "owls"},
    )
    assert world.inputs[1:] == [{"prompt": "owls: 1"}, {"prompt": "OWLS: 1"}]


def test_args_are_rendered_deep_and_passed_as_they_are() -> None:
    world = World(fetch=lambda _: "ok")
    step = {"tool": "fetch", "args": {"url": "{{input.url}}", "tags": ["{{input.n}}"]}}
    world.run(sequential(step), {"url": "u", "n": 7})
    assert world.inputs == [{"url": "u", "tags": [7]}]


def test_an_object_that_has_the_required_fields_is_the_input_of_the_next_step() -> None:
    world = World(a=lambda _: {"text": "hi", "extra": 1}, b=lambda _: "ok")
    world.run(sequential("a", "b"), {"text": "start"})
    assert world.inputs == [{"text": "start"}, {"text": "hi", "extra": 1}]


def test_anything_else_fills_the_only_text_field_of_the_next_step() -> None:
    world = World(a=lambda _: ["x", 1], b=lambda _: "plain", c=lambda _: "ok")
    world.run(sequential("a", "b", "c"), {"text": "start"})
    assert world.inputs[1:] == [{"text": '["x",1]'}, {"text": "plain"}]


def test_an_input_that_is_no_table_fills_the_only_text_field_too() -> None:
    world = World(a=lambda _: ["x"], b=lambda _: "ok")
    world.run(sequential("a", {"tool": "b", "input": "{{previous.1}}"}), {"text": "start"})
    assert world.inputs[1] == {"text": "x"}


def test_a_value_with_no_one_place_to_go_is_passed_on_for_the_target_to_refuse() -> None:
    world = World(a=lambda _: "plain", b=lambda _: "ok")
    world.schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    world.run(sequential("a", "b"), {"n": 1})
    assert world.inputs == [{"n": 1}, "plain"]


def test_functions_are_steps_and_see_the_run() -> None:
    world = World(a=lambda _: "A", f3=lambda run: run["previous"] + "!")
    node = sequential({"tool": "a", "name": "first"}, FunctionRef(3))
    assert world.run(node, {"text": "x"}) == "A!"
    assert world.runs == [{"input": {"text": "x"}, "previous": "A", "results": {"first": "A"}}]


def test_before_the_first_step_previous_is_the_input() -> None:
    world = World(a=upper)
    assert (
        world.run(sequential({"agent": "a", "prompt": "{{previous.topic}}"}), {"topic": "o"}) == "O"
    )


def test_branches_give_an_object_by_name_in_name_order() -> None:
    world = World(z=lambda _: 1, a=lambda _: 2)
    node = parallel(branches={"papers": {"agent": "z"}, "market": {"agent": "a"}})
    assert list(world.run(node, {}).items()) == [("market", 2), ("papers", 1)]


def test_a_list_of_parallel_steps_gives_a_list_in_its_order() -> None:
    world = World(z=lambda _: 1, a=lambda _: 2)
    assert world.run(parallel({"agent": "z"}, {"agent": "a"}), {}) == [1, 2]


def test_the_limit_and_the_cancelling_of_siblings_are_asked_of_the_host() -> None:
    driver = run_workflow(parallel({"agent": "a"}, {"agent": "b"}, limit=1), {})
    effect = next(driver)
    assert isinstance(effect, Parallel)
    assert (effect.limit, effect.cancel_on_failure, len(effect.drivers)) == (1, True, 2)
    driver.close()


def test_named_results_of_nested_workflows_are_seen_by_later_steps() -> None:
    world = World(scholar=lambda _: "P", analyst=lambda _: "M", editor=upper)
    node = sequential(
        parallel(
            name="research",
            branches={"papers": {"agent": "scholar"}, "market": {"agent": "analyst"}},
        ),
        {"agent": "editor", "prompt": "{{results.research.papers}}/{{results.market}}"},
    )
    assert world.run(node, {"topic": "x"}) == "P/M"


def test_branches_do_not_see_each_other() -> None:
    world = World(a=lambda _: "A", b=lambda _: "B")
    node = parallel(
        sequential({"agent": "a", "name": "mine"}),
        sequential({"agent": "b", "prompt": "{{results.mine}}"}),
    )
    with pytest.raises(TemplateError, match=r"results\.mine"):
        world.run(node, {})


def test_a_declared_agent_is_cast_in_place_and_keeps_its_own_name_out_of_the_results() -> None:
    editor: Object = {"$kind": "agent", "$line": 3, "name": "editor", "system": "Edit."}
    world = World(editor=lambda _: "E", f1=lambda run: run["results"])
    assert world.run(sequential(editor, FunctionRef(1)), {"text": "x"}) == {}
    assert world.casts[0].target == editor
    assert world.casts[0].label == "editor"


def test_the_tools_of_a_step_replace_those_of_its_agent() -> None:
    editor: Object = {"$kind": "agent", "name": "editor", "tools": ["old"]}
    world = World(editor=lambda _: "E", Analyst=lambda _: "M")
    world.run(sequential({"agent": editor, "tools": ["new"]}, {"agent": "Analyst", "tools": ["x"]}))
    assert [cast.target for cast in world.casts] == [
        {"$kind": "agent", "name": "editor", "tools": ["new"]},
        {"$kind": "ref", "name": "Analyst", "tools": ["x"]},
    ]


def test_a_reference_is_cast_by_its_name() -> None:
    world = World(Analyst=lambda _: "M")
    reference = {"$kind": "ref", "kind": "agent", "name": "Analyst"}
    world.run(sequential({"agent": reference}, reference), "x")
    assert [cast.target for cast in world.casts] == ["Analyst", "Analyst"]
    assert world.inputs == [{"prompt": "x"}, {"prompt": "x\n\nM"}]


def test_each_step_is_recorded_when_it_begins_and_ends() -> None:
    world = World(a=lambda _: 1, b=lambda _: 2)
    world.run(
        sequential({"tool": "a", "name": "first"}, sequential({"tool": "b"}, name="rest")), {}
    )
    assert world.events == [
        ("step.started", "first"),
        ("step.ended", "first"),
        ("step.started", "rest"),
        ("step.started", "b"),
        ("step.ended", "b"),
        ("step.ended", "rest"),
    ]


def boom(input: Any) -> JSON:
    raise SpellRaised("boom", data={"code": "mine"})


def test_an_error_keeps_its_class_and_names_the_step() -> None:
    world = World(a=lambda _: 1, b=boom)
    with pytest.raises(SpellRaised) as caught:
        world.run(sequential("a", parallel(branches={"left": {"agent": "b"}}, name="both")), {})
    assert caught.value.message == "step 'both.left': boom"
    assert caught.value.data == {"code": "mine", "step": "both.left"}


def test_an_error_of_a_nested_workflow_spell_names_the_whole_path_once() -> None:
    def inner(input: Any) -> JSON:
        raise SpellRaised("step 'x.y': boom", data={"step": "x.y"})

    with pytest.raises(SpellRaised) as caught:
        World(inner=inner).run(sequential({"spell": "inner", "name": "outer"}), {"text": "t"})
    assert caught.value.message == "step 'outer.x.y': boom"


def test_a_step_without_any_name_is_named_by_its_number() -> None:
    world = World(a=lambda _: 1, f9=boom)
    with pytest.raises(SpellRaised, match="step 'step 2': boom"):
        world.run(sequential("a", FunctionRef(9)), {"text": "t"})


def test_an_unknown_placeholder_names_the_step_it_stands_in() -> None:
    world = World(a=lambda _: 1)
    with pytest.raises(TemplateError) as caught:
        world.run(sequential({"agent": "a", "name": "write", "prompt": "{{results.x}}"}), {})
    assert caught.value.data["step"] == "write"


def test_branches_and_a_list_of_steps_in_one_node_are_refused() -> None:
    with pytest.raises(WorkflowError, match="either branches"):
        World().run(parallel({"agent": "a"}, branches={"b": {"agent": "b"}}), {})
