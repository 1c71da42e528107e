from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_protocols import jsonrpc
from llmspell_protocols.jsonrpc import (
    Error,
    Failure,
    Message,
    Notification,
    ProtocolError,
    Request,
    Result,
)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)
ids = texts | st.integers(-jsonrpc.MAX_ID, jsonrpc.MAX_ID)
extras = st.dictionaries(st.sampled_from(["serviceParameters", "credit"]), values, max_size=2)
errors = st.builds(Error, st.integers(-(1 << 31), 1 << 31), texts, values)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Request, ids, texts, objects, extras),
    st.builds(Notification, texts, objects, extras),
    st.builds(Result, ids, values),
    st.builds(Failure, ids | st.none(), errors),
)


@given(messages)
def test_a_rendered_message_parses_back_to_itself(message: Message):
    assert jsonrpc.parse(jsonrpc.render(message)) == message


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_no_text_raises_anything_but_a_protocol_error(text: str | bytes):
    with contextlib.suppress(ProtocolError):
        jsonrpc.parse(text)


members = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "extra"])


@given(st.dictionaries(members, values | st.just("2.0"), max_size=7))
def test_no_object_raises_anything_but_a_protocol_error(value: dict[str, Any]):
    with contextlib.suppress(ProtocolError):
        message = jsonrpc.message_of(value)
        assert jsonrpc.parse(jsonrpc.render(message)) == message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", jsonrpc.PARSE_ERROR),
        ("{", jsonrpc.PARSE_ERROR),
        ("{} {}", jsonrpc.PARSE_ERROR),
        ('{"id": 1e999}', jsonrpc.PARSE_ERROR),
        ('"\ud800"', jsonrpc.PARSE_ERROR),
        (b"\xff\xfe", jsonrpc.PARSE_ERROR),
        ("[" * 100_000, jsonrpc.PARSE_ERROR),
        ("[]", jsonrpc.INVALID_REQUEST),
        ('[{"jsonrpc":"2.0","id":1,"method":"m"}]', jsonrpc.INVALID_REQUEST),
        ("7", jsonrpc.INVALID_REQUEST),
        ('{"id":1,"method":"m"}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"1.0","id":1,"method":"m"}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":null,"method":"m"}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":true,"method":"m"}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1.5,"method":"m"}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":9007199254740993,"method":"m"}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":7}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":"m","result":1}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","result":1}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"error":7}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"y"}}', jsonrpc.INVALID_REQUEST),
        ('{"jsonrpc":"2.0","id":1,"method":"m","params":[]}', jsonrpc.INVALID_PARAMS),
        ('{"jsonrpc":"2.0","id":1,"method":"m","params":null}', jsonrpc.INVALID_PARAMS),
    ],
)
def test_what_is_no_message_is_refused_with_its_code(text: str | bytes, code: int):
    with pytest.raises(ProtocolError) as caught:
        jsonrpc.parse(text)
    assert caught.value.error.code == code


def test_a_refused_request_keeps_its_id_for_the_answer():
    with pytest.raises(ProtocolError) as caught:
        jsonrpc.parse('{"jsonrpc":"2.0","id":"a","method":7}')
    assert caught.value.id == "a"


def test_an_error_without_data_has_no_data_member():
    answer = jsonrpc.to_object(Failure(None, Error(1, "no")))
    assert answer == {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "no"}}


def test_text_without_a_utf8_form_cannot_be_rendered():
    with pytest.raises(ValueError, match="surrogates"):
        jsonrpc.dump({"text": "\ud800"})
