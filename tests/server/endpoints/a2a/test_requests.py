"""Params: what is taken, what is refused with which field, and that nothing else is raised."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
)
from hypothesis import given
from hypothesis import strategies as st

from llmspell.endpoints.a2a.requests import (
    cancel_request,
    get_request,
    list_request,
    send_request,
    subscribe_request,
)
from tests.support.a2a import message


def test_a_message_is_read_into_canonical_names():
    params = message("hi", context_id="c", taskId="t", extra="ignored")
    request = send_request({**params, "configuration": {"history_length": 2}})
    assert (request.context_id, request.task_id, request.history_length) == ("c", "t", 2)
    assert request.message == {
        "messageId": "m-1",
        "contextId": "c",
        "taskId": "t",
        "role": "ROLE_USER",
        "parts": [{"text": "hi"}],
    }


def test_data_and_metadata_keep_their_numbers_and_order():
    part = {"data": {"b": 3, "a": 2**60}, "metadata": {"k": 1}}
    request = send_request(message(part, skill="s"))
    kept = request.message["parts"][0]
    assert list(kept["data"].items()) == [("b", 3), ("a", 2**60)]
    assert isinstance(kept["data"]["b"], int)
    assert isinstance(kept["metadata"]["k"], int)
    assert request.message["metadata"] == {"llmspell/skill": "s"}


def test_a_skill_is_named_in_the_message_or_beside_it():
    assert send_request(message("x", skill="a")).skill == "a"
    assert send_request({**message("x"), "metadata": {"llmspell/skill": "b"}}).skill == "b"
    assert send_request(message("x")).skill is None


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "message.messageId"),
        ({"message": "text"}, "message.messageId"),
        (message("x", id=""), "message.messageId"),
        (message("x", role="ROLE_AGENT"), "message.role"),
        (message("x", role="nobody"), "message.role"),
        (message(), "message.parts"),
        (message({}), "message.parts[0]"),
        (message("x", {"mediaType": "text/plain"}), "message.parts[1]"),
        (message("x", contextId="c" * 257), "message.contextId"),
        (message("x", contextId="a\nb"), "message.contextId"),
        ({**message("x"), "metadata": {"llmspell/skill": 7}}, "metadata['llmspell/skill']"),
        ({**message("x"), "configuration": {"historyLength": -1}}, "historyLength"),
        ({**message("x"), "configuration": 7}, "params"),
        (message({"text": "a", "data": 1}), "params"),
        (message({"text": 5}), "params"),
        (message({"data": {"n": 10**400}}), "params"),
    ],
)
def test_params_that_break_a_rule_are_refused_with_their_field(params: dict[str, Any], field: str):
    with pytest.raises(InvalidParamsError) as caught:
        send_request(params)
    assert caught.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    "part",
    [
        {"raw": "aGk=", "mediaType": "image/png"},
        {"url": "https://x/y", "mediaType": "application/pdf"},
        {"data": {}, "mediaType": "application/x-odd"},
        {"text": "x", "mediaType": "image/svg+xml"},
    ],
)
def test_a_media_type_the_card_does_not_list_is_refused(part: dict[str, Any]):
    with pytest.raises(ContentTypeNotSupportedError, match="supported: text/plain"):
        send_request(message(part))


@pytest.mark.parametrize(
    "part",
    [
        {"text": "x", "mediaType": "text/markdown; charset=utf-8"},
        {"data": [], "mediaType": "application/json"},
        {"raw": "aGk=", "mediaType": "text/plain"},
        {"raw": "aGk="},
    ],
)
def test_media_types_the_card_lists_and_texts_are_taken(part: dict[str, Any]):
    assert send_request(message(part)).message["parts"]


def test_a_push_configuration_is_refused_not_ignored():
    config = {"taskPushNotificationConfig": {"url": "https://x"}}
    with pytest.raises(PushNotificationNotSupportedError):
        send_request({**message("x"), "configuration": config})


@pytest.mark.parametrize("read", [get_request, cancel_request, subscribe_request])
def test_a_task_is_named_by_its_id(read: Callable[[dict[str, Any]], Any]):
    assert read({"id": "t"}).id == "t"
    with pytest.raises(InvalidParamsError, match="id: is required"):
        read({})


def test_a_list_has_its_filters_and_defaults():
    request = list_request({})
    assert (request.page_size, request.page_token, request.include_artifacts) == (50, None, False)
    request = list_request(
        {
            "contextId": "c",
            "status": "TASK_STATE_INPUT_REQUIRED",
            "page_size": 7,
            "pageToken": "p",
            "statusTimestampAfter": "1970-01-01T00:00:01.5Z",
            "includeArtifacts": True,
        }
    )
    assert (request.context_id, request.state) == ("c", "input_required")
    assert (request.page_size, request.page_token, request.updated_after) == (7, "p", 1.5)
    assert request.include_artifacts


@pytest.mark.parametrize(
    "params",
    [
        {"pageSize": 0},
        {"pageSize": 101},
        {"pageSize": -1},
        {"pageSize": "many"},
        {"status": "TASK_STATE_ODD"},
        {"statusTimestampAfter": "yesterday"},
        {"historyLength": -1},
    ],
)
def test_a_list_request_out_of_range_is_refused(params: dict[str, Any]):
    with pytest.raises(InvalidParamsError):
        list_request(params)


def test_params_nested_too_deeply_are_refused():
    nested: Any = {}
    for _ in range(400):
        nested = {"a": nested}
    with pytest.raises(InvalidParamsError):
        send_request(message({"data": nested}))


names = st.sampled_from(
    [
        *("message", "messageId", "role", "parts", "text", "data", "raw", "url", "metadata"),
        *("configuration", "historyLength", "contextId", "id", "status", "pageSize", "tenant"),
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["ROLE_USER", "x", ""])
)
anything: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(names, anything, max_size=5), anything)
def test_no_params_raise_anything_but_an_a2a_error(params: dict[str, Any], part: Any):
    shaped = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [part], **params}}
    for read in (send_request, get_request, cancel_request, subscribe_request, list_request):
        for each in (params, shaped):
            with contextlib.suppress(A2AError):
                read(each)
