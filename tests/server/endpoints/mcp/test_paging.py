"""Results that are too long: cut, and read on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.endpoints.mcp.paging import cut, cut_result
from llmspell.host.catalogue import Published

Object = dict[str, Any]
IMAGE: Object = {"type": "image", "data": "AAAA", "mimeType": "image/png"}


def text(value: str) -> Object:
    return {"type": "text", "text": value}


def embedded(value: str) -> Object:
    return {"type": "resource", "resource": {"uri": "x://y", "text": value}}


def said(content: list[Object]) -> str:
    """Return the text of a part, without what says how to go on."""
    texts = [block.get("text") or block.get("resource", {}).get("text", "") for block in content]
    return "".join(each for each in texts if not each.startswith("[Cut here:"))


def test_what_fits_stays_as_it_is() -> None:
    content = [text("a" * 10), IMAGE, embedded("b" * 10)]
    found = cut(content, 20, "r1")
    assert found.content is content
    assert found.next is None


def test_what_is_too_long_says_where_it_goes_on_and_links_to_the_whole() -> None:
    found = cut([text("a" * 30)], 20, "r1")
    first, how, link = found.content
    assert first == text("a" * 20)
    assert "0 to 20 of 30 characters" in how["text"]
    assert '{"run_id": "r1", "offset": 20}' in how["text"]
    assert link == {"type": "resource_link", "uri": "run://r1/result", "name": "result of r1"}
    assert found.next == 20


def test_the_last_part_says_nothing_more() -> None:
    found = cut([text("a" * 30)], 20, "r1", offset=20)
    assert found.content == [text("a" * 10)]
    assert found.next is None


@pytest.mark.parametrize("offset", [30, 31, 10**9])
def test_behind_the_end_there_is_nothing(offset: int) -> None:
    [block] = cut([text("a" * 30)], 20, "r1", offset=offset).content
    assert "ends at 30" in block["text"]


def test_the_limit_is_of_bytes_and_no_character_is_cut_in_two() -> None:
    found = cut([text("\N{SNOWMAN}" * 10)], 10, "r1")
    assert found.content[0] == text("\N{SNOWMAN}" * 3)
    assert found.next == 3


def test_what_is_no_text_is_on_the_first_part_whole() -> None:
    content = [text("a" * 15), IMAGE, text("b" * 15), IMAGE, text("c")]
    first = cut(content, 20, "r1")
    assert first.content[:-2] == [text("a" * 15), IMAGE, text("b" * 5), IMAGE]
    assert cut(content, 20, "r1", offset=20).content == [text("b" * 10), text("c")]


def test_an_embedded_text_is_text_too() -> None:
    first = cut([embedded("a" * 15), embedded("b" * 15)], 20, "r1")
    assert first.content[:2] == [embedded("a" * 15), text("b" * 5)]


@given(
    texts=st.lists(st.text(max_size=40), max_size=5),
    limit=st.integers(4, 50),
)
def test_the_parts_join_to_the_whole(texts: list[str], limit: int) -> None:
    content = [text(each.replace("[", "(")) for each in texts]
    whole = said(content)
    joined, offset = "", 0
    while True:
        found = cut(content, limit, "r1", offset=offset)
        part = said(found.content)
        assert len(part.encode()) <= limit or (offset == 0 and found.next is None)
        joined += part
        if found.next is None:
            break
        assert found.next == len(joined) > offset
        offset = found.next
    assert joined == whole


# -- with structuredContent

RESULT: Object = {
    "content": [text("a" * 30)],
    "structuredContent": {"words": "a" * 30},
    "_meta": {"llmspell/run_id": "r1"},
}
SCHEMA: Object = {"type": "object", "properties": {"words": {"type": "string"}}}


def spell(**said: Any) -> Published:
    return Published(name="s", **said)


def test_a_short_result_is_not_touched() -> None:
    assert cut_result(RESULT, 30, "r1", spell(output_schema=SCHEMA)) is RESULT


def test_where_a_handle_fits_the_schema_a_long_result_is_one() -> None:
    found = cut_result(RESULT, 20, "r1", spell(output_schema=SCHEMA))
    assert set(found["structuredContent"]) == {"run_id", "status", "how_to_continue"}
    assert found["structuredContent"]["run_id"] == "r1"
    assert found["_meta"] == RESULT["_meta"]
    assert found["content"][0] == text("a" * 20)


def test_where_the_schema_is_exact_it_stays_whole() -> None:
    exact = spell(output_schema=SCHEMA, when_long="wait")
    assert cut_result(RESULT, 20, "r1", exact)["structuredContent"] == {"words": "a" * 30}


@pytest.mark.parametrize("called", [None, spell(), spell(output_schema={"type": "array"})])
def test_without_a_schema_there_is_none_in_a_long_result(called: Published | None) -> None:
    found = cut_result(RESULT, 20, "r1", called)
    assert "structuredContent" not in found


def test_later_parts_have_none() -> None:
    found = cut_result(RESULT, 20, "r1", None, offset=20)
    assert found["content"] == [text("a" * 10)]
    assert "structuredContent" not in found
    assert RESULT["structuredContent"]  # the result itself is not changed
