"""Spans of time as people write them, `30d` or `500ms`, and back.

No dates and no calendars: a day is 24 hours here. When something is due is
told by `timetable`.
"""

from __future__ import annotations

import math
import re
from typing import Final

MAX_SECONDS: Final = 100 * 365 * 86_400.0
"""The longest duration: a century. What is longer is a mistake."""

_UNITS: Final = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3_600.0,
    "d": 86_400.0,
    "w": 604_800.0,
}
_FORM: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(ms|s|m|h|d|w)", re.ASCII)


def seconds_of(value: object) -> float:
    """Return the seconds of a duration.

    Args:
        value: A number of seconds, or a number with one of the units ms, s, m, h, d, w.

    Raises:
        ValueError: It is none, or not between 0 and `MAX_SECONDS`.
    """
    if isinstance(value, str):
        match = _FORM.fullmatch(value.strip())
        if match is None:
            raise ValueError(
                f"{value[:40]!r} is no duration; write seconds, or a number with a unit: "
                "500ms, 90s, 10m, 24h, 30d, 2w"
            )
        seconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
    else:
        raise ValueError(f"a duration is a number or a text like 30d, not a {type(value).__name__}")
    if not 0 <= seconds <= MAX_SECONDS:  # false for NaN too
        raise ValueError(f"{value!r} is not between 0 and 100 years")
    return seconds


def duration_text(seconds: float) -> str:
    """Return a duration as people write it, in the largest unit that leaves no fraction.

    `seconds_of` reads it back to within a millisecond.
    """
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        size = round(_UNITS[unit] * 1000)
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    return f"{milliseconds / 1000:.3f}".rstrip("0") + "s"
