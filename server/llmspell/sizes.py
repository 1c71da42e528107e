"""Sizes in bytes as people write them: `500MB`, `1GiB`."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}
_FORM: Final = re.compile(r"(\d{1,15})\s*([kmgt]i?b|b?)", re.ASCII | re.IGNORECASE)


def bytes_of(value: object) -> int:
    """Return the bytes of a size.

    Args:
        value: A whole number of bytes, or one with a unit: B, KB, MB, GB, TB (powers of 1000),
            KiB, MiB, GiB, TiB (powers of 1024).

    Raises:
        ValueError: It is none, or negative.
    """
    if isinstance(value, str):
        match = _FORM.fullmatch(value.strip())
        if match is None:
            raise ValueError(
                f"{value[:40]!r} is no size; write bytes, or a whole number with a unit: 500MB, 1GB"
            )
        return int(match[1]) * _UNITS[match[2].upper()]
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"a size cannot be negative: {value}")
        return value
    raise ValueError(f"a size is a whole number or a text like 1GB, not a {type(value).__name__}")
