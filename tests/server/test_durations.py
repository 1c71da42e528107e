"""Durations: what people write, and what it means in seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.durations import MAX_SECONDS, duration_text, seconds_of


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30d", 2_592_000.0),
        ("24h", 86_400.0),
        ("10m", 600.0),
        ("90s", 90.0),
        ("500ms", 0.5),
        ("2w", 1_209_600.0),
        ("1.5h", 5_400.0),
        (" 10 m ", 600.0),
        (90, 90.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_a_number_with_a_unit(
    written: object, seconds: float
) -> None:
    assert seconds_of(written) == seconds


@pytest.mark.parametrize(
    "written",
    ["", "30", "d", "30x", "1h30m", "-5s", "1e3s", "٣s", "inf", True, None, [1], "9" * 400 + "s"],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds_of(written)


@pytest.mark.parametrize("written", [-1, float("nan"), float("inf"), 10**400, "40000d"])
def test_a_duration_is_between_nothing_and_a_century(written: object) -> None:
    with pytest.raises(ValueError, match="between 0 and 100 years"):
        seconds_of(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (1.5, "1.5s"),
        (90, "90s"),
        (600, "10m"),
        (86_400, "1d"),
        (90_000, "25h"),
        (2_592_000, "30d"),
    ],
)
def test_a_duration_is_told_in_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.floats(min_value=0, max_value=MAX_SECONDS / 2))
def test_what_is_told_is_read_back(seconds: float) -> None:
    assert seconds_of(duration_text(seconds)) == pytest.approx(seconds, abs=0.001)
