"""Placeholders that nothing fills are found when a file is loaded, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.components.workflow import run_workflow
from llmspell.effects.effect import Cast, Effect, Parallel, Settled
from llmspell.errors import SpecUnknownPlaceholder, TemplateError
from llmspell.spec.origin import Origin
from llmspell.spec.placeholders import unfilled
from llmspell.spec.reading import read_spec
from llmspell.values import Object

INPUT: Object = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "tone": {"type": "string"}},
    "additionalProperties": False,
}
GIVEN = {"text": "a", "tone": "b"}


def ask(prompt: Any, **fields: Any) -> Object:
    return {"agent": "bot", "prompt": prompt, **fields}


def sequential(*steps: Any, **fields: Any) -> Object:
    return {"$kind": "workflow", "type": "sequential", "steps": list(steps), **fields}


def parallel(*steps: Any, **fields: Any) -> Object:
    return {"$kind": "workflow", "type": "parallel", "steps": list(steps), **fields}


WRONG = [
    (sequential(ask("{{input.txt}}")), "{{input.txt}}", "did you mean 'text'? In input there is"),
    (sequential(ask("{{inptu.text}}")), "{{inptu.text}}", "did you mean 'input'? There is"),
    (sequential(ask("{{ text here }}")), "{{ text here }}", "write {{name}} or {{name.part}}"),
    (
        sequential(ask("x", name="first"), ask("{{results.frist}}")),
        "{{results.frist}}",
        "did you mean 'first'? The steps before give: first",
    ),
    (sequential(ask("{{results.own}}", name="own")), "{{results.own}}", "give: nothing"),
    (sequential(ask("{{results.later}}"), ask("x", name="later")), "{{results.later}}", "nothing"),
    (
        parallel(branches={"a": ask("x"), "b": ask("{{results.a}}")}),
        "{{results.a}}",
        "the steps before give: nothing",
    ),
    (
        sequential({"spell": "s", "input": {"deep": ["{{results.x}}"]}}),
        "{{results.x}}",
        "the steps before give: nothing",
    ),
    (sequential({"workflow": sequential(ask("{{results.x}}"))}), "{{results.x}}", "nothing"),
]

RIGHT = [
    sequential(ask("{{input.text}} {{ input.tone }} {{input}} {{previous}} {{previous.tone}}")),
    sequential(ask("x", name="a"), ask("{{results.a}} {{results.a.part.1}} {{results}}")),
    sequential(
        parallel(name="views", branches={"a": ask("x"), "b": ask("y")}),
        ask("{{results.views.a}} {{results.a}} {{results.b}}"),
    ),
    sequential(parallel(ask("x", name="in"), ask("y")), ask("{{results.in}}")),
    sequential(sequential(ask("x", name="inner"), name="outer"), ask("{{results.inner}}")),
    sequential({"workflow": sequential(ask("x", name="i")), "name": "o"}, ask("{{results.o}}")),
    # Only the first of input, args and prompt is filled in.
    sequential({"agent": "bot", "input": {"prompt": "x"}, "prompt": "{{results.never}}"}),
    sequential({"agent": "bot"}, ask("no {placeholder} and {{}")),
]


@pytest.mark.parametrize(("workflow", "text", "hint"), WRONG)
def test_a_placeholder_that_nothing_fills_is_found(workflow: Object, text: str, hint: str) -> None:
    [found] = unfilled(workflow, INPUT)
    assert found.text == text
    assert hint in found.hint


@pytest.mark.parametrize("workflow", RIGHT)
def test_what_may_be_filled_is_left_alone(workflow: Object) -> None:
    assert list(unfilled(workflow, INPUT)) == []


@pytest.mark.parametrize("workflow", [*(workflow for workflow, _, _ in WRONG), *RIGHT])
def test_what_is_found_fails_when_it_runs_and_nothing_else_does(workflow: Object) -> None:
    is_wrong = bool(list(unfilled(workflow, INPUT)))
    try:
        perform(run_workflow(workflow, GIVEN))
    except TemplateError:
        assert is_wrong
    else:
        assert not is_wrong


def test_an_input_that_is_open_or_unknown_may_have_any_field() -> None:
    workflow = sequential(ask("{{input.anything}}"))
    closed: Object = {"type": "object", "properties": {}, "additionalProperties": False}
    [found] = unfilled(workflow, closed)
    assert found.hint == "in input there is: nothing"
    assert list(unfilled(workflow)) == []
    assert list(unfilled(workflow, {"type": "object", "properties": {"text": {}}})) == []


def test_it_is_told_at_its_line_when_the_file_is_loaded() -> None:
    source = (
        "return Spell.create {\nworkflow = Workflow.sequential {\n{ prompt = '{{results.x}}' },"
    )
    declaration = {
        "$kind": "spell",
        "$line": 1,
        "workflow": {**sequential(ask("{{results.x}}")), "$line": 2},
    }
    with pytest.raises(SpecUnknownPlaceholder) as got:
        read_spec(declaration, Origin("spells/a.lua", source), default_name="a")
    assert got.value.where == "spells/a.lua:3"
    assert got.value.message == "nothing fills the placeholder '{{results.x}}'"
    with pytest.raises(SpecUnknownPlaceholder):
        read_spec(sequential(ask("{{results.x}}")), Origin("a.lua"), default_name="a")


def perform(driver: Any) -> Any:
    """Run a workflow whose casts all give an object with every part that is asked for."""
    answer: Any = None
    try:
        while True:
            effect: Effect = driver.send(answer)
            answer = None
            if isinstance(effect, Parallel):
                answer = [Settled(ok=True, value=perform(branch)) for branch in effect.drivers]
            elif isinstance(effect, Cast):
                answer = {"any": 1, "part": [1], "a": 1}
    except StopIteration as end:
        return end.value
