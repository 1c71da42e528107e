"""The index of runs: what it says of a run without its record."""

from __future__ import annotations

import pytest

from llmspell.runs.record import TERMINAL, TRANSITIONS, Run, RunState
from llmspell.runs.run_index import index_key, index_value, indexed, read_index


def run(**fields: object) -> Run:
    made = Run(
        id="r", tenant="t", principal="p", session="s", spell="x", parent="above", door="mcp"
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_an_entry_says_what_lists_ask_for() -> None:
    entry = read_index(index_value(indexed(run(state="working"))))
    assert entry is not None
    assert (entry.session, entry.state, entry.door, entry.parent) == (
        "s",
        "working",
        "mcp",
        "above",
    )
    assert (entry.bytes, entry.is_plain) == (0, False)


def test_an_entry_of_an_older_version_says_nothing() -> None:
    assert read_index(b"") is None


@pytest.mark.parametrize("state", list(TRANSITIONS))
def test_an_entry_knows_whether_the_run_has_ended(state: RunState) -> None:
    assert indexed(run(state=state)).is_final is (state in TERMINAL)


def test_entries_sort_by_the_time_of_the_last_change() -> None:
    keys = [index_key(run(), 1_700_000_000.5), index_key(run(), 1_700_000_000.500001)]
    assert keys[0] == ("by", "t", "p", 1_700_000_000_500_000, "r")
    assert keys == sorted(keys, key=lambda key: int(key[3]))
