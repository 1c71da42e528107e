"""Operations: what a script asks for becomes an effect, and what makes no sense is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.effects.effect import (
    AbandonTransaction,
    Ask,
    BeginStep,
    BeginTransaction,
    Cast,
    CommitTransaction,
    ContinueAsNew,
    DeleteState,
    Effect,
    EndStep,
    IncrementState,
    ReadInTransaction,
    ReadState,
    Record,
    RenderTemplate,
    RunAgent,
    ScanInTransaction,
    ScanState,
    Sleep,
    StateWrite,
    WatchState,
    WriteState,
)
from llmspell.errors import SpellRaised
from llmspell.runs.operations import read_operation

AGENT = {"$kind": "agent", "$line": 1}
EMPTY: dict[str, Any] = {}
NAMES = [
    "cast",
    "agent.run",
    "state.get",
    "state.set",
    "state.delete",
    "state.increment",
    "state.scan",
    "state.watch",
    "state.begin",
    "state.tx_get",
    "state.tx_scan",
    "state.commit",
    "state.abandon",
    "step.begin",
    "step.end",
    "ask",
    "continue_as_new",
    "sleep",
    "log",
    "changed",
    "progress",
    "emit",
    "template",
]


@pytest.mark.parametrize(
    ("name", "arguments", "effect"),
    [
        ("cast", {"target": "hello"}, Cast(target="hello", input=None)),
        ("cast", {"target": AGENT, "input": 1}, Cast(target=AGENT, input=1)),
        (
            "cast",
            {"target": {"$kind": "ref", "name": "x"}, "input": {}},
            Cast(target="x", input={}),
        ),
        (
            "agent.run",
            {"agent": AGENT, "prompt": "hi"},
            RunAgent(agent=AGENT, prompt="hi", messages=(), stream=False),
        ),
        (
            "agent.run",
            {"agent": "a", "prompt": "hi", "messages": [{"role": "user"}], "stream": True},
            RunAgent(agent="a", prompt="hi", messages=({"role": "user"},), stream=True),
        ),
        ("state.get", {"key": "k"}, ReadState(scope="spell", key="k")),
        (
            "state.set",
            {"scope": "user", "key": "k", "value": False, "if_version": ""},
            WriteState(scope="user", key="k", value=False, if_version=""),
        ),
        (
            "state.delete",
            {"scope": "shared", "key": "k"},
            DeleteState(scope="shared", key="k", if_version=None),
        ),
        ("state.increment", {"key": "k"}, IncrementState(scope="spell", key="k", by=1)),
        (
            "state.increment",
            {"scope": "session", "key": "k", "by": 0.5},
            IncrementState(scope="session", key="k", by=0.5),
        ),
        ("state.scan", {}, ScanState(scope="spell", prefix="", after=None, limit=100)),
        (
            "state.scan",
            {"prefix": "a", "after": "ab", "limit": 5.0, "reverse": True},
            ScanState(scope="spell", prefix="a", after="ab", limit=5, reverse=True),
        ),
        (
            "state.set",
            {"scope": "run", "key": "k", "value": 1, "ttl": 600},
            WriteState(scope="run", key="k", value=1, ttl_seconds=600.0),
        ),
        ("state.watch", {}, WatchState(scope="spell")),
        (
            "state.watch",
            {"scope": "shared", "prefix": "in/", "since": "01", "timeout": 0.5},
            WatchState(scope="shared", prefix="in/", since="01", timeout_seconds=0.5),
        ),
        ("state.begin", {}, BeginTransaction(attempts=20)),
        ("state.begin", {"attempts": 3}, BeginTransaction(attempts=3)),
        (
            "state.tx_get",
            {"transaction": 3, "key": "k"},
            ReadInTransaction(transaction=3, scope="spell", key="k"),
        ),
        (
            "state.tx_scan",
            {"transaction": 3, "scope": "user", "prefix": "a", "after": "ab", "limit": 5},
            ScanInTransaction(transaction=3, scope="user", prefix="a", after="ab", limit=5),
        ),
        (
            "state.commit",
            {
                "transaction": 3,
                "value": {"n": 1},
                "writes": [
                    {"scope": "user", "key": "a", "value": 1, "ttl": 5},
                    {"scope": "spell", "key": "b", "delete": True},
                ],
            },
            CommitTransaction(
                transaction=3,
                value={"n": 1},
                writes=(
                    StateWrite(scope="user", key="a", value=1, ttl_seconds=5.0),
                    StateWrite(scope="spell", key="b", is_delete=True),
                ),
            ),
        ),
        ("state.commit", {"transaction": 3}, CommitTransaction(transaction=3)),
        (
            "state.abandon",
            {"transaction": 3, "error": {"value": "poor"}},
            AbandonTransaction(transaction=3, error={"value": "poor"}),
        ),
        ("step.begin", {"name": "s"}, BeginStep(name="s")),
        ("step.end", {"name": "s", "value": [1]}, EndStep(name="s", value=[1])),
        ("ask", {"message": "m"}, Ask(message="m")),
        (
            "ask",
            {
                "message": "m",
                "expires": 60,
                "schema": {"ok": {"$schema": {"type": "boolean"}, "$seq": 1}},
            },
            Ask(
                message="m",
                expires_seconds=60.0,
                schema={
                    "type": "object",
                    "properties": {"ok": {"type": "boolean"}},
                    "required": ["ok"],
                    "additionalProperties": False,
                },
            ),
        ),
        (
            "ask",
            {"message": "m", "name": "login", "url": "https://example.org"},
            Ask(message="m", name="login", url="https://example.org"),
        ),
        (
            "client",
            {"method": "roots/list", "params": {}},
            Ask(
                message="a request to the client: roots/list",
                request={"method": "roots/list", "params": {}},
            ),
        ),
        (
            "client",
            {"method": "notifications/tools/list_changed", "params": {}},
            Record(kind="changed", data={"list": "tools"}),
        ),
        (
            "client",
            {"method": "notifications/message", "params": {"level": "info"}},
            Record(
                kind="notice",
                data={"method": "notifications/message", "params": {"level": "info"}},
            ),
        ),
        ("continue_as_new", {"input": {"n": 1}}, ContinueAsNew(input={"n": 1})),
        ("sleep", {"seconds": 0}, Sleep(seconds=0.0)),
        (
            "log",
            {"level": "warn", "message": "m", "fields": {"a": 1}},
            Record(kind="log", data={"level": "warn", "message": "m", "fields": {"a": 1}}),
        ),
        ("changed", {"uri": "a://b"}, Record(kind="changed", data={"uri": "a://b"})),
        ("progress", {"done": 1}, Record(kind="progress", data={"done": 1})),
        (
            "progress",
            {"done": 1, "total": 2, "message": "half"},
            Record(kind="progress", data={"done": 1, "total": 2, "message": "half"}),
        ),
        ("emit", {"part": "text"}, Record(kind="part", data={"text": "text"})),
        (
            "emit",
            {"part": {"data": [1], "name": "n", "last": True}},
            Record(kind="part", data={"data": [1], "name": "n", "last": True}),
        ),
        (
            "template",
            {"text": "{{a}}", "data": {"a": 1}},
            RenderTemplate(text="{{a}}", data={"a": 1}),
        ),
        ("template", {"text": "x"}, RenderTemplate(text="x", data={})),
    ],
)
def test_what_a_script_asks_for_is_understood(name: str, arguments: Any, effect: Effect) -> None:
    assert read_operation(name, arguments) == effect


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("fly", {}, "there is no operation 'fly'"),
        ("", {}, "there is no operation ''"),
        ("cast", {}, "cast: 'target' must be a name"),
        ("cast", {"target": ""}, "'target' must be a name"),
        ("cast", {"target": 5}, "'target' must be a name"),
        ("cast", "hello", "'target' must be a name"),
        ("agent.run", {"agent": "a", "messages": "x"}, "'messages' must be a list"),
        ("agent.run", {"agent": "a", "stream": "yes"}, "'stream' must be true or false"),
        ("state.get", {}, "state.get: 'key' must be a string"),
        ("state.get", {"key": 5}, "'key' must be a string"),
        ("state.get", {"key": True}, "'key' must be a string"),
        ("state.get", {"key": "k", "scope": "tenant"}, "'scope' must be one of spell, session"),
        ("state.get", {"key": "k", "scope": 1}, "'scope' must be a string"),
        ("state.set", {"key": "k", "if_version": 3}, "'if_version' must be a string"),
        ("state.increment", {"key": "k", "by": "1"}, "'by' must be a number"),
        ("state.increment", {"key": "k", "by": True}, "'by' must be a number"),
        ("state.scan", {"limit": "all"}, "'limit' must be a number"),
        ("state.scan", {"limit": math.nan}, "'limit' must be a whole number"),
        ("state.scan", {"limit": math.inf}, "'limit' must be a whole number"),
        ("state.scan", {"limit": 1.5}, "'limit' must be a whole number"),
        ("state.scan", {"reverse": 1}, "'reverse' must be true or false"),
        ("state.set", {"key": "k", "ttl": 0}, "'ttl' must be more than 0"),
        ("state.set", {"key": "k", "ttl": "1h"}, "'ttl' must be a number"),
        ("state.set", {"key": "k", "ttl": math.inf}, "'ttl' must be between 0 and 316224000"),
        ("state.watch", {"since": 1}, "'since' must be a string"),
        ("state.watch", {"timeout": -1}, "'timeout' must be between 0 and 31622400"),
        ("state.begin", {"attempts": 0}, "'attempts' must be between 1 and 1000"),
        ("state.tx_get", {"key": "k"}, "'transaction' must be a number"),
        ("state.tx_get", {"transaction": 1.5, "key": "k"}, "must be a whole number"),
        ("state.tx_scan", {"transaction": 1, "limit": "x"}, "'limit' must be a number"),
        ("state.commit", {"transaction": 1, "writes": "x"}, "'writes' must be a list"),
        ("state.commit", {"transaction": 1, "writes": ["x"]}, "'writes' must be tables of delete"),
        (
            "state.commit",
            {"transaction": 1, "writes": [{"key": "k", "if_version": ""}]},
            "'writes' must be tables of delete, key, scope, ttl, value",
        ),
        ("state.commit", {"transaction": 1, "writes": [EMPTY]}, "'key' must be a string"),
        (
            "state.commit",
            {"transaction": 1, "writes": [{"key": "k"}] * 501},
            "'writes' must be at most 500 keys",
        ),
        ("step.begin", {}, "'name' must be a string"),
        ("ask", {}, "'message' must be a string"),
        ("ask", {"message": "m", "expires": 0}, "'expires' must be more than 0"),
        ("ask", {"message": "m", "name": "a b"}, "'name' must be 1 to 64 letters"),
        ("ask", {"message": "m", "url": "page"}, "'url' must be the address of a page"),
        ("ask", {"message": "m", "url": "https://x", "schema": {}}, "'schema' must be left out"),
        ("client", {"params": {}}, "client: 'method' must be a string"),
        ("client", {"method": "tools/call", "params": {}}, "'method' must be one of elicitation"),
        ("client", {"method": "roots/list", "params": [1]}, "'params' must be a table"),
        ("ask", {"message": "m", "schema": "x"}, "ask: schema: a schema is a table of fields"),
        ("ask", {"message": "m", "schema": {"a": 1}}, "ask: schema.a: not a schema"),
        ("ask", {"message": "m", "schema": {"type": "string"}}, "'schema' must be that of an obj"),
        ("ask", {"message": "m", "schema": {"type": "object", "properties": 5}}, "ask: "),
        ("sleep", {}, "'seconds' must be a number"),
        ("sleep", {"seconds": -1}, "'seconds' must be between 0 and 31622400"),
        ("sleep", {"seconds": 31_622_401}, "'seconds' must be between 0 and 31622400"),
        ("sleep", {"seconds": math.nan}, "'seconds' must be between 0 and 31622400"),
        ("log", {"level": "loud"}, "'level' must be one of debug, info, warn, error"),
        ("log", {"message": 5}, "'message' must be a string"),
        ("changed", {"uri": ""}, "'uri' must be the URI of a resource"),
        ("changed", {"uri": "a" * 2049}, "'uri' must be the URI of a resource"),
        ("progress", {}, "'done' must be a number"),
        ("progress", {"done": 1, "total": "2"}, "'total' must be a number"),
        ("emit", {}, "'part' must be a text or a table"),
        ("emit", {"part": {}}, "'part' must be a table with text or data"),
        ("emit", {"part": {"text": "a", "data": 1}}, "'part' must be a table with text or data"),
        ("emit", {"part": {"text": "a", "url": "x"}}, "'part' must be a table with text or data"),
        ("template", {}, "'text' must be a string"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_argument(
    name: str, arguments: Any, message: str
) -> None:
    with pytest.raises(SpellRaised) as caught:
        read_operation(name, arguments)
    assert message in caught.value.message


def anything() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=5,
    )


_KEYS = [
    "target",
    "agent",
    "prompt",
    "messages",
    "stream",
    "scope",
    "key",
    "value",
    "if_version",
    "by",
    "prefix",
    "after",
    "limit",
    "reverse",
    "seconds",
    "ttl",
    "since",
    "timeout",
    "transaction",
    "writes",
    "error",
    "schema",
    "expires",
    "name",
    "input",
    "level",
    "message",
    "fields",
    "done",
    "total",
    "part",
    "text",
    "data",
]


@given(
    st.sampled_from(NAMES),
    anything() | st.dictionaries(st.sampled_from(_KEYS), anything(), max_size=6),
)
def test_whatever_a_script_sends_is_an_effect_or_a_refusal(name: str, arguments: Any) -> None:
    try:
        effect = read_operation(name, arguments)
    except SpellRaised:
        return
    assert effect is not None
