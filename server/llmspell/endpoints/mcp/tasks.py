"""The extension `io.modelcontextprotocol/tasks` (SEP-2663): runs, in the words of its wire.

A task is a run; its id is the run's, and every request about it is authorised
anew. There is no list of tasks in the extension, and none here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY, RequestParams

from llmspell.endpoints.mcp.asking import can_ask, request_of, take_answers
from llmspell.endpoints.mcp.exchange import TASKS, Client, Exchange
from llmspell.endpoints.mcp.paging import cut_result
from llmspell.endpoints.mcp.progress import told_in
from llmspell.endpoints.mcp.results import (
    error_of,
    error_result,
    outcome_result,
    protocol_error,
)
from llmspell.errors import RunNotCancelable, RunNotFound
from llmspell.host.catalogue import Published
from llmspell.host.interface import DoorHost
from llmspell.host.run_interface import WaitedHandle
from llmspell.runs.record import Run, outcome_of
from llmspell.security.principals import Caller
from llmspell.values import Object

POLL_MS = 500
"""How often a client should ask for a task that is under way."""

_STATUS = {
    "submitted": "working",
    "working": "working",
    "input_required": "input_required",
    "auth_required": "working",
    "completed": "completed",
    # Ended by an error of the tool, which is a result; `failed` is for JSON-RPC errors.
    "failed": "completed",
    "rejected": "completed",
    "canceled": "cancelled",
}


class TaskParams(RequestParams):
    """The params of `tasks/get` and `tasks/cancel`."""

    task_id: str


class TaskUpdateParams(TaskParams):
    """The params of `tasks/update`."""

    input_responses: dict[str, Any] = {}


class Tasks:
    """Serves `tasks/*`.

    Args:
        find: Returns a published spell by name, or None.
    """

    def __init__(self, host: DoorHost, find: Any) -> None:
        self._host = host
        self._find = find
        runs = host.project.settings.runs
        self._ttl_ms = int(min(runs.keep, runs.keep_plain) * 1000)
        self._limit = host.project.settings.mcp.result_bytes

    def require(self, exchange: Exchange) -> None:
        """Refuse a client that did not say it knows tasks.

        Raises:
            MCPError: It did not.
        """
        if not knows_tasks(exchange):
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                "this needs a client that declares the tasks extension",
                {"requiredCapabilities": {"extensions": {TASKS: {}}}},
            )

    async def created(self, waiting: WaitedHandle) -> Object:
        """Return the result that hands out a task. The run is durable before it is answered."""
        await waiting.keep()
        run = await waiting.record()
        return {"resultType": "task", **self._head(run, await _message(waiting))}

    async def get(self, exchange: Exchange, params: TaskParams) -> Object:
        """Serve `tasks/get`."""
        self.require(exchange)
        waiting = await self._waiting(exchange, params.task_id)
        return await self.describe(waiting, exchange.client)

    async def update(self, exchange: Exchange, params: TaskUpdateParams) -> Object:
        """Serve `tasks/update`: answers to what the task asks. Unknown keys are left aside."""
        self.require(exchange)
        waiting = await self._waiting(exchange, params.task_id)
        try:
            await take_answers(waiting, params.input_responses)
        finally:
            await waiting.let_go()
        return {}

    async def cancel(self, exchange: Exchange, params: TaskParams) -> Object:
        """Serve `tasks/cancel`. A task that has ended stays as it is."""
        self.require(exchange)
        waiting = await self._waiting(exchange, params.task_id)
        try:
            await waiting.cancel()
        except RunNotCancelable:
            pass  # acknowledged all the same: the client sees at the next look how it ended
        finally:
            await waiting.let_go()
        return {}

    async def of(self, task_id: str, caller: Caller) -> Object:
        """Return a task of a caller in full, as status notifications have it.

        Raises:
            RunNotFound: There is none the caller may see.
        """
        return await self.describe(await self._host.wait_for(task_id, caller=caller))

    async def describe(self, waiting: WaitedHandle, client: Client | None = None) -> Object:
        """Return a task in full, as `tasks/get` and status notifications have it; lets go of it.

        Args:
            client: Who looks at it: it is not asked what it cannot ask its user.
        """
        try:
            run = await waiting.record()
            task = self._head(run, await _message(waiting))
        finally:
            await waiting.let_go()
        if task["status"] == "input_required":
            asked = [each for each in run.questions if client is None or can_ask(client, each)]
            # By id: the keys of a task's requests are never used twice, and names may be.
            task["inputRequests"] = {each.id: request_of(each, is_modern=True) for each in asked}
            if not asked:
                task["statusMessage"] = f"a person answers it with: llmspell runs answer {run.id}"
        elif task["status"] in ("completed", "failed"):
            task.update(self._end(run))
        return task

    async def _waiting(self, exchange: Exchange, task_id: str) -> WaitedHandle:
        try:
            return await self._host.wait_for(task_id, caller=exchange.caller)
        except RunNotFound as error:
            raise MCPError(
                INVALID_PARAMS, f"there is no task {task_id[:64]!r}", {"code": error.code}
            ) from None

    def _head(self, run: Run, message: str) -> Object:
        status = _STATUS[run.state]
        if run.error is not None and run.error.get("code") == "run.protocol_error":
            status = "failed"
        task: Object = {
            "taskId": run.id,
            "status": status,
            "createdAt": _iso(run.created_at),
            "lastUpdatedAt": _iso(max(run.updated_at, run.created_at)),
            "ttlMs": self._ttl_ms,
            "pollIntervalMs": POLL_MS,
        }
        if message:
            task["statusMessage"] = message
        return task

    def _end(self, run: Run) -> Object:
        outcome = outcome_of(run)
        spell: Published | None = self._find(run.spell)
        if outcome.ok:
            result = outcome_result(outcome, spell, is_modern=True)
            return {"result": cut_result(result, self._limit, run.id, spell)}
        error = error_of(outcome)
        protocol = protocol_error(error)
        if protocol is None:
            return {"result": error_result(error, is_modern=True)}
        detail: Object = {"code": protocol.code, "message": protocol.message}
        if protocol.data is not None:
            detail["data"] = protocol.data
        return {"error": detail}


def knows_tasks(exchange: Exchange) -> bool:
    """Return whether a call may be answered with a task.

    Only in the version the extension is of: some clients declare it in older handshakes too, and
    then take a task for a result.
    """
    return exchange.is_modern and exchange.client.knows_tasks


async def _message(waiting: WaitedHandle) -> str:
    event = await waiting.last("progress")
    return told_in(event) if event is not None else ""


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
