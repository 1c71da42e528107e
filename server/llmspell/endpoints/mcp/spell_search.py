"""Finds published spells by words: names, titles, tags, descriptions and fields.

A small index in memory, made when it is first asked. The same words on the same
catalogue always give the same order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from llmspell.host.catalogue import Published
from llmspell.values import Object

_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHORTEST = 3
"""Least letters of a word that stands for the words it begins."""


class SpellIndex:
    """The words of some spells."""

    def __init__(self, spells: Iterable[Published]) -> None:
        self._spells = sorted(spells, key=lambda spell: spell.name)
        self._words = [_weighted(spell) for spell in self._spells]

    def __len__(self) -> int:
        return len(self._spells)

    def find(self, query: str, limit: int) -> list[Published]:
        """Return the spells that fit the words of a query best, the best first.

        A query without words finds every spell, in the order of their names.
        """
        words = dict.fromkeys(_split(query))
        if not words:
            return self._spells[:limit]
        scores = [0.0] * len(self._spells)
        for word in words:
            matches = [_match(word, weighted) for weighted in self._words]
            count = sum(1 for match in matches if match)
            if not count:
                continue
            rare = math.log(1 + len(self._spells) / count)
            for number, match in enumerate(matches):
                scores[number] += rare * match
        ranked = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
        return [self._spells[number] for number in ranked[:limit] if scores[number]]


def _weighted(spell: Published) -> dict[str, float]:
    """Return the words of a spell, each with the weight of the place that says most of it."""
    first, _, rest = spell.description.partition("\n")
    fields: Object = spell.input_schema.get("properties") or {}
    places: list[tuple[float, str]] = [
        (8.0, spell.name),
        (5.0, spell.title),
        (5.0, " ".join(spell.tags)),
        (3.0, first),
        (1.0, rest),
        (1.0, " ".join(fields)),
    ]
    words: dict[str, float] = {}
    for weight, text in places:
        for word in _split(text):
            words[word] = max(weight, words.get(word, 0.0))
    return words


def _match(word: str, weighted: dict[str, float]) -> float:
    exact = weighted.get(word)
    if exact is not None:
        return exact
    best = 0.0
    for other, weight in weighted.items():
        # `report` finds `reports` and `reporting`, and those find `report`.
        shorter, longer = sorted((word, other), key=len)
        if len(shorter) >= _SHORTEST and longer.startswith(shorter):
            best = max(best, weight * len(shorter) / len(longer) / 2)
    return best


def _split(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(_HUMP.sub(" ", text))]
