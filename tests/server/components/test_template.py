from __future__ import annotations

import pytest

from llmspell.components.template import as_text, render, render_all
from llmspell.errors import TemplateError

DATA = {
    "input": {"topic": "owls", "tags": ["a", "b"], "n": 3, "nothing": None},
    "results": {"research": {"papers": "P", "count": 2}},
    "previous": "text",
}


def test_a_lone_placeholder_yields_the_value_itself() -> None:
    assert render("{{input.tags}}", DATA) == ["a", "b"]
    assert render("{{ input.n }}", DATA) == 3
    assert render("{{input.nothing}}", DATA) is None


def test_inside_a_text_strings_stand_as_they_are_and_structures_as_sorted_json() -> None:
    assert render("About {{input.topic}}: {{results.research}}", DATA) == (
        'About owls: {"count":2,"papers":"P"}'
    )


def test_null_renders_as_nothing_inside_a_text() -> None:
    assert render("[{{input.nothing}}]", DATA) == "[]"


def test_two_placeholders_are_a_text_and_not_a_value() -> None:
    assert render("{{input.n}}{{input.n}}", DATA) == "33"


def test_parts_of_a_list_are_numbered_from_one() -> None:
    assert render("{{input.tags.1}}-{{input.tags.2}}", DATA) == "a-b"
    with pytest.raises(TemplateError, match=r"input\.tags\.3"):
        render("{{input.tags.3}}", DATA)


def test_a_text_without_placeholders_is_left_alone() -> None:
    assert render('{"a": {"b": 1}} }} {{', DATA) == '{"a": {"b": 1}} }} {{'


def test_an_unknown_placeholder_names_what_there_is_and_the_nearest() -> None:
    with pytest.raises(TemplateError) as caught:
        render("see {{results.reserch}}", DATA)
    assert caught.value.message == "unknown placeholder '{{results.reserch}}'"
    assert caught.value.hint == "did you mean 'research'? In results there is: research"
    assert caught.value.data == {"placeholder": "results.reserch", "names": ["research"]}


def test_an_unknown_first_name_lists_the_names_of_the_data() -> None:
    with pytest.raises(TemplateError) as caught:
        render("{{x}}", DATA)
    assert caught.value.hint == "there is: input, results, previous"


def test_a_part_of_a_text_is_an_error_that_says_so() -> None:
    with pytest.raises(TemplateError) as caught:
        render("{{previous.title}}", DATA)
    assert caught.value.hint == "previous is a text and has no parts"


def test_what_is_no_path_is_refused_rather_than_left_in_the_text() -> None:
    with pytest.raises(TemplateError, match="no placeholder"):
        render("{{input topic}}", DATA)


def test_render_all_renders_every_text_of_a_structure() -> None:
    value = {"url": "{{input.topic}}.org", "n": [1, "{{input.n}}", {"deep": "{{previous}}"}]}
    assert render_all(value, DATA) == {"url": "owls.org", "n": [1, 3, {"deep": "text"}]}


def test_as_text_of_a_string_is_the_string_and_of_anything_else_its_json() -> None:
    assert as_text("a") == "a"
    assert as_text({"b": True, "a": 1.5}) == '{"a":1.5,"b":true}'
