"""The generated types: up to date, and true of what a declaration may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmspell.authoring import vocabulary
from llmspell.authoring.editor_types import render
from llmspell.errors import SpecError, SpecUnknownKey
from llmspell.spec.library import read_file
from llmspell.spec.origin import Origin
from llmspell.values import FunctionRef, Object
from tools.generate_types import TYPES, main, outdated

STEP = {"agent": {"$kind": "agent"}}


def workflow(kind: str, **fields: object) -> Object:
    return {"$kind": "workflow", "type": kind, "steps": [STEP], **fields}


PROBES: dict[str, tuple[Object, Object]] = {
    # A declaration, and the table in it that gets an unknown key.
    "SpellFields": (spell := {"$kind": "spell", "name": "x", "run": FunctionRef(1)}, spell),
    "ToolFields": (tool := {"$kind": "tool", "name": "x", "run": FunctionRef(1)}, tool),
    "AgentFields": (agent := {"$kind": "agent", "name": "x"}, agent),
    "AgentLimits": ({"$kind": "agent", "limits": (limits := {"turns": 1})}, limits),
    "Limits": ({**spell, "limits": (own := {"cpu_seconds": 1})}, own),
    "Budget": ({**spell, "budget": (budget := {"calls": 1})}, budget),
    "Schedule": ({**spell, "schedule": (schedule := {"every": "10m"})}, schedule),
    "Needs": ({**spell, "needs": (needs := {"tools": []})}, needs),
    "Expose": ({**spell, "expose": (expose := {"mcp": True})}, expose),
    "Example": ({**spell, "examples": [example := {"input": {}}]}, example),
    "SequentialFields": (sequential := workflow("sequential", name="x"), sequential),
    "ParallelFields": (parallel := workflow("parallel", name="x"), parallel),
    "PromptFields": (prompt := {"$kind": "prompt", "messages": "x"}, prompt),
    "ResourceFields": (
        resource := {"$kind": "resource", "uri": "a://b", "read": FunctionRef(1)},
        resource,
    ),
    "StepFields": (
        {"$kind": "workflow", "type": "sequential", "name": "x", "steps": [step := dict(STEP)]},
        step,
    ),
}


def test_the_types_in_the_repository_are_what_the_code_says() -> None:
    assert outdated() == []
    assert sorted(path.name for path in TYPES.iterdir()) == sorted(render())


def test_a_file_that_differs_from_the_code_is_found(tmp_path: Path) -> None:
    assert len(outdated(tmp_path)) == 2
    for name, text in render().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert outdated(tmp_path) == []
    (tmp_path / "llmspell.lua").write_text("---@meta llmspell\n", encoding="utf-8")
    [difference] = outdated(tmp_path)
    assert "+---@class llmspell.SpellFields" in difference


def test_the_generator_knows_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chekc"]) == 2
    assert "--check" in capsys.readouterr().err
    assert main(["--check"]) == 0


@pytest.mark.parametrize("name", sorted(PROBES))
def test_a_declaration_may_hold_what_the_types_say_and_nothing_else(name: str) -> None:
    declaration, table = PROBES[name]
    table["surely_unknown"] = 1
    try:
        with pytest.raises(SpecUnknownKey) as refused:
            read_file(declaration, Origin("t.lua"), default_name="x")
    finally:
        del table["surely_unknown"]
    allowed = re.search(r"Allowed: (.*)", refused.value.hint)
    assert allowed is not None
    declared = set(vocabulary.of_spells().classes[f"llmspell.{name}"].fields)
    unsaid = set(allowed[1].split(", ")) - declared
    if name == "Needs":
        # Known keys that nothing grants: a spell that has them is refused all the same.
        for key, value in (("net", ["a"]), ("secrets", ["a"]), ("files", {"read": ["a"]})):
            with pytest.raises(SpecError):
                read_file({**spell, "needs": {key: value}}, Origin("t.lua"))
    assert declared - set(allowed[1].split(", ")) <= {"params"}
    assert unsaid == set()


def test_every_table_of_a_declaration_is_probed() -> None:
    declared = {name for name in vocabulary.of_spells().classes if name.endswith("Fields")}
    classes = vocabulary.of_spells().classes
    inner = {
        part
        for name in declared
        for kind in classes[name].fields.values()
        for part in kind.removesuffix("[]").split("|")
        if part in classes and classes[part].fields
    }
    assert {f"llmspell.{name}" for name in PROBES} == declared | inner


@pytest.mark.parametrize("text", render().values(), ids=list(render()))
def test_the_types_are_nothing_but_annotations_and_empty_functions(text: str) -> None:
    assert text.startswith("---@meta ")
    for line in text.splitlines():
        assert re.fullmatch(
            r"(--.*)?|(local )?[A-Za-z_][\w.]* = .*|function [\w.:]+\([\w, .]*\) end", line
        ), line


@pytest.mark.parametrize("text", render().values(), ids=list(render()))
def test_every_class_that_a_type_names_is_declared(text: str) -> None:
    declared = set(re.findall(r"---@(?:class|alias) (llmspell\.\w+)", "".join(render().values())))
    assert set(re.findall(r"llmspell\.[A-Z]\w+", text)) <= declared
