"""Declarations: each form is understood, and each mistake is named where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.errors import (
    SpecError,
    SpecMissing,
    SpecUnknownKey,
    SpecUnsupportedNeed,
)
from llmspell.spec.declaration import AgentLimits, SpellSpec
from llmspell.spec.origin import Origin
from llmspell.spec.reading import read_spec
from llmspell.values import FunctionRef, Object

ORIGIN = Origin("spells/brief.lua")
RUN = FunctionRef(1)
EMPTY: tuple[Object | list[Any], ...] = ({}, [])


def spell(line: int = 3, **fields: Any) -> Object:
    return {"$kind": "spell", "$line": line, "run": RUN, **fields}


def agent(line: int = 2, **fields: Any) -> Object:
    return {"$kind": "agent", "$line": line, **fields}


def workflow(*steps: Any, line: int = 4, **fields: Any) -> Object:
    node: Object = {"$kind": "workflow", "$line": line, "type": "sequential", **fields}
    return {**node, "steps": list(steps)} if steps else node


def read(declaration: Any, source: str = "", name: str = "brief") -> SpellSpec:
    return read_spec(declaration, Origin("spells/brief.lua", source), default_name=name)


def problem(declaration: Any, source: str = "") -> SpecError:
    with pytest.raises(SpecError) as caught:
        read(declaration, source)
    return caught.value


# --- the forms


def test_a_spell_has_the_name_of_its_file_unless_it_has_its_own() -> None:
    assert read(spell()).name == "brief"
    assert read(spell(name="other")).name == "other"


def test_a_spell_without_input_takes_any_object() -> None:
    assert read(spell()).input == {"type": "object"}


def test_what_a_spell_declares_is_read() -> None:
    spec = read(
        spell(
            title="Brief",
            description="Briefs.",
            input={"topic": {"$schema": {"type": "string"}, "$seq": 1}},
            output={"text": {"$schema": {"type": "string"}, "$seq": 2}},
            read_only=True,
            destructive=False,
            idempotent=True,
            open_world=False,
            tags=["a", "b"],
            budget={"usd": 0.5, "tokens": 100, "seconds": 2.5, "calls": 3, "depth": 1},
            needs={"tools": ["hello"]},
            expose={"a2a": False},
            examples=[{"input": {"topic": "x"}, "output": {"text": "y"}}],
        )
    )
    assert (spec.kind, spec.line, spec.run) == ("spell", 3, RUN)
    assert spec.input["properties"] == {"topic": {"type": "string"}}
    assert spec.input["additionalProperties"] is False
    assert spec.output is not None
    assert "additionalProperties" not in spec.output
    assert spec.budget.model_dump(exclude_none=True) == {
        "usd": 0.5,
        "tokens": 100,
        "seconds": 2.5,
        "calls": 3,
        "depth": 1,
    }
    assert spec.needs.tools == ("hello",)
    assert (spec.expose.mcp, spec.expose.a2a) == (True, False)
    assert spec.examples[0].output == {"text": "y"}
    assert (spec.read_only, spec.destructive, spec.idempotent) == (True, False, True)


def test_params_is_another_word_for_input() -> None:
    spec = read(spell(params={"a": {"type": "string"}}))
    assert list(spec.input["properties"]) == ["a"]


def test_an_empty_input_is_an_object_without_fields() -> None:
    # Lua's `{}` may arrive as either.
    for empty in EMPTY:
        assert read(spell(input=empty)).input == {
            "type": "object",
            "properties": {},
            "additionalProperties": False,
        }


def test_an_empty_table_serves_wherever_a_list_or_a_table_is_meant() -> None:
    for empty in EMPTY:
        spec = read(spell(tags=empty, needs=empty, budget=empty, expose=empty, examples=empty))
        assert (spec.tags, spec.examples, spec.needs.tools) == ((), (), ())


def test_an_agent_is_a_spell_that_takes_a_prompt() -> None:
    spec = read(agent(description="Knows.", system="Be short.", tools=["hello"]))
    assert (spec.kind, spec.name, spec.description) == ("agent", "brief", "Knows.")
    assert spec.input["required"] == ["prompt"]
    assert spec.output is None
    assert spec.agent is not None
    assert (spec.agent.system, spec.agent.tools) == ("Be short.", ("hello",))
    assert spec.agent.limits.turns == AgentLimits().turns


def test_an_agent_with_an_output_is_a_spell_with_that_output() -> None:
    spec = read(agent(output={"answer": {"type": "string"}}))
    assert spec.output is not None
    assert spec.output["required"] == ["answer"]


def test_a_tool_named_by_reference_is_taken_by_its_name() -> None:
    spec = read(agent(tools=[{"$kind": "ref", "name": "hello"}, spell(name="own")]))
    assert spec.agent is not None
    assert spec.agent.tools[0] == "hello"
    assert isinstance(spec.agent.tools[1], dict)


def test_a_tool_is_a_spell_with_a_run_function() -> None:
    spec = read({"$kind": "tool", "$line": 1, "name": "add", "run": RUN})
    assert (spec.kind, spec.name) == ("tool", "add")


def test_a_workflow_is_published_under_its_own_name_or_the_files() -> None:
    assert read(workflow("hello")).name == "brief"
    spec = read(workflow("hello", name="both", description="Says hello."))
    assert (spec.kind, spec.name, spec.description) == ("workflow", "both", "Says hello.")


@pytest.mark.parametrize(
    "step",
    [
        "hello",
        RUN,
        spell(),
        agent(),
        {"$kind": "ref", "name": "hello"},
        workflow("hello"),
        workflow("hello", type="parallel", limit=2),
        {"agent": agent(), "prompt": "Say {{input.a}}", "name": "say"},
        {"tool": "add", "args": {"a": 1}},
        {"spell": "hello", "input": {"name": "x"}},
        {"agent": "Scholar", "tools": ["web"]},
        {"workflow": workflow("hello"), "name": "inner"},
    ],
)
def test_a_step_is_anything_that_can_be_cast(step: Any) -> None:
    assert read(spell(run=None, workflow=workflow(step))).workflow is not None


def test_branches_are_steps_too() -> None:
    node = workflow(type="parallel", branches={"a": "hello", "b": {"agent": agent()}})
    assert read(node).workflow == node
    wrong = workflow(type="parallel", branches={"a": {"agnt": agent()}})
    assert isinstance(problem(wrong), SpecUnknownKey)


# --- what is wrong, and where


def test_a_file_that_returns_nothing_says_how_to_end_it() -> None:
    error = problem(None)
    assert isinstance(error, SpecMissing)
    assert (error.where, error.message) == ("spells/brief.lua", "the file returns nothing")
    assert "return Spell.create" in error.hint


@pytest.mark.parametrize("value", [5, "hello", [1], {"a": 1}, {"$kind": "ref", "name": "x"}, True])
def test_a_file_that_returns_something_else_is_refused(value: object) -> None:
    assert isinstance(problem(value), SpecMissing)


@pytest.mark.parametrize(
    ("declaration", "key", "what", "suggestion"),
    [
        (spell(inptu={}), "inptu", "Spell.create", "'input'"),
        (spell(readonly=True), "readonly", "Spell.create", "'read_only'"),
        (agent(tols=[]), "tols", "Agent.create", "'tools'"),
        (agent(limits={"turn": 1}), "turn", "limits of Agent.create", "'turns'"),
        (spell(budget={"second": 1}), "second", "budget of Spell.create", "'seconds'"),
        (spell(needs={"tool": []}), "tool", "needs of Spell.create", "'tools'"),
        (spell(expose={"a2": True}), "a2", "expose of Spell.create", "'a2a'"),
        (spell(examples=[{"inptu": 1}]), "inptu", "examples of Spell.create", "'input'"),
        ({"$kind": "tool", "$line": 3, "runn": RUN}, "runn", "Tool.create", "'run'"),
        (workflow("hello", limits=1), "limits", "Workflow.sequential", ""),
        (
            workflow("hello", type="parallel", limits=1),
            "limits",
            "Workflow.parallel",
            "'limit'",
        ),
        (
            workflow({"agent": agent(), "promt": "x"}),
            "promt",
            "a step of Workflow.sequential",
            "'prompt'",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion_and_what_is_allowed(
    declaration: Object, key: str, what: str, suggestion: str
) -> None:
    error = problem(declaration)
    assert isinstance(error, SpecUnknownKey)
    assert error.message == f"unknown key {key!r} in {what}"
    assert suggestion in error.hint
    assert "Allowed: " in error.hint
    assert error.where == f"spells/brief.lua:{declaration['$line']}"


@pytest.mark.parametrize("key", ["error_strategy", "cache", "hooks", "approve"])
def test_a_key_that_does_nothing_here_is_refused_rather_than_ignored(key: str) -> None:
    assert isinstance(problem({**spell(), key: "x"}), SpecUnknownKey)


def test_an_error_points_at_the_line_of_the_key_it_is_about() -> None:
    source = (
        "-- tols = 1 is only a comment\nreturn Agent.create {\n  name = 'x',\n  tols = {},\n}\n"
    )
    assert problem(agent(line=2, tols=[]), source).where == "spells/brief.lua:4"


def test_a_key_in_brackets_is_found_too() -> None:
    source = "return Spell.create {\n  ['tols'] = {},\n}\n"
    assert problem(spell(line=1, tols=[]), source).where == "spells/brief.lua:2"


def test_a_key_that_ends_like_another_is_not_taken_for_it() -> None:
    source = "return Spell.create {\n  my_input = 1,\n  x.input = 1,\n  input = 5,\n}\n"
    origin = Origin("f.lua", source)
    assert origin.where(1, "input") == "f.lua:4"


@pytest.mark.parametrize(
    ("fields", "got"),
    [
        ({"run": None}, "none"),
        ({"workflow": workflow("hello")}, "run and workflow"),
        ({"run": None, "workflow": workflow("hello"), "agent": agent()}, "workflow and agent"),
    ],
)
def test_a_spell_needs_exactly_one_way_to_run(fields: Object, got: str) -> None:
    error = problem(spell(**fields))
    assert error.message.endswith(f"it has {got}")
    assert error.where == "spells/brief.lua:3"


def test_run_must_be_a_function() -> None:
    assert problem(spell(run="x")).message == "'run' in Spell.create must be a function"


@pytest.mark.parametrize(
    "name", ["", "1st", "two words", "a-b", "ü", "x" * 49, "../x", "a.b", "_hidden"]
)
def test_a_name_is_a_letter_and_up_to_47_letters_digits_or_underscores(name: str) -> None:
    error = problem(spell(name=name))
    assert "is no name" in error.message
    error = problem(agent(name=name))
    assert "is no name" in error.message


def test_a_file_whose_name_is_no_name_must_name_its_spell() -> None:
    with pytest.raises(SpecError, match="'my-spell' is no name"):
        read(spell(), name="my-spell")
    assert read(spell(name="my_spell"), name="my-spell").name == "my_spell"


@pytest.mark.parametrize(
    "fields",
    [
        {"title": 5},
        {"description": {"a": 1}},
        {"read_only": "perhaps"},
        {"tags": "one"},
        {"tags": [1]},
        {"budget": {"usd": 0}},
        {"budget": {"tokens": -1}},
        {"budget": 5},
        {"needs": "everything"},
        {"examples": "x"},
        {"examples": ["x"]},
        {"expose": {"mcp": "never"}},
        {"name": 5},
        {"title": "x" * 201},
        {"description": "x" * 4097},
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name_and_line(fields: Object) -> None:
    error = problem(spell(**fields))
    assert f"{next(iter(fields))}" in error.message
    assert error.where == "spells/brief.lua:3"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"description": 42}, "'description' in Spell.create must be a text, not the number 42"),
        ({"tags": "a"}, "'tags' in Spell.create must be a list, not the text 'a'"),
        ({"tags": ["a", 1]}, "item 2 of 'tags' in Spell.create must be a text, not the number 1"),
        ({"read_only": "yes"}, "'read_only' in Spell.create must be true or false, not the text"),
        ({"join": 1}, "'join' in Spell.create must be true or false, not the number 1"),
        ({"concurrency": 1.5}, "'concurrency' in Spell.create must be an integer, not the number"),
        ({"title": True}, "'title' in Spell.create must be a text, not true"),
        ({"title": RUN}, "'title' in Spell.create must be a text, not a function"),
        ({"title": []}, "'title' in Spell.create must be a text, not a list"),
        ({"title": {}}, "'title' in Spell.create must be a text, not a table"),
        ({"when_long": "x"}, "'when_long' in Spell.create must be 'handle', 'wait' or 'fail'"),
        ({"budget": {"usd": "one"}}, "'usd' in budget of Spell.create must be a number, not the"),
        ({"needs": ["notes"]}, "needs of Spell.create must be a table with names, not a list"),
        ({"wait": "long"}, "'wait' in Spell.create: 'long' is no duration; write seconds"),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_the_documentation(
    fields: Object, message: str
) -> None:
    assert problem({"$kind": "spell", "name": "x", "run": RUN, **fields}).message.startswith(
        message
    )


def test_a_constructor_that_is_called_with_a_colon_is_told_how_to_call_it() -> None:
    error = problem({"$kind": "spell", "create": RUN, "get": RUN})
    assert error.message == "Spell.create is called with a colon"
    assert error.hint == "write Spell.create { ... }, with a dot"


def test_no_hint_offers_what_is_refused() -> None:
    error = problem({"$kind": "spell", "name": "x", "run": RUN, "needs": {"network": True}})
    assert error.hint == "Allowed: tools"


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 201},
        {"description": "x" * 4097},
        {"tools": "hello"},
        {"tools": [5]},
        {"tools": [{"a": 1}]},
        {"limits": {"turns": 0}},
        {"limits": {"parallel_tools": 65}},
        {"temperature": 3},
        {"max_tokens": 0},
        {"model": 5},
        {"output": "x"},
    ],
)
def test_what_is_wrong_with_an_agent_is_named_too(fields: Object) -> None:
    error = problem(agent(**fields))
    assert f"{next(iter(fields))}" in error.message
    assert error.where == "spells/brief.lua:2"


@pytest.mark.parametrize(
    ("key", "value"),
    [("net", ["example.com"]), ("secrets", ["KEY"]), ("files", {"read": ["a"]})],
)
def test_a_need_that_cannot_be_granted_is_refused_and_not_ignored(key: str, value: Any) -> None:
    source = f"return Spell.create {{\n  needs = {{\n    {key} = x,\n  }},\n}}\n"
    error = problem(spell(line=1, needs={key: value}), source)
    assert isinstance(error, SpecUnsupportedNeed)
    assert error.where == "spells/brief.lua:3"
    assert f"remove {key}" in error.hint


def test_an_input_that_is_no_object_is_refused() -> None:
    error = problem(spell(input={"type": "string"}))
    assert error.message == "'input' in Spell.create must be an object"


def test_a_field_that_is_no_schema_is_refused_by_its_path() -> None:
    error = problem(spell(input={"topic": "string"}))
    assert "'input' in Spell.create: topic: not a schema" in error.message


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (workflow(), "Workflow.sequential has no steps"),
        (workflow(type="parallel"), "Workflow.parallel has no steps"),
        (workflow(5), "a step of Workflow.sequential is the number 5"),
        (workflow({"prompt": "x"}), "needs exactly one of agent, tool, spell, workflow"),
        (workflow({"agent": "a", "tool": "b"}), "needs exactly one of agent, tool, spell, "),
        (workflow({"agent": 5}), "holds something that cannot be cast"),
        (workflow({"workflow": "hello"}), "must be made by Workflow.sequential"),
        (workflow("a", type="parallel", limit=0), "'limit' in Workflow.parallel must be a pos"),
        (workflow("a", type="parallel", limit="2"), "'limit' in Workflow.parallel must be a pos"),
        (workflow("a", type="parallel", limit=True), "'limit' in Workflow.parallel must be a p"),
        (workflow("a", type="parallel", branches=["b"]), "'branches' in Workflow.parallel must"),
        (workflow({"agent": "a", "tools": 5}), "'tools' in a step of Workflow.sequential must"),
        (workflow({"agent": "a", "name": 5}), "'name' in a step of Workflow.sequential must"),
        (workflow(steps="a"), "'steps' in Workflow.sequential must be a list"),
    ],
)
def test_a_workflow_of_the_wrong_shape_is_refused_at_its_line(node: Object, message: str) -> None:
    for declaration in (spell(run=None, workflow=node), node):
        error = problem(declaration)
        assert message in error.message
        assert error.where == "spells/brief.lua:4"


def test_what_is_no_workflow_is_refused_where_it_stands() -> None:
    source = "return Spell.create {\n  name = 'x',\n  workflow = 5,\n}\n"
    error = problem(spell(line=1, run=None, workflow=5), source)
    assert "must be made by Workflow.sequential or Workflow.parallel" in error.message
    assert error.where == "spells/brief.lua:3"


def test_a_mistake_in_a_declaration_inside_a_workflow_is_found_when_the_file_is_loaded() -> None:
    step = {"agent": agent(line=9, tols=[])}
    error = problem(spell(run=None, workflow=workflow(workflow(step))))
    assert isinstance(error, SpecUnknownKey)
    assert error.where == "spells/brief.lua:9"


def test_an_agent_of_a_spell_must_be_made_by_its_constructor() -> None:
    error = problem(spell(run=None, agent={"system": "x"}))
    assert error.message == "'agent' in Spell.create must be made by Agent.create"


def test_a_schedule_is_a_cron_expression_or_a_table() -> None:
    assert read(spell()).schedule is None
    short = read(spell(schedule="0 7 * * *")).schedule
    assert short is not None
    assert (short.cron, short.timezone, short.missed, short.overlap, short.input) == (
        "0 7 * * *",
        "UTC",
        "once",
        "skip",
        {},
    )
    long = read(spell(schedule={"every": "10m", "input": [], "missed": "all", "overlap": "queue"}))
    assert long.schedule is not None
    assert (long.schedule.every, long.schedule.input) == (600.0, {})


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("0 7 * *", "schedule of Spell.create: cron '0 7 * *' is not valid: five fields"),
        ("61 7 * * *", "schedule of Spell.create: cron '61 7 * * *' is not valid: bad minute"),
        ({"every": "soon"}, "'every' in schedule of Spell.create: 'soon' is no duration"),
        ({"every": 0.1}, "schedule of Spell.create: every 0.1 s is too often"),
        ({}, "schedule of Spell.create: exactly one of cron and every is needed"),
        (
            {"cron": "0 7 * * *", "timezone": "Nowhere"},
            "schedule of Spell.create: 'Nowhere' is no time zone",
        ),
        ({"cron": "0 7 * * *", "missed": "never"}, "'missed' in schedule of Spell.create"),
        (5, "schedule of Spell.create must be a table"),
    ],
)
def test_a_schedule_that_is_wrong_is_refused_where_it_stands(schedule: Any, message: str) -> None:
    error = problem(spell(schedule=schedule), "return Spell.create {\n\n\n  schedule = x\n}")
    assert error.message.startswith(message)


def test_a_wrong_schedule_is_found_at_its_line() -> None:
    source = "return Spell.create {\n\n\n  schedule = '0 7 * *',\n}"
    assert problem(spell(schedule="0 7 * *"), source).where == "spells/brief.lua:4"


def test_an_unknown_key_of_a_schedule_is_refused_with_a_suggestion() -> None:
    error = problem(spell(schedule={"cron": "0 7 * * *", "time_zone": "UTC"}))
    assert isinstance(error, SpecUnknownKey)
    assert "did you mean 'timezone'?" in error.hint


def test_a_tool_has_no_schedule() -> None:
    error = problem({"$kind": "tool", "name": "x", "run": RUN, "schedule": "0 7 * * *"})
    assert isinstance(error, SpecUnknownKey)


def test_the_seconds_of_a_budget_may_have_a_unit() -> None:
    assert read(spell(budget={"seconds": "10m"})).budget.seconds == 600.0
    assert problem(spell(budget={"seconds": "10 apples"})).message.startswith("'seconds' in budget")
