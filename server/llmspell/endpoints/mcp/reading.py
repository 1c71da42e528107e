"""The runs that make a resource's contents or a prompt's messages, as one request waits for them.

Such a request gets what the run made, never a handle or a task: no client takes
one there. What the run asks is put to the client as in a call (multi-round-trip
from 2026-07-28 on, a request to the client before); a client that cannot ask is
told so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST

from llmspell.endpoints.mcp.asking import can_ask
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.results import protocol_error
from llmspell.endpoints.mcp.rounds import Rounds
from llmspell.errors import (
    AccessForbidden,
    InputInvalid,
    LlmspellError,
    PromptNotFound,
    RunError,
    RunTooLong,
    TemplateError,
)
from llmspell.host.interface import DoorHost
from llmspell.host.run_interface import WaitedHandle
from llmspell.runs.record import Outcome
from llmspell.values import Object

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Reading:
    """Waits for the runs behind `resources/read` and `prompts/get`."""

    def __init__(self, host: DoorHost, rounds: Rounds) -> None:
        self._host = host
        self._rounds = rounds
        self._leaving: set[asyncio.Task[None]] = set()

    async def outcome(
        self,
        exchange: Exchange,
        subject: str,
        params: Object,
        begin: Callable[[], Awaitable[Sequence[_T] | WaitedHandle]],
        made: Callable[[Outcome], Sequence[_T]],
    ) -> Sequence[_T] | Object:
        """Return what is read, or the `input_required` result that asks for what it needs.

        Args:
            subject: What is read: a retry with a request state must be of the same.
            params: Of the request: a retry has its `requestState` and `inputResponses`.
            begin: Reads it, or begins the run that makes it.
            made: Returns what a completed run made.

        Raises:
            MCPError: The request state is none of ours, or the run asked for an error.
            LlmspellError: It could not be read.
        """
        state: Any = params.get("requestState")
        if state is not None:
            return await self._followed(
                exchange, await self._again(exchange, subject, params), subject, made
            )
        begun = await begin()
        if isinstance(begun, Sequence):
            return begun
        return await self._followed(exchange, begun, subject, made)

    async def close(self) -> None:
        """Wait for requests that are leaving."""
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _followed(
        self,
        exchange: Exchange,
        waiting: WaitedHandle,
        subject: str,
        made: Callable[[Outcome], Sequence[_T]],
    ) -> Sequence[_T] | Object:
        try:
            result = await self._settled(exchange, waiting, subject)
        except BaseException:
            # In a task of its own: a cancelled scope cancels every await of its tasks again.
            leaving = asyncio.ensure_future(_stop(waiting))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise
        await waiting.let_go()
        if isinstance(result, dict):
            return result
        return made(result)

    async def _settled(
        self, exchange: Exchange, waiting: WaitedHandle, subject: str
    ) -> Outcome | Object:
        """Return what came of a run, or the result that asks for what it needs."""
        seconds = self._host.project.settings.runs.wait
        while True:
            try:
                async with asyncio.timeout(seconds):
                    outcome = await waiting.settled()
            except TimeoutError:
                raise RunTooLong(
                    f"reading {subject!r} took longer than {seconds:g} seconds", run_id=waiting.id
                ) from None
            if outcome.state != "input_required":
                return outcome
            asked = [each for each in outcome.questions if can_ask(exchange.client, each)]
            if exchange.is_modern and asked:
                return await self._rounds.ask(exchange, waiting.id, subject, asked)
            if not asked or not await self._rounds.elicit(exchange, waiting, asked[0]):
                raise RunError(
                    f"reading {subject!r} needs an answer: {outcome.questions[0].message}",
                    hint="use a client that can ask its user (elicitation)",
                    run_id=waiting.id,
                )

    async def _again(self, exchange: Exchange, subject: str, params: Object) -> WaitedHandle:
        """Return the run that a retry is about, with the answers it brought."""
        state: Any = params["requestState"]
        responses: Any = params.get("inputResponses")
        if not isinstance(state, str) or not isinstance(responses, dict | None):
            raise MCPError(INVALID_PARAMS, "requestState is a text, inputResponses an object")
        resumed = await self._rounds.again(exchange, subject, state, cast(Object, responses or {}))
        if resumed.taken.is_refused and not resumed.taken.settled:
            await _stop(resumed.waiting)
            raise RunError(
                f"reading {subject!r} needs an answer, and got none", run_id=resumed.waiting.id
            )
        return resumed.waiting


async def _stop(waiting: WaitedHandle) -> None:
    """End a run nobody else knows of."""
    try:
        await waiting.cancel()
    except LlmspellError as error:  # it has ended
        _log.debug("nothing to stop: %s", error)
    await waiting.let_go()


async def told(work: Awaitable[Object]) -> Object:
    """Await a handler for the SDK, which would hide a refusal in its message.

    Raises:
        MCPError: The caller may not have it (its cause is then the `AccessForbidden`, for the
            door that has a status for that), or what the handler raised.
    """
    try:
        return await work
    except AccessForbidden as error:
        raise refused(error) from error


def refused(error: LlmspellError) -> MCPError:
    """Return the JSON-RPC error of what could not be read: here no result can carry one."""
    asked = protocol_error(error)
    if asked is not None:
        return asked
    data: Object = {"code": error.code, "hint": error.hint}
    if isinstance(error, AccessForbidden):
        data.update(error.data or {})
        return MCPError(INVALID_REQUEST, error.message, data)
    is_callers = isinstance(error, InputInvalid | PromptNotFound | TemplateError)
    if error.run_id:
        data["run_id"] = error.run_id
    message = f"{error.message} ({error.where})" if error.where else error.message
    return MCPError(INVALID_PARAMS if is_callers else INTERNAL_ERROR, message, data)
