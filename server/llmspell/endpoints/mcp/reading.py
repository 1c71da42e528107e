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

from llmspell.endpoints.mcp.asking import (
    can_ask,
    input_requests,
    request_of,
    take_answers,
    wire_key,
)
from llmspell.endpoints.mcp.exchange import Exchange, NoBackChannel
from llmspell.endpoints.mcp.results import protocol_error
from llmspell.endpoints.mcp.sealing import Sealing
from llmspell.errors import (
    AccessForbidden,
    InputInvalid,
    LlmspellError,
    PromptNotFound,
    RunError,
    RunTooLong,
    TemplateError,
)
from llmspell.host.interface import DoorHost, WaitedHandle
from llmspell.runs.record import Outcome, Question
from llmspell.values import Object

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Reading:
    """Waits for the runs behind `resources/read` and `prompts/get`."""

    def __init__(self, host: DoorHost, sealing: Sealing) -> None:
        self._host = host
        self._sealing = sealing
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
                expires = max(question.expires_at for question in asked)
                state = await self._sealing.seal(waiting.id, subject, exchange.caller, expires)
                return {
                    "resultType": "input_required",
                    "inputRequests": input_requests(asked),
                    "requestState": state,
                }
            if not asked or not await _elicited(exchange, waiting, asked[0]):
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
        try:
            run_id = await self._sealing.open(state, subject, exchange.caller)
        except ValueError as error:
            raise MCPError(INVALID_PARAMS, f"the requestState is not good: {error}") from None
        waiting = await self._host.wait_for(run_id, caller=exchange.caller)
        run = await waiting.record()
        asked = [each for each in run.questions if can_ask(exchange.client, each)]
        taken = await take_answers(waiting, asked, cast(Object, responses or {}))
        if taken.is_refused and not taken.settled:
            await _stop(waiting)
            raise RunError(f"reading {subject!r} needs an answer, and got none", run_id=run_id)
        return waiting


async def _elicited(exchange: Exchange, waiting: WaitedHandle, question: Question) -> bool:
    """Ask over the open request and return whether the question has an answer now."""
    request = request_of(question)
    try:
        response = await exchange.request(str(request["method"]), request.get("params") or {})
    except (NoBackChannel, MCPError) as error:
        _log.debug("run %s: the client cannot ask: %s", waiting.id, error)
        return False
    taken = await take_answers(waiting, [question], {wire_key(question, {}): response})
    return bool(taken.settled)


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
