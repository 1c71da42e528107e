"""Putting a run's questions to the client of one request, in the way of its era.

From 2026-07-28 on in rounds: the request is answered with what is asked and a
sealed state, and its retry goes on with the same run. Before, over the open
request. Nothing is begun anew in either.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from llmspell.endpoints.mcp.asking import Taken, by_name, request_of, take_answers
from llmspell.endpoints.mcp.exchange import Exchange, NoBackChannel
from llmspell.endpoints.mcp.sealing import Sealing
from llmspell.host.interface import DoorHost
from llmspell.host.run_interface import WaitedHandle
from llmspell.runs.record import Question
from llmspell.values import Object

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that a retry goes on with."""

    waiting: WaitedHandle
    taken: Taken
    """What became of the answers the retry brought."""


class Rounds:
    """Asks, and takes what comes back."""

    def __init__(self, host: DoorHost) -> None:
        self._host = host
        self._sealing = Sealing(host.records)

    async def ask(
        self, exchange: Exchange, run_id: str, subject: str, questions: Sequence[Question]
    ) -> Object:
        """Return the result that asks for input.

        Args:
            subject: What was requested: the retry must be of the same.
        """
        keys = by_name(questions)
        named = {question.id: question for question in questions}
        state = await self._sealing.seal(
            run_id, subject, exchange.caller, keys, max(each.expires_at for each in questions)
        )
        return {
            "resultType": "input_required",
            "inputRequests": {
                key: request_of(named[id], is_modern=True) for key, id in keys.items()
            },
            "requestState": state,
        }

    async def again(
        self, exchange: Exchange, subject: str, state: str, responses: Object
    ) -> Resumed:
        """Return the run that a retry is about, its answers given.

        Raises:
            MCPError: The state is none that this caller was given for this request.
        """
        try:
            run_id, keys = await self._sealing.open(state, subject, exchange.caller)
        except ValueError as error:
            raise MCPError(INVALID_PARAMS, f"the requestState is not good: {error}") from None
        waiting = await self._host.wait_for(run_id, caller=exchange.caller)
        # To the questions they were asked for, whatever else the run asks by now.
        answers = {keys[key]: response for key, response in responses.items() if key in keys}
        return Resumed(waiting, await take_answers(waiting, answers))

    async def elicit(self, exchange: Exchange, waiting: WaitedHandle, question: Question) -> bool:
        """Ask over the open request, and return whether the question has an answer now."""
        request = request_of(question, is_modern=False)
        asking = asyncio.ensure_future(
            exchange.request(str(request["method"]), request.get("params") or {})
        )
        elsewhere = asyncio.ensure_future(_settled(waiting, question.id))
        try:
            await asyncio.wait([asking, elsewhere], return_when=asyncio.FIRST_COMPLETED)
            if elsewhere.done():
                return True
            response = asking.result()
        except (NoBackChannel, MCPError) as error:
            _log.debug("run %s: the client cannot ask: %s", waiting.id, error)
            return False
        finally:
            for future in (asking, elsewhere):
                future.cancel()
            await asyncio.wait([asking, elsewhere])
        return bool((await take_answers(waiting, {question.id: response})).settled)


async def _settled(waiting: WaitedHandle, question: str) -> None:
    """Return once a question is open no more, whoever answered it."""
    async for event in waiting.events():
        if event.kind == "answer" and event.data.get("id") == question:
            return
