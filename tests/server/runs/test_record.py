"""The run record: its states, its identity, and the outcome it stands for."""

from __future__ import annotations

import itertools
import typing

import pytest

from llmspell.effects.messages import Usage
from llmspell.runs.record import (
    TERMINAL,
    TRANSITIONS,
    Run,
    RunState,
    new_run_id,
    outcome_of,
)

STATES: tuple[RunState, ...] = typing.get_args(RunState)


def run(state: RunState = "submitted") -> Run:
    return Run(id="r1", tenant="t", principal="p", session="s", spell="hello", state=state)


def test_the_table_of_transitions_knows_every_state() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert set(itertools.chain.from_iterable(TRANSITIONS.values())) <= set(STATES)


def test_from_a_final_state_there_is_no_way_on_and_from_every_other_there_is_one_out() -> None:
    for state, following in TRANSITIONS.items():
        if state in TERMINAL:
            assert not following
        else:
            assert {"failed", "canceled"} <= following


def test_no_run_completes_before_it_works() -> None:
    assert [state for state, following in TRANSITIONS.items() if "completed" in following] == [
        "working"
    ]


def test_no_run_goes_back_to_its_beginning() -> None:
    assert all("submitted" not in following for following in TRANSITIONS.values())


@pytest.mark.parametrize("state", STATES)
def test_a_run_is_final_in_exactly_the_terminal_states(state: RunState) -> None:
    assert run(state).is_final == (state in {"completed", "failed", "canceled", "rejected"})


@pytest.mark.parametrize("state", STATES)
def test_an_outcome_is_ok_only_when_the_run_completed(state: RunState) -> None:
    record = run(state)
    record.output, record.usage = {"a": 1}, Usage(calls=2)
    outcome = outcome_of(record)
    assert outcome.ok == (state == "completed")
    assert (outcome.run_id, outcome.spell, outcome.state) == ("r1", "hello", state)
    assert (outcome.output, outcome.usage.calls) == ({"a": 1}, 2)


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_run_id(1_700_000_000 + n / 1000) for n in range(50)]
    assert ids == sorted(ids)
    assert len({new_run_id(0) for _ in range(1000)}) == 1000


def test_an_id_has_96_bits_that_cannot_be_guessed() -> None:
    one, other = new_run_id(5), new_run_id(5)
    assert len(one) == 36
    assert one[:12] == other[:12] == f"{5000:012x}"
    assert one[12:] != other[12:]
