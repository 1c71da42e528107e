"""The bundled spell `word_count`."""

from __future__ import annotations

import pytest

from llmspell.errors import InputInvalid
from llmspell.host.host import Host


@pytest.mark.parametrize(
    ("text", "words", "lines", "characters"),
    [
        ("", 0, 0, 0),
        ("one", 1, 1, 3),
        ("one two", 2, 1, 7),
        ("one\ntwo\n", 2, 2, 8),
        ("one\n\ntwo", 2, 3, 8),
        ("  spaced \t out  ", 2, 1, 16),
        ("grüße 🎉", 2, 1, 7),
    ],
)
async def test_it_counts_words_lines_and_characters(
    host: Host, text: str, words: int, lines: int, characters: int
) -> None:
    outcome = await host.cast("word_count", {"text": text})
    assert outcome.error is None
    assert outcome.output == {"words": words, "lines": lines, "characters": characters}


async def test_without_a_text_it_names_the_field(host: Host) -> None:
    with pytest.raises(InputInvalid, match='"text" is a required property'):
        await host.cast("word_count", {})
