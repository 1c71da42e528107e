"""Timetables: when something is due, clocks that change included."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.timetable import Timetable

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def local(moment: float, zone: str) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%d %H:%M")


def test_a_cron_time_is_due_next_after_a_moment_and_never_at_it() -> None:
    table = Timetable(cron="0 7 * * *")
    assert table.after(at("2026-05-01T06:59:59")) == at("2026-05-01T07:00")
    assert table.after(at("2026-05-01T07:00")) == at("2026-05-02T07:00")


def test_a_cron_time_is_one_of_its_time_zone() -> None:
    table = Timetable(cron="0 7 * * *", timezone=BERLIN)
    assert table.after(at("2026-07-01T00:00")) == at("2026-07-01T05:00")
    assert table.after(at("2026-01-01T00:00")) == at("2026-01-01T06:00")


def test_a_time_that_is_put_forward_over_is_due_when_the_gap_ends() -> None:
    table = Timetable(cron="30 2 * * *", timezone=BERLIN)
    dues = islice(table.all_after(at("2026-03-28T00:00", BERLIN)), 3)
    assert [local(due, BERLIN) for due in dues] == ["28 02:30", "29 03:00", "30 02:30"]


def test_a_time_that_comes_twice_is_due_once() -> None:
    table = Timetable(cron="30 2 * * *", timezone=BERLIN)
    dues = list(islice(table.all_after(at("2026-10-24T00:00", BERLIN)), 3))
    assert [local(due, BERLIN) for due in dues] == ["24 02:30", "25 02:30", "26 02:30"]
    assert table.after(dues[1]) == dues[2]
    assert table.after(dues[1] + 1800) == dues[2]


def test_an_interval_goes_on_from_the_time_due_before() -> None:
    table = Timetable(every=600.0)
    assert table.after(1000.0) == 1600.0
    assert table.after(1700.0, last=1600.0) == 2200.0
    assert table.after(1_000_000.0, last=1600.0) == 1_000_000.0 + 600.0 - (1_000_000 - 1600) % 600


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Timetable(), "exactly one of cron and every"),
        (Timetable(cron="0 7 * * *", every=60.0), "exactly one of cron and every"),
        (Timetable(every=0.5), "too often"),
        (Timetable(cron="61 7 * * *"), "bad minute; five fields"),
        (Timetable(cron="0 7 * *"), "five fields are wanted: minute hour"),
        (Timetable(cron="0 0 7 * * *"), "five fields are wanted"),
        (Timetable(cron="@daily"), "five fields are wanted"),
        (Timetable(cron="0 0 30 2 *"), "bad day-of-month"),
        (Timetable(cron="0 7 * * *", timezone="Mars/Olympus"), "'Mars/Olympus' is no time zone"),
        (Timetable(cron="0 7 * * *", timezone="../../etc/passwd"), "is no time zone"),
        (Timetable(cron="0 7 * * *", timezone=""), "is no time zone"),
    ],
)
def test_what_can_never_be_due_is_refused(table: Timetable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table.check()


def test_it_tells_itself_as_people_write_it() -> None:
    assert str(Timetable(every=600.0)) == "every 10m"
    assert str(Timetable(cron="0 7 * * *")) == "0 7 * * *"
    assert str(Timetable(cron="0 7 * * *", timezone=BERLIN)) == "0 7 * * * (Europe/Berlin)"


_TABLES = st.one_of(
    st.builds(Timetable, every=st.integers(1, 100_000).map(float)),
    st.builds(
        Timetable,
        cron=st.sampled_from(["* * * * *", "*/7 3 * * *", "0 7 * * 1", "30 2 29 2 *", "0 0 1 1 *"]),
        timezone=st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe"]),
    ),
)


@given(table=_TABLES, start=st.integers(0, 2_000_000_000), count=st.integers(1, 60))
def test_the_newest_of_many_are_the_last_ones_counted_up(
    table: Timetable, start: int, count: int
) -> None:
    dues = list(islice(table.all_after(float(start)), count))
    assert dues == sorted(set(dues))
    assert dues[0] > start
    assert table.newest(dues[0], dues[-1], 5) == dues[-5:]
    assert table.newest(dues[0], dues[-1] + 0.5, count + 5) == dues


def test_the_newest_of_years_of_minutes_are_found_without_counting_them_all() -> None:
    table = Timetable(cron="* * * * *")
    first, last = at("1990-01-01T00:00"), at("2026-01-01T00:00")
    assert table.newest(first, last + 30, 3) == [last - 120, last - 60, last]
