from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from llmspell_protocols.a2a.connection import (
    ANSWER_TOO_LARGE,
    EXHAUSTED,
    Answered,
    Close,
    Connection,
    Event,
    Failed,
    Item,
    Requested,
    Send,
    StreamCanceled,
    StreamEnded,
)
from llmspell_protocols.a2a.methods import METHODS, is_streaming
from llmspell_protocols.jsonrpc import Error, Id, ProtocolError

Frame = dict[str, Any]


def frame(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", **members})


def only(events: list[Event]) -> Event:
    (event,) = events
    return event


def sent(events: list[Event]) -> Frame:
    event = only(events)
    assert isinstance(event, Send)
    return json.loads(event.frame)


def test_the_method_table_has_the_eleven_operations_and_two_streams():
    assert len(METHODS) == 11
    assert {name for name in METHODS if is_streaming(name)} == {
        "SendStreamingMessage",
        "SubscribeToTask",
    }
    assert not is_streaming("hello")


def test_a_unary_call_travels_there_and_back():
    client, server = Connection(), Connection()
    id, asked = client.request("GetTask", {"id": "t"}, {"A2A-Version": "1.0"})
    assert server.receive(asked) == [
        Requested(id, "GetTask", {"id": "t"}, {"a2a-version": "1.0"}, streaming=False)
    ]
    assert client.receive(server.respond(id, {"id": "t"})) == [Answered(id, {"id": "t"})]
    assert client.receive(frame(id=id, result="late")) == []


def test_a_stream_delivers_its_items_in_order_and_then_its_end():
    client, server = Connection(), Connection()
    id, asked = client.request("SubscribeToTask", {"id": "t"})
    assert only(server.receive(asked)) == Requested(
        id, "SubscribeToTask", {"id": "t"}, {}, streaming=True
    )
    frames = [server.stream_item(id, number) for number in range(3)] + [server.stream_end(id)]
    events = [event for one in frames for event in client.receive(one)]
    assert events == [Item(id, 0), Item(id, 1), Item(id, 2), StreamEnded(id, "completed")]
    assert client.receive(frame(id=id, result="late")) == []


def test_an_error_ends_a_stream():
    client, server = Connection(), Connection()
    id, asked = client.request("SubscribeToTask", {"id": "t"})
    server.receive(asked)
    error = Error(-32001, "Task not found", [{"@type": "x"}])
    assert client.receive(server.fail(id, error)) == [Failed(id, error)]
    assert client.receive(server.fail(id, error)) == []


def test_cancel_stream_reaches_the_sender_and_mutes_what_is_under_way():
    client, server = Connection(), Connection()
    id, asked = client.request("SendStreamingMessage", {})
    server.receive(asked)
    on_its_way = server.stream_item(id, 1)
    notice = client.cancel_stream(id)
    assert notice is not None
    assert client.cancel_stream(id) is None
    assert client.receive(on_its_way) == []
    assert server.receive(notice) == [StreamCanceled(id)]
    assert client.receive(server.stream_end(id, "cancelled")) == []
    assert server.receive(notice) == []


def test_an_error_of_a_canceled_stream_is_ignored():
    client = Connection()
    id, _ = client.request("SendStreamingMessage", {})
    client.cancel_stream(id)
    assert client.receive(frame(id=id, error={"code": 1, "message": "late"})) == []


@pytest.mark.parametrize("target", [7, "x", None, True, [1]])
def test_cancel_stream_of_an_unknown_stream_is_ignored(target: Any):
    assert Connection().receive(frame(method="cancelStream", params={"id": target})) == []


def test_cancel_stream_does_not_touch_a_unary_request():
    server = Connection()
    server.receive(frame(id=1, method="GetTask"))
    assert server.receive(frame(method="cancelStream", params={"id": 1})) == []
    assert Connection().cancel_stream(1) is None


def test_an_unknown_notification_is_ignored():
    assert Connection().receive(frame(method="streamCredit", params={"id": 1, "credit": 5})) == []


def test_an_unknown_method_is_handed_on_for_the_caller_to_refuse():
    event = only(Connection().receive(frame(id=1, method="hello")))
    assert isinstance(event, Requested)
    assert not event.streaming


def test_both_ends_may_call_with_the_same_ids():
    left, right = Connection(), Connection()
    id_left, from_left = left.request("GetTask", {"id": "l"})
    id_right, from_right = right.request("GetTask", {"id": "r"})
    assert id_left == id_right
    right.receive(from_left)
    left.receive(from_right)
    assert right.receive(left.respond(id_right, "to right")) == [Answered(id_right, "to right")]
    assert left.receive(right.respond(id_left, "to left")) == [Answered(id_left, "to left")]


def test_an_id_that_is_in_flight_is_refused_until_it_has_ended():
    server = Connection()
    server.receive(frame(id="a", method="GetTask"))
    answer = sent(server.receive(frame(id="a", method="GetTask")))
    assert (answer["id"], answer["error"]["code"]) == ("a", -32600)
    server.respond("a", None)
    assert isinstance(only(server.receive(frame(id="a", method="GetTask"))), Requested)


def test_the_text_1_and_the_number_1_are_two_ids():
    server = Connection()
    server.receive(frame(id="1", method="GetTask"))
    assert isinstance(only(server.receive(frame(id=1, method="GetTask"))), Requested)


def test_more_requests_than_allowed_are_answered_with_exhausted_and_not_closed():
    server = Connection(max_in_flight=2)
    server.receive(frame(id=1, method="GetTask"))
    server.receive(frame(id=2, method="GetTask"))
    answer = sent(server.receive(frame(id=3, method="GetTask")))
    assert answer["error"]["code"] == EXHAUSTED
    assert answer["error"]["data"][0]["@type"].endswith("RetryInfo")
    server.respond(1, None)
    assert isinstance(only(server.receive(frame(id=3, method="GetTask"))), Requested)


def test_more_streams_than_allowed_are_answered_with_exhausted():
    server = Connection(max_streams=1)
    server.receive(frame(id=1, method="SubscribeToTask"))
    assert sent(server.receive(frame(id=2, method="SubscribeToTask")))["error"]["code"] == EXHAUSTED
    assert isinstance(only(server.receive(frame(id=2, method="GetTask"))), Requested)
    server.stream_end(1)
    assert isinstance(only(server.receive(frame(id=3, method="SubscribeToTask"))), Requested)


def test_our_own_requests_keep_to_the_same_limits():
    client = Connection(max_in_flight=1, max_frame_bytes=200)
    with pytest.raises(ProtocolError) as caught:
        client.request("GetTask", {"id": "x" * 200})
    assert caught.value.error.code == ANSWER_TOO_LARGE
    client.request("GetTask", {})
    with pytest.raises(ProtocolError) as caught:
        client.request("GetTask", {})
    assert caught.value.error.code == EXHAUSTED


@pytest.mark.parametrize("text", ["{bad", "", "[]", "7", '{"id":1}', '{"jsonrpc":"2.0"}'])
def test_a_text_that_is_no_message_is_answered_and_the_connection_lives(text: str):
    connection = Connection()
    assert sent(connection.receive(text))["error"]["code"] in {-32700, -32600}
    assert isinstance(only(connection.receive(frame(id=1, method="GetTask"))), Requested)


def test_a_binary_frame_closes_with_1003_and_everything_after_it_is_ignored():
    connection = Connection()
    event = only(connection.receive(b"{}"))
    assert isinstance(event, Close)
    assert event.code == 1003
    assert connection.receive(frame(id=1, method="GetTask")) == []


@pytest.mark.parametrize("text", ["x" * 101, "é" * 51, "\ud800" * 34])
def test_a_frame_over_the_limit_in_bytes_closes_with_1009(text: str):
    event = only(Connection(max_frame_bytes=100).receive(text))
    assert isinstance(event, Close)
    assert event.code == 1009


def test_an_answer_over_the_limit_is_refused_before_it_is_sent_and_the_id_stays_open():
    server = Connection(max_frame_bytes=200)
    server.receive(frame(id=1, method="GetTask"))
    for action in (server.respond, server.stream_item):
        with pytest.raises(ProtocolError) as caught:
            action(1, "x" * 200)
        assert caught.value.error.code == ANSWER_TOO_LARGE
    assert json.loads(server.fail(1, caught.value.error))["error"]["code"] == ANSWER_TOO_LARGE
    assert isinstance(only(server.receive(frame(id=1, method="GetTask"))), Requested)


def test_an_error_over_the_limit_loses_its_data_and_the_end_of_its_text():
    answer = json.loads(Connection(max_frame_bytes=400).fail(None, Error(1, "m" * 900, ["d"])))
    assert answer["error"] == {"code": 1, "message": "m" * 200}


def test_service_parameters_are_lower_cased_and_reserved_names_left_out():
    parameters = {"A2A-Version": "1.0", "Authorization": "x", "Sec-Key": "y", "Cookie": "z"}
    event = only(Connection().receive(frame(id=1, method="GetTask", serviceParameters=parameters)))
    assert isinstance(event, Requested)
    assert event.service_parameters == {"a2a-version": "1.0"}


def test_reserved_service_parameters_are_not_sent():
    _, asked = Connection().request("GetTask", {}, {"Authorization": "Bearer x", "a": "b"})
    assert json.loads(asked)["serviceParameters"] == {"a": "b"}


@pytest.mark.parametrize("parameters", [7, [], {"a": 1}, {"a": "x\ny"}, {"a": "x" * 9000}])
def test_service_parameters_that_break_the_rules_are_refused(parameters: Any):
    answer = sent(Connection().receive(frame(id=1, method="GetTask", serviceParameters=parameters)))
    assert (answer["id"], answer["error"]["code"]) == (1, -32600)


def test_a_malformed_answer_fails_the_request_it_names_and_is_not_sent_back():
    client = Connection()
    id, _ = client.request("GetTask", {})
    event = only(client.receive(json.dumps({"id": id, "result": 1})))
    assert isinstance(event, Failed)
    assert event.id == id


@pytest.mark.parametrize(
    "answer", [{"id": 9, "result": 1}, {"jsonrpc": "2.0", "id": 9, "streamEnd": "yes"}]
)
def test_a_malformed_answer_to_nothing_is_refused_without_an_id(answer: Frame):
    refusal = sent(Connection().receive(json.dumps(answer)))
    assert (refusal["id"], refusal["error"]["code"]) == (None, -32600)


def test_an_error_that_names_no_request_is_reported_and_not_answered():
    text = frame(id=None, error={"code": -32700, "message": "not JSON"})
    assert Connection().receive(text) == [Failed(None, Error(-32700, "not JSON"))]


def test_the_end_of_an_unknown_stream_is_ignored_and_an_odd_reason_is_no_error():
    client = Connection()
    assert client.receive(frame(id=5, streamEnd=True)) == []
    id, _ = client.request("SubscribeToTask", {})
    assert client.receive(frame(id=id, streamEnd=True, reason=7)) == [StreamEnded(id, "")]


@given(st.lists(st.text(max_size=40) | st.binary(max_size=10), max_size=6))
def test_no_input_raises(frames: list[str | bytes]):
    connection = Connection(max_frame_bytes=100)
    for one in frames:
        connection.receive(one)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["2.0", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "code", "message"]), inner, max_size=3)
    ),
    max_leaves=6,
)
member_names = st.sampled_from(
    ["id", "method", "params", "result", "error", "streamEnd", "reason", "serviceParameters"]
)
methods = st.sampled_from(["GetTask", "SubscribeToTask", "cancelStream", "nope"])


@given(
    st.lists(
        st.dictionaries(member_names, json_values, max_size=6).flatmap(
            lambda members: st.just(members) | methods.map(lambda name: {**members, "method": name})
        ),
        max_size=8,
    )
)
def test_no_object_raises_and_every_refusal_is_an_error_frame(frames: list[Frame]):
    connection = Connection(max_in_flight=2, max_streams=1)
    connection.request("GetTask", {})
    connection.request("SubscribeToTask", {})
    for members in frames:
        for event in connection.receive(frame(**members)):
            if isinstance(event, Send):
                assert "error" in json.loads(event.frame)


class Interleaving(RuleBasedStateMachine):
    """Two ends, frames of both delivered at any moment: every id sees its own order."""

    requests: Bundle[Id] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.client, self.server = Connection(), Connection()
        self.to_server: list[str] = []
        self.to_client: list[str] = []
        self.known: set[Id] = set()
        self.canceled: set[Id] = set()
        self.items: dict[Id, int] = {}
        self.seen: dict[Id, list[Any]] = {}
        self.wanted: dict[Id, list[Any]] = {}

    @rule(target=requests, method=st.sampled_from(["GetTask", "SubscribeToTask"]))
    def ask(self, method: str) -> Id:
        id, text = self.client.request(method, {})
        self.to_server.append(text)
        self.seen[id], self.wanted[id], self.items[id] = [], [], 0
        return id

    @rule()
    def deliver_to_server(self) -> None:
        if self.to_server:
            for event in self.server.receive(self.to_server.pop(0)):
                if isinstance(event, Requested):
                    self.known.add(event.id)

    @rule()
    def deliver_to_client(self) -> None:
        if self.to_client:
            for event in self.client.receive(self.to_client.pop(0)):
                match event:
                    case Item(id, result) | Answered(id, result):
                        assert id not in self.canceled
                        self.seen[id].append(result)
                    case StreamEnded(id, _):
                        self.seen[id].append("end")
                    case _:
                        raise AssertionError(event)

    @rule(id=requests)
    def item(self, id: Id) -> None:
        event = self.server._serving.is_stream(id)  # pyright: ignore[reportPrivateUsage]  # the model asks the machine
        if id in self.known and event:
            self.items[id] += 1
            self.wanted[id].append(self.items[id])
            self.to_client.append(self.server.stream_item(id, self.items[id]))

    @rule(id=consumes(requests))
    def end(self, id: Id) -> None:
        if id not in self.known:
            return
        if self.server._serving.is_stream(id):  # pyright: ignore[reportPrivateUsage]  # as above
            self.to_client.append(self.server.stream_end(id))
            self.wanted[id].append("end")
        else:
            self.to_client.append(self.server.respond(id, "result"))
            self.wanted[id].append("result")

    @rule(id=requests)
    def cancel(self, id: Id) -> None:
        text = self.client.cancel_stream(id)
        if text is not None:
            self.canceled.add(id)
            self.to_server.append(text)

    @invariant()
    def every_id_has_seen_a_beginning_of_what_was_sent(self) -> None:
        for id, seen in self.seen.items():
            assert seen == self.wanted[id][: len(seen)]


TestInterleaving = Interleaving.TestCase
TestInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
