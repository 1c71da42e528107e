"""What the bridge shows a new owner of what its client agreed with the last one."""

from __future__ import annotations

import json
from typing import Any

from llmspell.bridge.handshake import MAX_SUBSCRIPTIONS, Handshake
from llmspell.bridge.lines import key_of


def opened() -> Handshake:
    handshake = Handshake()
    handshake.begin({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}})
    handshake.answered(key_of(1), good=True)
    return handshake


def wish(handshake: Handshake, id: Any, method: str, *, good: bool = True, **params: Any) -> None:
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    handshake.wish(key_of(id), message)
    handshake.answered(key_of(id), good=good)


def shown(handshake: Handshake) -> list[tuple[str, Any]]:
    messages = [json.loads(line) for _, line in handshake.wishes()]
    assert [key_of(each["id"]) for each in messages] == [key for key, _ in handshake.wishes()]
    return [(each["method"], each["params"]) for each in messages]


def test_what_was_granted_and_not_taken_back_is_shown() -> None:
    handshake = opened()
    wish(handshake, 2, "resources/subscribe", uri="a://")
    wish(handshake, 3, "resources/subscribe", uri="b://")
    wish(handshake, 4, "resources/subscribe", uri="c://", good=False)
    wish(handshake, 5, "logging/setLevel", level="error")
    wish(handshake, 6, "logging/setLevel", level="debug")
    wish(handshake, 7, "resources/unsubscribe", uri="a://")
    assert shown(handshake) == [
        ("resources/subscribe", {"uri": "b://"}),
        ("logging/setLevel", {"level": "debug"}),
    ]


def test_nothing_is_shown_before_the_handshake_or_of_the_one_before() -> None:
    handshake = Handshake()
    wish(handshake, 2, "resources/subscribe", uri="a://")
    assert handshake.wishes() == []
    handshake = opened()
    wish(handshake, 2, "resources/subscribe", uri="a://")
    handshake.begin({"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {}})
    handshake.answered(key_of(9), good=True)
    assert handshake.wishes() == []


def test_a_wish_without_an_answer_or_a_name_is_none() -> None:
    handshake = opened()
    handshake.wish(key_of(2), {"id": 2, "method": "resources/subscribe", "params": {"uri": "a://"}})
    wrong: list[Any] = [None, [], {"uri": 7}]
    for id, params in enumerate(wrong, 3):
        handshake.wish(key_of(id), {"id": id, "method": "resources/subscribe", "params": params})
        handshake.answered(key_of(id), good=True)
    assert handshake.wishes() == []


def test_more_than_an_owner_takes_are_not_kept() -> None:
    handshake = opened()
    for number in range(MAX_SUBSCRIPTIONS + 5):
        wish(handshake, number + 2, "resources/subscribe", uri=f"a://{number}")
    assert len(handshake.wishes()) == MAX_SUBSCRIPTIONS
