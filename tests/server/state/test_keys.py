"""Packed keys: they sort as the tuples do, and come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.state.keys import pack, prefix_range, scan_range, unpack
from llmspell.state.store import Key

# Few letters, the awkward ones among them, so that shared beginnings are common.
_texts = st.text(alphabet="\0\x01ab\xff\uffff\U0010ffff", max_size=4) | st.text(max_size=8)
_blobs = st.lists(st.sampled_from([0, 1, 0x61, 0xFE, 0xFF]), max_size=4).map(bytes)
_ints = st.integers(-300, 300) | st.integers(-(1 << 64) + 1, (1 << 64) - 1)
_keys = st.lists(_texts | _blobs | _ints, max_size=4).map(tuple)
_KINDS: tuple[type, ...] = (bytes, str, int)


def _sortable(key: Key) -> list[tuple[int, bytes | int]]:
    """What Python's own comparison sorts as the contract says: by kind, then by value."""
    return [
        (_KINDS.index(type(part)), part.encode() if isinstance(part, str) else part) for part in key
    ]


@given(_keys)
def test_a_key_comes_back_as_it_was(key: Key) -> None:
    assert unpack(pack(key)) == key


@given(_keys, _keys)
def test_packed_keys_sort_as_the_tuples_do(one: Key, other: Key) -> None:
    assert (pack(one) < pack(other)) == (_sortable(one) < _sortable(other))


@given(st.lists(_texts, min_size=2, max_size=2))
def test_texts_sort_by_code_point(texts: list[str]) -> None:
    one, other = texts
    assert (pack((one,)) < pack((other,))) == (one < other)


@given(_keys, _keys)
def test_a_prefix_range_holds_what_extends_the_prefix_and_nothing_else(
    prefix: Key, key: Key
) -> None:
    low, high = prefix_range(prefix)
    for candidate in (key, prefix + key):
        extends = candidate[: len(prefix)] == prefix
        assert (low <= pack(candidate) < high) == extends


@given(_keys, _texts, _keys, _texts)
def test_a_partial_range_holds_the_parts_that_begin_so(
    head: Key, beginning: str, tail: Key, rest: str
) -> None:
    low, high = prefix_range((*head, beginning), partial=True)
    for part in (beginning + rest, rest, beginning):
        inside = low <= pack((*head, part, *tail)) < high
        assert inside == part.startswith(beginning)


@given(_blobs, _blobs)
def test_a_partial_range_of_bytes_holds_the_parts_that_begin_so(
    beginning: bytes, part: bytes
) -> None:
    low, high = prefix_range((beginning,), partial=True)
    assert (low <= pack((part,)) < high) == part.startswith(beginning)
    assert low <= pack((beginning + part,)) < high


@given(_keys, _keys, _keys)
def test_scan_bounds_are_exclusive(after: Key, before: Key, key: Key) -> None:
    low, high = scan_range((), after, before)
    inside = pack(after) < pack(key) < pack(before)
    assert (low <= pack(key) < high) == inside


@pytest.mark.parametrize("part", [True, None, 1.5, ["a"]])
def test_a_part_of_another_kind_is_refused(part: object) -> None:
    with pytest.raises(TypeError, match="must be str, int or bytes"):
        pack(("a", part))  # pyright: ignore[reportArgumentType]  # the wrong kind is the subject


@pytest.mark.parametrize("number", [1 << 64, -(1 << 64)])
def test_an_int_of_more_than_eight_bytes_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="at most 8 bytes"):
        pack((number,))


@pytest.mark.parametrize("prefix", [(), (1,), ("a", 1)])
def test_a_partial_prefix_must_end_with_a_text_or_bytes(prefix: Key) -> None:
    with pytest.raises(ValueError, match="ends with a str or bytes"):
        prefix_range(prefix, partial=True)


@pytest.mark.parametrize(
    "packed", [b"\x02abc", b"\x02a\0\xff", b"\x16\x01", b"\x30", b"\x02\xff\0", b"\xff"]
)
def test_bytes_that_are_no_key_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|decode"):
        unpack(packed)
