"""Spells found by words."""

from __future__ import annotations

from llmspell.endpoints.mcp.spell_search import SpellIndex
from llmspell.host.catalogue import Published

SPELLS = [
    Published(name="sales_report", description="Write the report of a month.", tags=("finance",)),
    Published(name="send_mail", description="Send a mail.\nWith reports attached, say."),
    Published(name="countWords", title="Count words", description="How many words a text has."),
    Published(
        name="weather",
        description="Say what it will be like.",
        input_schema={"type": "object", "properties": {"city_name": {"type": "string"}}},
    ),
]


def found(query: str, limit: int = 10) -> list[str]:
    return [spell.name for spell in SpellIndex(SPELLS).find(query, limit)]


def test_a_name_counts_more_than_a_description() -> None:
    assert found("report") == ["sales_report", "send_mail"]
    assert found("reports")[0] == "sales_report"


def test_words_are_found_in_names_titles_tags_descriptions_and_fields() -> None:
    assert found("finance") == ["sales_report"]
    assert found("attached") == ["send_mail"]
    assert found("city") == ["weather"]
    assert found("words count") == ["countWords"]
    assert found("MAIL") == ["send_mail"]


def test_a_word_nobody_has_does_not_spoil_the_others() -> None:
    assert found("please weather") == ["weather"]
    assert found("xyzzy") == []


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    common = [Published(name=f"s{number}", description="word") for number in range(9)]
    rare = Published(name="zebra", description="special")
    ranked = SpellIndex([*common, rare]).find("word special", 10)
    assert ranked[0].name == "zebra"


def test_without_words_all_are_found_in_the_order_of_names() -> None:
    assert found("") == found(" ?! ") == ["countWords", "sales_report", "send_mail", "weather"]
    assert found("", 2) == ["countWords", "sales_report"]


def test_the_same_words_give_the_same_order() -> None:
    assert found("report mail words", 3) == found("report mail words", 3)
    assert SpellIndex(reversed(SPELLS)).find("report", 9) == SpellIndex(SPELLS).find("report", 9)


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert SpellIndex([]).find("a", 5) == []
    assert len(SpellIndex(SPELLS)) == 4
