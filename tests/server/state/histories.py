"""Histories of transactions on lists, and whether some order of them explains what they saw.

After Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
Experimental Observations", VLDB 2020): each transaction reads lists and appends
values that nobody else appends. The final lists give the order of all appends,
so what each must have followed is known, and serialisable means: no cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise


@dataclass
class Done:
    """A transaction that was committed."""

    began: int
    """Its moment, in steps of one counter for all."""
    ended: int = 0
    reads: list[tuple[int, tuple[int, ...]]] = field(
        default_factory=list[tuple[int, tuple[int, ...]]]
    )
    """Lists with what they held before this transaction's own appends."""
    appends: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Lists with the value appended, in order."""


def anomaly(history: Sequence[Done], final: dict[int, tuple[int, ...]]) -> str:
    """Return what is wrong with a history that ended in the lists `final`; "" = nothing."""
    writer: dict[int, int] = {}
    for number, done in enumerate(history):
        for name, value in done.appends:
            if final.get(name, ()).count(value) != 1:
                return f"value {value} of list {name} is lost or doubled: {final.get(name)}"
            writer[value] = number
    for name, values in final.items():
        foreign = [value for value in values if value not in writer]
        if foreign:
            return f"list {name} has {foreign}, which nobody who was committed appended"
    for done in history:
        for name, seen in done.reads:
            if final.get(name, ())[: len(seen)] != seen:
                return f"a read of list {name} saw {seen}, it became {final.get(name)}"
    graph: dict[int, set[int]] = {number: set() for number in range(len(history))}
    for before, after in _orders(history, final, writer):
        if before != after:
            graph[after].add(before)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return f"a cycle of transactions: {[history[number] for number in error.args[1]]}"
    return ""


def _orders(
    history: Sequence[Done], final: dict[int, tuple[int, ...]], writer: dict[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield which transaction must have come before which."""
    for values in final.values():
        for value, following in pairwise(values):
            yield writer[value], writer[following]
    for number, done in enumerate(history):
        for name, seen in done.reads:
            values = final.get(name, ())
            if seen:
                yield writer[seen[-1]], number
            if len(seen) < len(values):
                yield number, writer[values[len(seen)]]
        # Strictly: what had ended when it began came before it.
        for other, earlier in enumerate(history):
            if earlier.ended < done.began:
                yield other, number
