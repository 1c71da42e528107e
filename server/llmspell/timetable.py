"""When something is due again: a cron expression in a time zone, or an interval.

Only the arithmetic. What is done at these times, and what happens to those
that were missed, is `host.schedules`' part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import takewhile
from typing import Final

MIN_SECONDS: Final = 1.0
"""The shortest interval."""

_DAY = 86_400.0
_FIELDS = "five fields are wanted: minute hour day-of-month month day-of-week"


@dataclass(frozen=True, slots=True)
class Timetable:
    """Due times, as Unix time. Exactly one of `cron` and `every` is set.

    Where clocks are put forward, a cron time that does not exist is due when
    the gap ends; where they are put back, a time that comes twice is due once
    (Debian's cron does the same). Expressions whose minute and hour begin
    with `*` follow elapsed time instead.
    """

    cron: str = ""
    timezone: str = "UTC"
    """IANA name; an interval has no use for it."""
    every: float = 0.0
    """Seconds, counted from the time due before."""

    def check(self) -> None:
        """Check that it can ever be due.

        Raises:
            ValueError: What is wrong with it.
        """
        if bool(self.cron) == bool(self.every):
            raise ValueError("exactly one of cron and every is needed")
        if self.every:
            if self.every < MIN_SECONDS:
                raise ValueError(f"every {self.every:g} s is too often; the least is 1 s")
            return
        if self.after(0.0) is None:
            raise ValueError(f"cron {self.cron!r} names no date that ever comes")

    def after(self, moment: float, *, last: float | None = None) -> float | None:
        """Return the first time due after `moment`; None when there is none in 50 years.

        Args:
            last: The time due before, which an interval goes on from; `moment` when None.

        Raises:
            ValueError: The expression or the time zone is not valid.
        """
        return next(self.all_after(moment, last=last), None)

    def all_after(self, moment: float, *, last: float | None = None) -> Iterator[float]:
        """Yield the times due after `moment`, ascending; see `after`."""
        if self.every:
            start = moment if last is None else last
            # Rather computed than summed up, so that a long pause costs no loop.
            number = max(1, math.floor((moment - start) / self.every) + 1)
            while True:
                due = start + number * self.every
                if due > moment:
                    yield due
                number += 1
        from cronsim import CronSim, CronSimError

        if len(self.cron.split()) != 5:
            raise ValueError(f"cron {self.cron!r} is not valid: {_FIELDS}")
        begin = datetime.fromtimestamp(moment, _zone(self.timezone))
        try:
            for due in CronSim(self.cron, begin):
                # Begun in an hour that comes twice, it first names a time of the hour before.
                if due.timestamp() > moment:
                    yield due.timestamp()
        except CronSimError as error:
            what = str(error)
            raise ValueError(
                f"cron {self.cron!r} is not valid: {what[:1].lower()}{what[1:]}; {_FIELDS}"
            ) from None

    def newest(self, first: float, until: float, limit: int) -> list[float]:
        """Return the newest `limit` times due from `first`, which is one, to `until`, ascending."""
        if self.every:
            number = math.floor((until - first) / self.every)
            oldest = max(0, number - limit + 1)
            return [first + step * self.every for step in range(oldest, number + 1)]
        window = _DAY
        while True:
            # Backwards in growing windows: a year of minutes is not walked through for the last.
            start = max(first, until - window)
            dues = [first] if start == first else []
            dues += takewhile(lambda due: due <= until, self.all_after(start))
            if len(dues) >= limit or start == first:
                return dues[-limit:]
            window *= 8

    def __str__(self) -> str:
        if self.every:
            from llmspell.durations import duration_text

            return f"every {duration_text(self.every)}"
        return self.cron if self.timezone == "UTC" else f"{self.cron} ({self.timezone})"


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # ValueError: a path, a null byte
        raise ValueError(
            f"{name!r} is no time zone; write an IANA name, e.g. Europe/Berlin"
        ) from None
