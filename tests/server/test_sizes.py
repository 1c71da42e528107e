"""Sizes: what people write, and how many bytes that is."""

from __future__ import annotations

import pytest

from llmspell.sizes import bytes_of


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (1500, 1500),
        ("1500", 1500),
        ("1500B", 1500),
        ("1GB", 10**9),
        ("500 MB", 5 * 10**8),
        ("64kb", 64_000),
        ("1GiB", 1 << 30),
        ("2tib", 2 << 40),
    ],
)
def test_a_size_is_a_number_of_bytes_or_a_number_with_a_unit(written: object, size: int) -> None:
    assert bytes_of(written) == size


@pytest.mark.parametrize("written", ["", "GB", "1.5GB", "-1MB", "1 PB", 1.5, True, None])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="size"):
        bytes_of(written)


def test_a_size_is_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        bytes_of(-1)
