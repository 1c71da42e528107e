"""URI templates: what they match, what they are filled in to, what is none."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.spec.uri_template import MAX_LENGTH, TemplateInvalid, UriTemplate


@pytest.mark.parametrize(
    ("template", "uri", "values"),
    [
        ("test://template/{id}/data", "test://template/7/data", {"id": "7"}),
        ("test://template/{id}/data", "test://template/a%20b/data", {"id": "a b"}),
        ("files:///{+path}", "files:///a/b.md", {"path": "a/b.md"}),
        ("log://{id}{?after,limit}", "log://x", {"id": "x"}),
        ("log://{id}{?after,limit}", "log://x?limit=5", {"id": "x", "limit": "5"}),
        ("a://{one}-{two}", "a://1-2", {"one": "1", "two": "2"}),
    ],
)
def test_a_uri_of_the_form_yields_its_values(
    template: str, uri: str, values: dict[str, str]
) -> None:
    assert UriTemplate(template).match(uri) == values


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template//data"),
        ("test://template/{id}/data", "test://template/a/b/data"),
        ("test://template/{id}/data", "test://template/a/data/"),
        ("test://{id}", "test://a?b=c"),
        ("test://{id}{?after}", "test://a?other=1"),
        ("test://{id}{?after}", "test://a?after=1&after=2"),
        ("test.//{id}", "test!//a"),
        ("test://{id}", "test://" + "a" * MAX_LENGTH),
    ],
)
def test_a_uri_of_another_form_yields_nothing(template: str, uri: str) -> None:
    assert UriTemplate(template).match(uri) is None


@pytest.mark.parametrize(
    "template",
    [
        "test://no-variable",
        "test://{}",
        "test://{1}",
        "test://{a}{a}",
        "test://{?a}/b",
        "test://{a,b}",
        "test://{#a}",
        "test://{a",
        "test://{a*}",
        "x://{a}" + "b" * MAX_LENGTH,
    ],
)
def test_what_is_no_template_of_the_known_forms_is_refused(template: str) -> None:
    with pytest.raises(TemplateInvalid):
        UriTemplate(template)


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_what_a_template_is_filled_in_to_yields_the_same_values(one: str, two: str) -> None:
    template = UriTemplate("test://{one}/{+two}{?more}")
    try:
        one.encode()
        two.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate has no place in a URI
    uri = f"test://{quote(one, safe='')}/{quote(two)}?more={quote(two, safe='')}"
    assert template.match(uri) == {"one": one, "two": two, "more": two}
