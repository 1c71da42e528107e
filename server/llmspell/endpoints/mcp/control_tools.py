"""The tools beside the spells: cast any, find one, and get or stop a run.

`cast` stays the same whatever is published, so a client that never asks for the
list of tools again has every new spell through it. A spell that has the name of
one of these tools takes its place: what an author publishes is not hidden.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar, cast

import msgspec

from llmspell.endpoints.mcp.calls import Calls, unknown_tool
from llmspell.endpoints.mcp.control_definitions import MOST_FOUND, USUALLY_FOUND
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.tools import ToolList
from llmspell.errors import InputInvalid, SpellNotFound, nearest
from llmspell.values import JSON, Object, dumps, loads

_T = TypeVar("_T")


class _Cast(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    # Some models write an object of free form as its JSON.
    input: dict[str, JSON] | str = {}


class _RunCancel(msgspec.Struct, forbid_unknown_fields=True):
    run_id: str


class _RunResult(msgspec.Struct, forbid_unknown_fields=True):
    run_id: str
    wait: Annotated[float, msgspec.Meta(ge=0)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0


class _SpellSearch(msgspec.Struct, forbid_unknown_fields=True):
    query: str
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_FOUND)] = USUALLY_FOUND


@dataclass(frozen=True, slots=True)
class _Call:
    exchange: Exchange
    arguments: Object
    state: str | None
    responses: Object | None


class ControlTools:
    """Serves `tools/call` for the tools beside the spells.

    Args:
        tools: Returns the list of tools as it is now.
    """

    def __init__(self, calls: Calls, tools: Callable[[], ToolList]) -> None:
        self._calls = calls
        self._tools = tools
        self._handlers: dict[str, Callable[[_Call], Awaitable[Object]]] = {
            "cast": self._cast,
            "run_cancel": self._run_cancel,
            "run_result": self._run_result,
            "spell_search": self._spell_search,
        }

    async def call(
        self,
        exchange: Exchange,
        name: str,
        arguments: Object,
        *,
        state: str | None = None,
        responses: Object | None = None,
    ) -> Object:
        """Return the result body of a call, complete for the protocol of the exchange.

        Args:
            state: The `requestState` of a retry.
            responses: The `inputResponses` of a retry.

        Raises:
            MCPError: No such tool is offered; or see `Calls.cast`.
            LlmspellError: What the client is to be told as the tool's error.
        """
        if not self._tools().offers(name):
            raise unknown_tool(name)
        return await self._handlers[name](_Call(exchange, arguments, state, responses))

    async def _cast(self, call: _Call) -> Object:
        asked = _read(_Cast, call.arguments)
        spells = self._tools().spells
        if asked.name not in spells:
            close = nearest(asked.name, spells)
            raise SpellNotFound(
                f"no spell {asked.name!r} is published",
                hint=f"did you mean {close!r}?" if close else "spell_search finds what is",
            )
        return await self._calls.cast(
            call.exchange,
            asked.name,
            _object(asked.input),
            subject=f"cast {asked.name}",
            state=call.state,
            responses=call.responses,
        )

    async def _run_cancel(self, call: _Call) -> Object:
        return await self._calls.cancel(call.exchange, _read(_RunCancel, call.arguments).run_id)

    async def _run_result(self, call: _Call) -> Object:
        asked = _read(_RunResult, call.arguments)
        return await self._calls.result(
            call.exchange,
            asked.run_id,
            wait=asked.wait,
            offset=asked.offset,
            state=call.state,
            responses=call.responses,
        )

    async def _spell_search(self, call: _Call) -> Object:
        asked = _read(_SpellSearch, call.arguments)
        found = self._tools().search(asked.query, asked.limit, call.exchange.client)
        result: Object = {
            "content": [{"type": "text", "text": dumps(found)}],
            "structuredContent": found,
        }
        if call.exchange.is_modern:
            result["resultType"] = "complete"
        return result


def _read(model: type[_T], arguments: Object) -> _T:
    try:
        return msgspec.convert(arguments, model)
    except msgspec.ValidationError as error:
        raise InputInvalid(f"the arguments do not fit: {error}", hint="see its schema") from None


def _object(value: dict[str, JSON] | str) -> Object:
    if not isinstance(value, str):
        return value
    try:
        found: JSON = loads(value) if value.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputInvalid("`input` is an object", hint='e.g. "input": {"text": "..."}')
    return cast(Object, found)
