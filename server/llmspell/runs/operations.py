"""The operations a script may request, read into effects.

The names and arguments are the same for every script language; an engine's
prelude is written against this table. Arguments come from untrusted code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from llmspell.components.schema import Schema, SchemaInvalid
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
from llmspell.runs.arguments import Arguments
from llmspell.spec.shorthand import ShorthandError, to_schema
from llmspell.values import JSON, Object

_LEVELS = ("debug", "info", "warn", "error")
_PART_KEYS = frozenset({"text", "data", "name", "media_type", "append", "last"})
_NOTICE = re.compile(r"notifications/[A-Za-z_/]{1,100}")
_LIST_CHANGES = {
    f"notifications/{kind}/list_changed": kind for kind in ("tools", "prompts", "resources")
}
_CLIENT_REQUESTS = ("elicitation/create", "roots/list", "sampling/createMessage")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_WRITE_KEYS = frozenset({"scope", "key", "value", "delete", "ttl"})
MAX_SLEEP_SECONDS = 366 * 86_400.0
MAX_TTL_SECONDS = 3660 * 86_400.0
MAX_TRANSACTION_WRITES = 500
MAX_ATTEMPTS = 1000
MAX_URI = 2048


def read_operation(name: str, arguments: JSON) -> Effect:
    """Return the effect a script requests.

    Raises:
        SpellRaised: The operation does not exist, or its arguments are wrong.
    """
    reader = _READERS.get(name)
    if reader is None:
        raise SpellRaised(f"there is no operation {name!r}")
    return reader(Arguments(name, arguments))


def _cast(arguments: Arguments) -> Effect:
    return Cast(target=arguments.target("target"), input=arguments.get("input"))


def _agent(arguments: Arguments) -> Effect:
    messages: list[Any] = arguments.get("messages") or []
    if not isinstance(messages, list):  # pyright: ignore[reportUnnecessaryIsInstance]  # untrusted
        raise arguments.wrong("messages", "a list")
    return RunAgent(
        agent=arguments.target("agent"),
        prompt=arguments.get("prompt"),
        messages=tuple(messages),
        stream=arguments.flag("stream"),
    )


def _read(arguments: Arguments) -> Effect:
    return ReadState(scope=arguments.scope(), key=arguments.text("key"))


def _write(arguments: Arguments) -> Effect:
    return WriteState(
        scope=arguments.scope(),
        key=arguments.text("key"),
        value=arguments.get("value"),
        if_version=arguments.optional_text("if_version"),
        ttl_seconds=arguments.optional_seconds("ttl", MAX_TTL_SECONDS),
    )


def _delete(arguments: Arguments) -> Effect:
    return DeleteState(
        scope=arguments.scope(),
        key=arguments.text("key"),
        if_version=arguments.optional_text("if_version"),
    )


def _increment(arguments: Arguments) -> Effect:
    return IncrementState(
        scope=arguments.scope(), key=arguments.text("key"), by=arguments.number("by", 1)
    )


def _scan(arguments: Arguments) -> Effect:
    return ScanState(
        scope=arguments.scope(),
        prefix=arguments.text("prefix", ""),
        after=arguments.optional_text("after"),
        limit=arguments.whole("limit", 100),
        reverse=arguments.flag("reverse"),
    )


def _watch(arguments: Arguments) -> Effect:
    return WatchState(
        scope=arguments.scope(),
        prefix=arguments.text("prefix", ""),
        since=arguments.optional_text("since"),
        timeout_seconds=arguments.optional_seconds("timeout", MAX_SLEEP_SECONDS),
    )


def _begin_transaction(arguments: Arguments) -> Effect:
    attempts = arguments.whole("attempts", 20)
    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise arguments.wrong("attempts", f"between 1 and {MAX_ATTEMPTS}")
    return BeginTransaction(attempts=attempts)


def _read_in_transaction(arguments: Arguments) -> Effect:
    return ReadInTransaction(
        transaction=arguments.whole("transaction"),
        scope=arguments.scope(),
        key=arguments.text("key"),
    )


def _scan_in_transaction(arguments: Arguments) -> Effect:
    return ScanInTransaction(
        transaction=arguments.whole("transaction"),
        scope=arguments.scope(),
        prefix=arguments.text("prefix", ""),
        after=arguments.optional_text("after"),
        limit=arguments.whole("limit", 100),
        reverse=arguments.flag("reverse"),
    )


def _state_write(operation: str, value: Any) -> StateWrite:
    arguments = Arguments(operation, value)
    if not isinstance(value, dict) or not _WRITE_KEYS.issuperset(cast(Object, value)):
        raise arguments.wrong("writes", f"tables of {', '.join(sorted(_WRITE_KEYS))}")
    return StateWrite(
        scope=arguments.scope(),
        key=arguments.text("key"),
        value=arguments.get("value"),
        is_delete=arguments.flag("delete"),
        ttl_seconds=arguments.optional_seconds("ttl", MAX_TTL_SECONDS),
    )


def _commit(arguments: Arguments) -> Effect:
    writes: Any = arguments.get("writes") or []
    if not isinstance(writes, list):
        raise arguments.wrong("writes", "a list")
    listed = cast("list[Any]", writes)
    if len(listed) > MAX_TRANSACTION_WRITES:
        raise arguments.wrong("writes", f"at most {MAX_TRANSACTION_WRITES} keys")
    return CommitTransaction(
        transaction=arguments.whole("transaction"),
        writes=tuple(_state_write("state.commit", write) for write in listed),
        value=arguments.get("value"),
    )


def _abandon(arguments: Arguments) -> Effect:
    return AbandonTransaction(
        transaction=arguments.whole("transaction"), error=arguments.get("error")
    )


def _begin_step(arguments: Arguments) -> Effect:
    return BeginStep(name=arguments.text("name"))


def _end_step(arguments: Arguments) -> Effect:
    return EndStep(name=arguments.text("name"), value=arguments.get("value"))


def _ask(arguments: Arguments) -> Effect:
    schema: Object | None = None
    if arguments.get("schema") is not None:
        try:
            schema = to_schema(arguments.get("schema"), closed=True, path="schema")
            Schema(schema)
        except (ShorthandError, SchemaInvalid) as error:
            raise SpellRaised(f"ask: {error}") from None
        if schema.get("type") != "object":
            raise arguments.wrong("schema", "that of an object: a table of fields")
    name = arguments.text("name", "")
    if name and not _NAME.fullmatch(name):
        raise arguments.wrong("name", "1 to 64 letters, digits, '_', '.' and '-'")
    url = arguments.text("url", "")
    if url and not url.startswith(("https://", "http://")):
        raise arguments.wrong("url", "the address of a page: https://...")
    if url and schema is not None:
        raise arguments.wrong("schema", "left out where a page is to be opened: it has the form")
    return Ask(
        message=arguments.text("message"),
        schema=schema,
        expires_seconds=arguments.optional_seconds("expires", MAX_SLEEP_SECONDS),
        name=name,
        url=url,
    )


def _client(arguments: Arguments) -> Effect:
    method = arguments.text("method")
    if method not in _CLIENT_REQUESTS and not _NOTICE.fullmatch(method):
        allowed = ", ".join(_CLIENT_REQUESTS)
        raise arguments.wrong("method", f"one of {allowed}, or begin with 'notifications/'")
    params: Any = arguments.get("params")
    if not isinstance(params, dict):
        raise arguments.wrong("params", "a table of named values")
    request: Object = {"method": method, "params": params}
    if method in _LIST_CHANGES:  # for everybody, and not for who casts the run
        return Record(kind="changed", data={"list": _LIST_CHANGES[method]})
    if method.startswith("notifications/"):
        return Record(kind="notice", data=request)
    return Ask(message=f"a request to the client: {method}", request=request)


def _changed(arguments: Arguments) -> Effect:
    uri = arguments.text("uri")
    if not uri or len(uri) > MAX_URI:
        raise arguments.wrong("uri", f"the URI of a resource, {MAX_URI} characters at most")
    return Record(kind="changed", data={"uri": uri})


def _continue_as_new(arguments: Arguments) -> Effect:
    return ContinueAsNew(input=arguments.get("input"))


def _sleep(arguments: Arguments) -> Effect:
    return Sleep(seconds=arguments.seconds("seconds", MAX_SLEEP_SECONDS))


def _log(arguments: Arguments) -> Effect:
    level = arguments.text("level", "info")
    if level not in _LEVELS:
        raise arguments.wrong("level", f"one of {', '.join(_LEVELS)}")
    data: Object = {"level": level, "message": arguments.text("message", "")}
    if arguments.get("fields"):
        data["fields"] = arguments.get("fields")
    return Record(kind="log", data=data)


def _progress(arguments: Arguments) -> Effect:
    data: Object = {"done": arguments.number("done")}
    if arguments.get("total") is not None:
        data["total"] = arguments.number("total")
    message = arguments.optional_text("message")
    if message is not None:
        data["message"] = message
    return Record(kind="progress", data=data)


def _emit(arguments: Arguments) -> Effect:
    part: Any = arguments.get("part")
    if isinstance(part, str):
        return Record(kind="part", data={"text": part})
    if not isinstance(part, dict):
        raise arguments.wrong("part", "a text or a table")
    table = cast(Object, part)
    unknown = sorted(set(table) - _PART_KEYS)
    if unknown or ("text" in table) == ("data" in table):
        raise arguments.wrong(
            "part", "a table with text or data, and name, media_type, append, last"
        )
    return Record(kind="part", data=table)


def _template(arguments: Arguments) -> Effect:
    data: Any = arguments.get("data")
    return RenderTemplate(
        text=arguments.text("text"), data=cast(Object, data) if isinstance(data, dict) else {}
    )


_READERS: dict[str, Callable[[Arguments], Effect]] = {
    "cast": _cast,
    "agent.run": _agent,
    "state.get": _read,
    "state.set": _write,
    "state.delete": _delete,
    "state.increment": _increment,
    "state.scan": _scan,
    "state.watch": _watch,
    "state.begin": _begin_transaction,
    "state.tx_get": _read_in_transaction,
    "state.tx_scan": _scan_in_transaction,
    "state.commit": _commit,
    "state.abandon": _abandon,
    "step.begin": _begin_step,
    "step.end": _end_step,
    "ask": _ask,
    "changed": _changed,
    "client": _client,
    "continue_as_new": _continue_as_new,
    "sleep": _sleep,
    "log": _log,
    "progress": _progress,
    "emit": _emit,
    "template": _template,
}
"""Every operation by its name."""

RECORDED = frozenset({"changed", "emit", "log", "progress"})
"""Operations that are read as a `Record`."""
