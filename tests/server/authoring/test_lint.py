"""What `check` sees without running a file, and what it leaves alone."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given

from llmspell.authoring import vocabulary
from llmspell.authoring.lint import ABSENT, Finding, assigned_globals, lint
from tests.server.authoring.lua_texts import LUA, NEARLY
from tests.support.servers import ROOT

PUBLISHED = frozenset({"hello", "scholar"})


def findings(source: str, **options: object) -> list[Finding]:
    known = vocabulary.of_tests() if options.get("test") else vocabulary.of_spells()
    return lint("t.lua", source.encode(), known, published=PUBLISHED)


def said(source: str, **options: object) -> list[str]:
    """Return each finding as `severity place code message`."""
    return [
        f"{f.severity} {f.error.where} {f.error.code} {f.error.message}"
        for f in findings(source, **options)
    ]


@pytest.mark.parametrize(
    ("source", "line", "message", "hint"),
    [
        ("local a\nprnt(a)", 2, "unknown name 'prnt'", "did you mean 'print'?"),
        ("return function() return conut end", 1, "unknown name 'conut'", "declare it"),
        ("State.gett 'x'", 1, "State has no 'gett'", "did you mean 'get'?"),
        ("State.session:gte 'x'", 1, "State.session has no 'gte'", "did you mean 'get'?"),
        ("return Workflow.lop {}", 1, "Workflow has no 'lop'", "parallel, sequential"),
        ("return string.dump(print)", 1, "string has no 'dump'", "it has: byte"),
        ("return os.getenv 'HOME'", 1, "os has no 'getenv'", "pass it in as input"),
        ("return os.setlocale()", 1, "os has no 'setlocale'", "it has: clock"),
        ("return io.open 'x'", 1, "unknown name 'io'", "spells reach no files"),
        ("return function() ctx:emit 'x' end", 1, "unknown name 'ctx'", "function(input, ctx)"),
        ("local function f() return input.a end", 1, "unknown name 'input'", "function(input)"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_suggestion(
    source: str, line: int, message: str, hint: str
) -> None:
    [finding] = findings(source)
    assert (finding.severity, finding.error.code) == ("error", "spec.unknown_name")
    assert (finding.error.where, finding.error.message) == (f"t.lua:{line}", message)
    assert hint in finding.error.hint


@pytest.mark.parametrize(
    ("body", "code", "message", "hint"),
    [
        ("ctx:aks { message = '' }", "spec.unknown_name", "ctx has no 'aks'", "did you mean 'ask'"),
        ("return ctx.usr", "spec.unknown_name", "ctx has no 'usr'", "did you mean 'user'?"),
        (
            "return function() ctx:ask { mesage = '' } end",
            "spec.unknown_key",
            "unknown key 'mesage' in ctx:ask",
            "did you mean 'message'? Allowed: ",
        ),
        (
            "ctx.ask { message = '' }",
            "spec.invalid",
            "ctx.ask is called with a dot",
            "ctx:ask(...)",
        ),
    ],
)
def test_what_a_function_is_given_is_known(body: str, code: str, message: str, hint: str) -> None:
    [finding] = findings(f"return Spell.create {{ run = function(input, ctx)\n{body}\nend }}")
    assert finding.severity == "error"
    assert finding.error.where == "t.lua:2"
    assert (finding.error.code, finding.error.message) == (code, message)
    assert hint in finding.error.hint


@pytest.mark.parametrize(
    "body",
    [
        "ctx:ask { message = '' } ctx:progress(1) return ctx.session, ctx.message.parts, input.any",
        "ctx.ask(ctx, { message = '' })",
        "local ctx = {} ctx:anything()",
        "ctx = { anything = 1 } return ctx.anything",
        "ctx.mine = 1 return ctx.mine",
        "local other = ctx return other.anything",
        "return (function(ctx) return ctx.anything end)({})",
    ],
)
def test_what_else_a_function_does_with_it_is_left_alone(body: str) -> None:
    source = f"return Spell.create {{ run = function(input, ctx)\n{body}\nend }}"
    assert [text for text in said(source) if "spec.global" not in text] == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Agent.create { tols = {} }", "unknown key 'tols' in Agent.create"),
        ("Agent.create({ limits = { turn = 1 } })", "unknown key 'turn' in limits of Agent.create"),
        ("Agent.create { ['tols'] = 1 }", "unknown key 'tols' in Agent.create"),
        ("Spell.create { budget = { usdd = 1 } }", "unknown key 'usdd' in budget of Spell.create"),
        (
            "Spell.create { examples = { { inptu = 1 } } }",
            "unknown key 'inptu' in an item of examples of Spell.create",
        ),
        ("Tool.create { workflow = 1 }", "unknown key 'workflow' in Tool.create"),
        (
            "Workflow.sequential { { agent = 'hello', prmpt = '' } }",
            "unknown key 'prmpt' in an item of Workflow.sequential",
        ),
        (
            "Workflow.parallel { branches = { a = { agnt = 'hello' } } }",
            "unknown key 'agnt' in a of branches of Workflow.parallel",
        ),
        ("Workflow.parallel { lmit = 3 }", "unknown key 'lmit' in Workflow.parallel"),
        ("State.shared:set('k', 1, { iff = 1 })", "unknown key 'iff' in State.shared.set"),
        ("State.scan('', { limt = 1 })", "unknown key 'limt' in State.scan"),
    ],
)
def test_an_unknown_key_is_found_where_loading_never_comes(source: str, message: str) -> None:
    [finding] = findings(f"local function never()\n  local _ = {source}\nend")
    assert (finding.severity, finding.error.code) == ("error", "spec.unknown_key")
    assert (finding.error.where, finding.error.message) == ("t.lua:2", message)
    assert "Allowed: " in finding.error.hint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("count = 1\ncount = 2", "assigns the global 'count'"),
        ("function helper() end", "assigns the global 'helper'"),
        ("print = nil", "replaces the global 'print'"),
    ],
)
def test_an_assigned_global_is_one_warning(source: str, message: str) -> None:
    assert said(source) == [f"warning t.lua:1 spec.global {message}"]
    assert "local" in findings(source)[0].error.hint


@pytest.mark.parametrize(
    "source",
    [
        "return Spell.get 'helo'",
        "return Agent.create { tools = { 'helo' } }",
        "return Spell.create { needs = { tools = { 'helo' } } }",
        "return Workflow.sequential { 'helo' }",
        "return Workflow.sequential { { agent = 'helo' } }",
        "return Workflow.sequential { { tool = 'hello', tools = { 'helo' } } }",
        "return Workflow.parallel { a = { spell = 'helo' } }",
        "return Workflow.parallel { branches = { a = 'helo' } }",
    ],
)
def test_a_name_that_nothing_publishes_is_a_warning(source: str) -> None:
    [finding] = findings(source)
    assert (finding.severity, finding.error.code) == ("warning", "spec.unpublished")
    assert finding.error.message == "nothing here publishes 'helo'"
    assert finding.error.hint == "did you mean 'hello'?"
    known = vocabulary.of_spells()
    assert lint("t.lua", source.encode(), known, published=None) == []


@pytest.mark.parametrize(
    "source",
    [
        "local Agent = {} Agent.create { tols = 1 }",
        "local helper = {} helper.create { tols = 1 }",
        "x = 1 return x",
        "local f = {} return Agent.create(f)",
        "return Schema.string('a', { format = 'email', minLength = 2 })",
        "return Spell.create { input = { anything = Schema.any() }, output = { type = 'object' } }",
        "return Workflow.parallel { a = { agent = 'scholar' }, b = Agent.create {} }",
        "return Workflow.sequential { function(run) return run.input end, 'hello' }",
        "return Workflow.parallel { a = function(run) return run.input end }",
        "return Spell.create { params = {}, run = function(input, ctx) return ctx.message end }",
        "return Spell.create { ['na' .. 'me'] = 1 }",
        "local k = 'name' return Spell.create { [k] = 1 }",
        "return _G.anything",
        "local _ENV = {} return anything",
        "return (function(...) return select('#', ...) end)(1)",
        "State.update('k', function(n) return (n or 0) + 1 end)",
        "local name = 'x' return Spell.get(name)",
        "Content.resource { uri = 'a', text = 'b' }",
        "return json.array { tols = 1 }",
        "error { code = 'a', message = 'b', anything = 1 }",
    ],
)
def test_what_may_be_right_is_left_alone(source: str) -> None:
    assert [text for text in said(source) if "spec.global" not in text] == []


def test_a_module_may_bring_globals() -> None:
    known = vocabulary.of_spells()
    assert assigned_globals(b"function helper() end\nlocal x = 1\ny = 2") == {"helper", "y"}
    assert lint("t.lua", b"return helper()", known, more_globals={"helper"}) == []


def test_the_names_of_tests_are_known_in_tests_only() -> None:
    source = "describe('a', function() it('b', function() expect(1).to_equal(1) end) end)"
    assert said(source, test=True) == []
    assert len(said(source)) == 3


def test_the_same_mistake_twice_on_a_line_is_told_once() -> None:
    assert len(findings("State.count = (State.count or 0) + 1")) == 1
    assert len(findings("State.count = 0\nreturn State.count")) == 2


def test_what_lua_has_and_spells_have_not_is_told_as_a_failing_cast_tells_it() -> None:
    hints = (files("llmspell.runtime.lua") / "hints.lua").read_text("utf-8")
    for name, instead in ABSENT.items():
        assert re.search(rf'\b{re.escape(name)}\b"?\]? = "{re.escape(instead)}"', hints), name


def test_findings_come_in_the_order_of_lines() -> None:
    lines = [f.error.where for f in findings("b = 1\nprnt()\nState.x()\nAgent.create { q = 1 }")]
    assert lines == ["t.lua:1", "t.lua:2", "t.lua:3", "t.lua:4"]


def test_a_text_that_cannot_be_read_is_a_warning_and_no_more() -> None:
    [finding] = lint("t.lua", b"[" * 200_000, vocabulary.of_spells())
    assert (finding.severity, finding.error.code) == ("warning", "spec.too_long")
    assert finding.report().startswith("warning: t.lua: ")


@given(NEARLY)
def test_any_text_is_linted_without_a_crash(source: bytes) -> None:
    for finding in lint("t.lua", source, vocabulary.of_tests(), published=PUBLISHED):
        assert finding.error.where
        assert finding.to_value()["code"]


@given(LUA)
def test_the_same_text_has_the_same_findings(source: bytes) -> None:
    known = vocabulary.of_spells()
    once, again = (lint("t.lua", source, known, published=PUBLISHED) for _ in range(2))
    assert [f.to_value() for f in once] == [f.to_value() for f in again]


BUNDLED = sorted([*ROOT.glob("spells/*.lua"), *ROOT.glob("spells/conformance/**/*.lua")])


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_the_bundled_spells_have_no_findings(path: Path) -> None:
    known = vocabulary.of_tests() if path.name.endswith("_test.lua") else vocabulary.of_spells()
    assert lint(path.name, path.read_bytes(), known) == []
