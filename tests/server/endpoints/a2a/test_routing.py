"""Which spell a message is for, rule by rule, and what of it is the input."""

from __future__ import annotations

from typing import Any

import pytest
from a2a.utils.errors import InvalidParamsError

from llmspell.endpoints.a2a.errors import error_of
from llmspell.endpoints.a2a.routing import Cast, Question, answered, route
from llmspell.errors import SpellNotFound
from llmspell.host.catalogue import Catalogue, Published

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def spell(name: str, properties: dict[str, Any] | None = None, **more: Any) -> Published:
    required = more.pop("required", [])
    schema: dict[str, Any] = {"type": "object", "required": required}
    if properties is not None:
        schema["properties"] = properties
    return Published(name=name, input_schema=schema, **more)


def book(*spells: Published) -> Catalogue:
    return Catalogue(generation=1, spells=spells)


def said(*parts: str | dict[str, Any]) -> dict[str, Any]:
    return {"parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


ECHO = spell("echo", {"text": TEXT}, required=["text"], title="Echo")
ADD = spell("add", {"a": NUMBER, "b": NUMBER}, required=["a", "b"], description="Add.\nTwo.")
FREE = spell("free")
BOTH = book(ADD, ECHO)


def test_the_skill_a_message_names_decides():
    assert route(BOTH, said("hi"), skill="echo", default="add") == Cast("echo", {"text": "hi"})


def test_an_unknown_skill_is_an_error_that_lists_the_skills():
    with pytest.raises(SpellNotFound) as caught:
        route(BOTH, said("hi"), skill="ecko")
    assert caught.value.hint == "the skills are: add, echo"


def test_the_only_published_spell_needs_no_name():
    hidden = spell("hidden", expose_a2a=False)
    assert route(book(ECHO, hidden), said("hi")) == Cast("echo", {"text": "hi"})


def test_a_spell_that_is_not_exposed_cannot_be_named():
    with pytest.raises(SpellNotFound):
        route(book(ECHO, spell("hidden", expose_a2a=False)), said("hi"), skill="hidden")


def test_the_setting_decides_before_the_caller_is_asked():
    assert route(BOTH, said("hi"), default="echo") == Cast("echo", {"text": "hi"})


def test_otherwise_the_caller_is_asked_with_a_numbered_list():
    asked = route(BOTH, said("hi"))
    assert isinstance(asked, Question)
    assert asked.text.splitlines()[1:] == ["1. add: Add.", "2. echo: Echo"]
    assert [each["id"] for each in asked.data["skills"]] == ["add", "echo"]


def test_with_nothing_published_there_is_nothing_to_ask():
    with pytest.raises(SpellNotFound, match="no skill is published"):
        route(book(), said("hi"))


def test_a_data_part_is_the_input_whatever_is_said_beside_it():
    assert route(book(ADD), said("please", {"data": {"a": 1}})) == Cast("add", {"a": 1})


def test_two_data_parts_are_refused():
    with pytest.raises(InvalidParamsError):
        route(book(ADD), said({"data": 1}, {"data": 2}))


@pytest.mark.parametrize(
    ("properties", "required", "field"),
    [
        ({"a": TEXT}, [], "a"),
        ({"a": TEXT, "b": TEXT}, ["b"], "b"),
        ({"a": TEXT, "n": NUMBER}, [], "a"),
        ({"a": TEXT, "n": NUMBER}, ["n"], "a"),
        ({"a": TEXT, "b": TEXT, "n": NUMBER}, ["b", "n"], "b"),
    ],
)
def test_a_text_fills_the_only_required_string_field_else_the_only_one(
    properties: dict[str, Any], required: list[str], field: str
):
    only = book(spell("s", properties, required=required))
    assert route(only, said("one", "two")) == Cast("s", {field: "one\ntwo"})


@pytest.mark.parametrize(
    ("properties", "required"),
    [
        ({"a": TEXT, "b": TEXT}, []),
        ({"a": TEXT, "b": TEXT}, ["a", "b"]),
        ({"n": NUMBER}, []),
    ],
)
def test_a_text_that_fits_no_one_field_is_answered_with_the_schema(
    properties: dict[str, Any], required: list[str]
):
    asked = route(book(spell("s", properties, required=required)), said("x"))
    assert isinstance(asked, Question)
    assert asked.data["skill"] == "s"
    assert asked.data["schema"]["properties"] == properties
    assert '"properties"' in asked.text


def test_a_spell_without_fields_takes_any_message():
    assert route(book(FREE), said("x")) == Cast("free", {})
    assert route(book(FREE), said({"url": "https://x"})) == Cast("free", {})


def test_a_file_alone_fills_no_field():
    assert isinstance(route(book(ECHO), said({"url": "https://x"})), Question)


SKILLS = {"skills": [{"id": "add"}, {"id": "echo"}]}


@pytest.mark.parametrize("answer", ["echo", " echo\n", "2"])
def test_an_answer_by_exact_name_or_number_takes_the_first_messages_parts(answer: str):
    assert answered(BOTH, SKILLS, said("hi"), said(answer)) == Cast("echo", {"text": "hi"})


@pytest.mark.parametrize("answer", ["Echo", "0", "3", "-1", "²", "", "echo it"])
def test_any_other_answer_settles_nothing(answer: str):
    assert answered(BOTH, SKILLS, said("hi"), said(answer)) is None


def test_an_answer_may_name_the_skill_in_metadata_and_bring_the_input():
    answer = said({"data": {"a": 1, "b": 2}})
    assert answered(BOTH, SKILLS, said("hi"), answer, skill="add") == Cast("add", {"a": 1, "b": 2})


def test_a_choice_the_first_message_does_not_fit_says_how_to_answer():
    with pytest.raises(InvalidParamsError) as caught:
        answered(BOTH, SKILLS, said("hi"), said("add"))
    detail = error_of(caught.value).data[0]["metadata"]
    assert "data part" in detail["hint"]


def test_a_chosen_skill_that_is_gone_is_an_error():
    with pytest.raises(SpellNotFound):
        answered(book(ADD), SKILLS, said("hi"), said("echo"))


def test_an_answer_to_the_question_for_input_is_read_as_input():
    asked: dict[str, Any] = {"skill": "add", "schema": {}}
    assert answered(BOTH, asked, said("x"), said("no")) is None
    assert answered(BOTH, asked, said("x"), said({"data": {"a": 1}})) == Cast("add", {"a": 1})
    with pytest.raises(InvalidParamsError):
        answered(BOTH, asked, said("x"), said({"data": {}}), skill="echo")
