"""What a file may declare to be read and filled in, and what is said about a wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.errors import SpecDuplicate, SpecError, SpecUnknownKey
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.library import read_file
from llmspell.spec.origin import Origin
from llmspell.values import FunctionRef

ORIGIN = Origin("spells/notes.lua", "")
FN = FunctionRef(1)


def made(kind: str, **fields: Any) -> dict[str, Any]:
    return {"$kind": kind, "$line": 3, **fields}


def read(declaration: dict[str, Any]) -> SpellSpec:
    return read_file(declaration, ORIGIN, default_name="notes")


def test_a_file_that_returns_a_resource_holds_it_under_its_own_name() -> None:
    spec = read(made("resource", uri="notes://today", read=FN))
    assert (spec.kind, spec.name) == ("resource", "notes")
    assert spec.resources[0].uri == "notes://today"


def test_a_file_that_returns_a_prompt_holds_it_under_its_own_name() -> None:
    spec = read(made("prompt", messages="Sum up {{input.topic}}"))
    assert (spec.kind, spec.prompts[0].name) == ("prompt", "notes")


def test_a_field_that_completes_is_kept_beside_the_schema() -> None:
    field = {"$schema": {"type": "string"}, "$seq": 1, "$complete": FN}
    prompt = read(made("prompt", messages=FN, arguments={"topic": field})).prompts[0]
    assert prompt.complete == {"topic": FN}
    assert prompt.arguments["properties"] == {"topic": {"type": "string"}}
    spell = read(made("spell", run=FN, input={"topic": field}))
    assert spell.complete == {"topic": FN}


def test_a_spell_lists_prompts_and_resources() -> None:
    spec = read(
        made(
            "spell",
            run=FN,
            prompt=True,
            prompts=[made("prompt", name="ask", messages=FN)],
            resources=[made("resource", name="live", uri="notes://live", read=FN)],
        )
    )
    assert spec.prompt is True
    assert [each.name for each in spec.prompts] == ["ask"]
    assert [each.name for each in spec.resources] == ["live"]


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (made("resource", read=FN), "exactly one of uri and template; it has none"),
        (
            made("resource", uri="a://b", template="a://{b}", read=FN),
            "exactly one of uri and template; it has uri and template",
        ),
        (made("resource", uri="a://b"), "Resource.create needs read"),
        (
            made("resource", uri="a://b", read="text"),
            "'read' in Resource.create must be a function",
        ),
        (made("resource", uri="no scheme", read=FN), "'uri' in Resource.create is no URI"),
        (made("resource", uri="a://{b}", read=FN), "'uri' in Resource.create is no URI"),
        (made("resource", uri="run://x", read=FN), "run: is a scheme of llmspell's own"),
        (made("resource", uri="FILE:///x", read=FN), "FILE: is a scheme of llmspell's own"),
        (made("resource", template="a://b", read=FN), "at least one {name}"),
        (
            made("resource", uri="a://b", read=FN, params={}),
            "'params' in Resource.create describes the variables of a template",
        ),
        (
            made(
                "resource",
                template="a://{b}",
                read=FN,
                params={"c": {"$schema": {"type": "string"}, "$seq": 1}},
            ),
            "the template has no variable 'c'",
        ),
        (made("prompt"), "Prompt.create needs messages"),
        (made("prompt", messages=7), "'messages' in Prompt.create is a text or a function"),
        (
            made("spell", run=FN, prompts=[made("spell", run=FN)]),
            "'prompts' in Spell.create is a list of what Prompt.create makes",
        ),
        (
            made("spell", run=FN, resources="notes"),
            "'resources' in Spell.create must be a list",
        ),
        (
            made("spell", run=FN, prompts=[made("prompt", messages=FN)]),
            "Prompt.create needs name",
        ),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong_where(
    declaration: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        read(declaration)
    assert message in caught.value.message
    assert caught.value.where == "spells/notes.lua:3"


def test_an_unknown_key_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SpecUnknownKey) as caught:
        read(made("resource", uri="a://b", read=FN, mediatype="text/plain"))
    assert caught.value.hint.startswith("did you mean 'media_type'?")


def test_two_parts_of_one_name_are_refused() -> None:
    parts = [made("prompt", name=name, messages=FN) for name in ("ask", "ASK")]
    with pytest.raises(SpecDuplicate, match="two parts named 'ASK'"):
        read(made("spell", run=FN, prompts=parts))


@pytest.mark.parametrize("key", ["prompts", "resources"])
def test_an_inline_spell_has_no_parts_of_its_own(key: str) -> None:
    inner = made("spell", name="inner", run=FN, **{key: []})
    with pytest.raises(SpecError, match=f"'{key}' belong to the spell that a file returns"):
        read(made("workflow", type="sequential", steps=[inner]))


def test_an_inline_spell_is_no_prompt() -> None:
    inner = made("spell", name="inner", run=FN, prompt=True)
    with pytest.raises(SpecError, match="has no prompts of its own"):
        read(made("workflow", type="sequential", steps=[inner]))
