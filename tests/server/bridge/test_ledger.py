"""What a bridge remembers of its client's requests."""

from __future__ import annotations

from llmspell.bridge.ledger import MAX_BYTES, MAX_REQUESTS, Ledger


def test_what_is_unanswered_is_to_be_asked_again_in_its_order() -> None:
    ledger = Ledger()
    for number in range(3):
        ledger.add(str(number), number, b"line %d" % number)
    assert ledger.settle("1")
    assert not ledger.settle("1")
    lost = ledger.lose()
    assert [asked.line for asked in lost.again] == [b"line 0", b"line 2"]
    assert lost.given_up == []
    assert ledger.is_owing


def test_beyond_its_bounds_the_oldest_can_only_be_given_up() -> None:
    ledger = Ledger()
    for number in range(MAX_REQUESTS + 2):
        ledger.add(str(number), number, b"x")
    assert all(asked.line for _, asked in ledger.unanswered())  # no owner has them yet
    ledger.hold_bounds()
    lost = ledger.lose()
    assert [asked.identifier for asked in lost.given_up] == [0, 1]
    assert len(lost.again) == MAX_REQUESTS
    assert "0" not in ledger


def test_bytes_are_bounded_too() -> None:
    ledger = Ledger()
    ledger.add("a", "a", b"x" * (MAX_BYTES - 1))
    ledger.add("b", "b", b"xx")
    ledger.hold_bounds()
    assert [asked.identifier for asked in ledger.lose().given_up] == ["a"]
    assert ledger.bytes == 2
    ledger.settle("b")
    assert ledger.bytes == 0


def test_an_id_that_is_used_again_is_asked_under_another_id_of_the_bridge() -> None:
    ledger = Ledger()
    first = ledger.add("1", 1, b"first")
    second = ledger.add("2", 2, b"second")
    assert first.bridge == second.bridge == ledger.bridge
    ledger.settle("1")
    again = ledger.add("1", 1, b"again")
    assert again.bridge not in ("", first.bridge)
    assert ledger.add("2x", "2x", b"other").bridge == again.bridge


def test_a_standing_request_is_not_waited_for_but_asked_again() -> None:
    ledger = Ledger()
    ledger.add("s", "s", b"listen", is_standing=True)
    assert not ledger.is_owing
    assert [asked.identifier for asked in ledger.lose().again] == ["s"]
    ledger.settle("s")
    ledger.add("r", "r", b"call")
    assert ledger.is_owing


def test_a_cancelled_request_is_cancelled_with_the_next_owner_and_never_answered() -> None:
    ledger = Ledger()
    ledger.add("1", 1, b"call")
    ledger.cancel("1", b"cancel")
    ledger.cancel("9", b"of nothing")
    assert not ledger.is_owing
    (asked,) = ledger.lose().again
    assert asked.cancel == b"cancel"
    assert ledger.drop_all() == []
    assert len(ledger) == 0
