"""`tools/call`: a cast, and the ways its caller gets what comes of it.

A call that ends soon is answered with its result. One that takes longer becomes
a task where the client knows tasks, else it is answered with a handle of the
run, which goes on. One that asks a person asks through the client when that can,
else it is answered with a handle too. In no case is anything cast twice: a
retry, a later `run_result` and a task all lead to the run that was begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY

from llmspell.endpoints.mcp.asking import by_name, can_ask, lacking_for, take_answers
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.paging import cut_result
from llmspell.endpoints.mcp.progress import Reporter
from llmspell.endpoints.mcp.results import (
    RUN_ID_META,
    STATUS_META,
    error_result,
    handle_result,
    outcome_result,
)
from llmspell.endpoints.mcp.rounds import Rounds
from llmspell.endpoints.mcp.tasks import Tasks, knows_tasks
from llmspell.errors import (
    AccessForbidden,
    LlmspellError,
    RunError,
    RunTooLong,
    SpellNotFound,
)
from llmspell.host.catalogue import Published
from llmspell.host.interface import DoorHost
from llmspell.host.run_interface import WaitedHandle
from llmspell.runs.record import Outcome
from llmspell.values import Object

WAIT_META = "llmspell/wait"
"""Key in a request's `_meta`: seconds its caller waits before it is given a handle."""

KEY_META = "llmspell/idempotency_key"
"""Key in a request's `_meta`: the same key and input gives the run that was begun first."""

MAX_WAIT = 3600.0

_log = logging.getLogger(__name__)


class _Terms(msgspec.Struct, frozen=True):
    """On which terms one call waits."""

    spell: Published | None
    """What is cast; None for a run whose spell is published no more."""
    subject: str
    """What the client called: a retry with a request state must be of the same."""
    wait: float | None
    """Seconds before the caller is given something else than the result; None = no end."""
    may_be_task: bool
    when_long: str
    is_guest: bool = False
    """Whether another call began the run: leaving this one must not stop it."""


class Calls:
    """Serves `tools/call` for spells, and what the control tools need.

    Args:
        find: Returns the spell that may be called by a name, or None.
        wait_of: Returns how long a client's profile lets its calls wait, or None.
        offers: Returns whether a control tool is offered.
        task_after: Seconds after which a call of a client that knows tasks becomes one.
    """

    def __init__(
        self,
        host: DoorHost,
        find: Callable[[str], Published | None],
        *,
        tasks: Tasks,
        wait_of: Callable[[Exchange], float | None],
        offers: Callable[[str], bool],
        task_after: float,
    ) -> None:
        self._offers = offers
        self._host = host
        self._find = find
        self._tasks = tasks
        self._wait_of = wait_of
        self._task_after = task_after
        self.rounds = Rounds(host)
        """Puts questions to clients."""
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for callers that are leaving."""
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def cast(
        self,
        exchange: Exchange,
        name: str,
        arguments: Object,
        *,
        subject: str | None = None,
        state: str | None = None,
        responses: Object | None = None,
    ) -> Object:
        """Cast a spell for a client and return the result of its call.

        Args:
            subject: What the client called, where that is not the spell itself.
            state: The `requestState` of a retry: the run goes on, nothing is cast.
            responses: The `inputResponses` of a retry; those of a first call answer what it asks.

        Raises:
            MCPError: There is no such tool, the state is none of ours, the client lacks what
                the spell requires, or the spell ended with an error of the protocol.
            AccessForbidden: The caller may not cast it.
        """
        spell = self._find(name)
        if spell is None:
            raise unknown_tool(name)
        if spell.task == "required":
            self._tasks.require(exchange)
        subject = subject or name
        terms = self._terms(exchange, spell, subject)
        try:
            if state is not None:
                return await self._again(exchange, terms, state, responses or {})
            waiting = await self._host.begin(
                name, arguments, caller=exchange.caller, key=_key_of(exchange)
            )
        except SpellNotFound:
            raise unknown_tool(name) from None
        except AccessForbidden:
            raise
        except LlmspellError as error:
            return error_result(error, is_modern=exchange.is_modern)
        return await self._follow(exchange, waiting, terms, responses=responses or {})

    async def result(
        self,
        exchange: Exchange,
        run_id: str,
        *,
        wait: float | None = None,
        offset: int = 0,
        state: str | None = None,
        responses: Object | None = None,
    ) -> Object:
        """Return the result of a run of the caller, or its handle when it is under way still.

        Args:
            wait: Seconds to wait for its end.
            offset: Where the part of a long result begins; see `paging`.

        Raises:
            RunNotFound: There is none the caller may see.
            MCPError: As `cast`.
        """
        usual = self._wait(exchange, None)
        waiting = await self._host.wait_for(run_id, caller=exchange.caller)
        spell = self._find((await waiting.record()).spell)
        terms = _Terms(
            spell,
            "run_result",
            wait=usual if wait is None else min(wait, usual),
            may_be_task=False,
            when_long="handle",
            is_guest=True,
        )
        if state is not None:
            await waiting.let_go()
            return await self._again(exchange, terms, state, responses or {})
        return await self._follow(exchange, waiting, terms, offset=offset)

    async def cancel(self, exchange: Exchange, run_id: str) -> Object:
        """Stop a run of the caller and everything it began, and say how it stands.

        Raises:
            RunNotFound: There is none the caller may see.
            RunNotCancelable: It has ended otherwise.
        """
        handle = await self._host.run(run_id, caller=exchange.caller)
        run = await handle.cancel()
        return handle_result(run, offers=self._offers, is_modern=exchange.is_modern)

    # -- waiting

    def _terms(self, exchange: Exchange, spell: Published, subject: str) -> _Terms:
        may_be_task = knows_tasks(exchange) and spell.task != "never"
        when_long = spell.when_long
        wait: float | None = None if when_long == "wait" else self._wait(exchange, spell)
        if may_be_task:
            wait = 0.0 if spell.task == "required" else self._task_after
        return _Terms(spell, subject, wait, may_be_task, when_long)

    def _wait(self, exchange: Exchange, spell: Published | None) -> float:
        asked = exchange.meta.get(WAIT_META)
        if asked is not None:
            if isinstance(asked, bool) or not isinstance(asked, int | float) or asked < 0:
                raise MCPError(INVALID_PARAMS, f"_meta[{WAIT_META!r}] is a number of seconds")
            return min(float(asked), MAX_WAIT)
        own = spell.wait if spell is not None else None
        # What a client's profile says is when that client gives up, whatever the spell wishes.
        found = [each for each in (own, self._wait_of(exchange)) if each is not None]
        return min(found, default=self._host.project.settings.runs.wait)

    async def _follow(
        self,
        exchange: Exchange,
        waiting: WaitedHandle,
        terms: _Terms,
        *,
        responses: Object | None = None,
        offset: int = 0,
    ) -> Object:
        """Wait for a run on these terms and return the result of the call."""
        exchange.began(waiting.id)
        try:
            result = await self._outcome(exchange, waiting, terms, responses or {})
        except asyncio.CancelledError:
            if exchange.was_cancelled and not terms.is_guest:
                # In a task of its own: a cancelled scope cancels every await of its tasks again.
                self._spawn(waiting.leave())
            else:
                await waiting.let_go()
            raise
        except BaseException:  # whatever it is: this caller waits no more
            await waiting.let_go()
            raise
        await waiting.let_go()
        return self._cut(result, terms, offset)

    def _cut(self, result: Object, terms: _Terms, offset: int) -> Object:
        """Return a result that is not too long for clients, or its page."""
        meta: Object = result.get("_meta", {})
        run_id: str | None = meta.get(RUN_ID_META)
        if run_id is None or STATUS_META in meta:
            return result  # a handle, a task or a question
        spell = terms.spell
        # What else the client called has no output schema.
        called = spell if spell is not None and spell.name == terms.subject else None
        limit = self._host.project.settings.mcp.result_bytes
        return cut_result(result, limit, run_id, called, offset=offset)

    async def _outcome(
        self, exchange: Exchange, waiting: WaitedHandle, terms: _Terms, responses: Object
    ) -> Object:
        if terms.may_be_task and not terms.wait:
            return await self._tasks.created(waiting)
        loop = asyncio.get_running_loop()
        deadline = None if terms.wait is None else loop.time() + terms.wait
        reporter = Reporter(exchange) if Reporter.is_wanted(exchange) else None
        try:
            while True:
                if reporter is None:
                    outcome = await waiting.settled(until=deadline)
                else:
                    async with asyncio.timeout_at(deadline):
                        outcome = await _next(waiting, reporter)
                if outcome.state != "input_required":
                    return outcome_result(outcome, terms.spell, is_modern=exchange.is_modern)
                began = loop.time()
                result = await self._ask(exchange, waiting, terms, outcome, responses)
                if result is not None:
                    return result
                responses = {}
                if deadline is not None:
                    deadline += loop.time() - began  # the person's time is not the run's
        except TimeoutError:
            return await self._long(exchange, waiting, terms)
        except LlmspellError as error:
            return error_result(error, is_modern=exchange.is_modern)

    async def _long(self, exchange: Exchange, waiting: WaitedHandle, terms: _Terms) -> Object:
        """Return what the caller gets of a run that takes longer than it waits."""
        if terms.may_be_task:
            return await self._tasks.created(waiting)
        if terms.when_long == "fail":
            run = await waiting.record()
            try:
                await waiting.cancel()
            except RunError as error:  # it has ended in this moment: then that is the answer
                _log.debug("run %s: %s", waiting.id, error)
                outcome = await waiting.result()
                return outcome_result(outcome, terms.spell, is_modern=exchange.is_modern)
            failure = RunTooLong(
                f"{run.spell!r} took longer than {terms.wait:g} seconds", run_id=run.id
            )
            return error_result(failure, is_modern=exchange.is_modern)
        return await self._handle(exchange, waiting)

    async def _handle(self, exchange: Exchange, waiting: WaitedHandle) -> Object:
        await waiting.keep()
        run = await waiting.record()
        if run.is_final:  # it ended while it was kept
            spell = self._find(run.spell)
            return outcome_result(await waiting.result(), spell, is_modern=exchange.is_modern)
        return handle_result(run, offers=self._offers, is_modern=exchange.is_modern)

    # -- questions

    async def _ask(
        self,
        exchange: Exchange,
        waiting: WaitedHandle,
        terms: _Terms,
        outcome: Outcome,
        responses: Object,
    ) -> Object | None:
        """Put a run's questions to the client.

        Returns the result of the call, or None when there are answers and the call goes on.

        Raises:
            MCPError: They are for a client that can do more, and for nobody else.
        """
        asked = [each for each in outcome.questions if can_ask(exchange.client, each)]
        if responses:  # they came with the call itself, for questions known by their names
            named = by_name(asked)
            given = {named[key]: value for key, value in responses.items() if key in named}
            if (await take_answers(waiting, given)).settled:
                return None
        if not asked and not terms.is_guest:
            lacking = lacking_for(exchange.client, outcome.questions)
            if lacking:
                await waiting.cancel()  # nobody else can answer it
                raise MCPError(
                    MISSING_REQUIRED_CLIENT_CAPABILITY,
                    f"this needs a client that declares {', '.join(lacking)}",
                    {"requiredCapabilities": lacking},
                )
        if exchange.is_modern and asked:
            return await self.rounds.ask(exchange, waiting.id, terms.subject, asked)
        if terms.may_be_task:
            return await self._tasks.created(waiting)
        if asked and await self.rounds.elicit(exchange, waiting, asked[0]):
            return None
        return await self._handle(exchange, waiting)

    async def _again(
        self, exchange: Exchange, terms: _Terms, state: str, responses: Object
    ) -> Object:
        """Go on with the run that a retry is about, with the answers it brought."""
        resumed = await self.rounds.again(exchange, terms.subject, state, responses)
        if resumed.taken.is_refused and not resumed.taken.settled:
            # Asking again at once would ask for ever; the other doors can answer still.
            return await self._handle(exchange, resumed.waiting)
        return await self._follow(exchange, resumed.waiting, terms)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a call that was given up could not be stopped: %s", error)


async def _next(waiting: WaitedHandle, reporter: Reporter) -> Outcome:
    """Wait for a run's end or next question, reporting meanwhile."""
    async with reporter.beating():
        async for event in waiting.events(reporter.seen, until_pause=True):
            await reporter.event(event)
        return await waiting.settled()


def _key_of(exchange: Exchange) -> str | None:
    key = exchange.meta.get(KEY_META)
    if key is None:
        return exchange.key
    if not isinstance(key, str):
        raise MCPError(INVALID_PARAMS, f"_meta[{KEY_META!r}] is a text")
    return key


def unknown_tool(name: str) -> MCPError:
    """Return the error for a tool that is not there: of the protocol, not of a tool."""
    error = SpellNotFound(f"unknown tool {name!r}", hint="tools/list names what is published")
    return MCPError(INVALID_PARAMS, error.message, {"code": error.code, "hint": error.hint})
