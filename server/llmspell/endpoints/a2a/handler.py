"""The operations of A2A on the host: tasks are runs, streams are their logs.

Each method takes a request and a caller and answers in A2A's JSON. It knows no
wire: `dispatch` calls it, for every binding. A stream is a cursor over the
run's log, so any number of them see the same items, and leaving one changes
nothing.

Semantics: A2A specification 3.1 (operations), 3.2.2 (blocking), 3.4 (task and
context ids).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from a2a.utils.errors import PushNotificationNotSupportedError, UnsupportedOperationError

from llmspell.endpoints.a2a.answers import answer_of
from llmspell.endpoints.a2a.errors import invalid_params
from llmspell.endpoints.a2a.mapping import TaskView, history_of, is_rest
from llmspell.endpoints.a2a.requests import SKILL_KEY, ListRequest, SendRequest, TaskRequest
from llmspell.endpoints.a2a.routing import Cast, Question, answered, route
from llmspell.host.interface import HostInterface
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import Event, Run
from llmspell.security.principals import Caller
from llmspell.values import Object


class TaskHandler:
    """Performs A2A's operations.

    Args:
        default_skill: Spell a message goes to when it names none; "" = ask.
    """

    def __init__(self, host: HostInterface, *, default_skill: str = "") -> None:
        self._host = host
        self._default_skill = default_skill
        self._accepting: set[asyncio.Task[tuple[RunHandle, int]]] = set()

    async def send(self, request: SendRequest, caller: Caller) -> Object:
        """Send a message and return `{task}`: at its end or question, or at once when asked to.

        Raises:
            A2AError: As specification 3.1.1 says.
            LlmspellError: The host refused, e.g. because the input does not fit.
        """
        handle, after = await self._accept(request, caller)
        if request.return_immediately:
            return {"task": await self._snapshot(handle, request.history_length)}
        run = await handle.record()
        view = TaskView(run)
        async with _events(handle) as events:
            async for event in events:
                run = await _record_at(event, handle, run)
                view.apply(event, run)
                if is_rest(event) and event.number > after:
                    break
        return {"task": view.task(history_of(run, request.history_length))}

    async def send_stream(self, request: SendRequest, caller: Caller) -> AsyncGenerator[Object]:
        """Send a message and yield the task, then what happens to it until its end or question.

        Raises:
            A2AError: As specification 3.1.2 says.
            LlmspellError: The host refused, e.g. because the input does not fit.
        """
        handle, after = await self._accept(request, caller)
        async for item in self._follow(handle, after, request.history_length, until_rest=True):
            yield item

    async def get(self, request: TaskRequest, caller: Caller) -> Object:
        """Return a task as it stands.

        Raises:
            RunNotFound: There is none the caller may see.
        """
        handle = await self._host.run(request.id, caller=caller)
        return await self._snapshot(handle, request.history_length)

    async def list(self, request: ListRequest, caller: Caller) -> Object:
        """Return a page of the caller's tasks, the last changed first.

        Raises:
            UsageError: The page token is none of this list's.
        """
        page = await self._host.runs(
            caller=caller,
            session=request.context_id,
            state=request.state,
            door="a2a",
            updated_after=request.updated_after,
            limit=request.page_size,
            after=request.page_token,
        )
        tasks: list[Object] = []
        for run in page.runs:
            handle = await self._host.run(run.id, caller=caller)
            tasks.append(
                await self._snapshot(
                    handle, request.history_length, artifacts=request.include_artifacts
                )
            )
        return {
            "tasks": tasks,
            "nextPageToken": page.next or "",
            "pageSize": request.page_size,
            "totalSize": page.total,
        }

    async def cancel(self, request: TaskRequest, caller: Caller) -> Object:
        """Stop a task and return it. Canceling a canceled task is no error.

        Raises:
            RunNotFound: There is none the caller may see.
            RunNotCancelable: It ended otherwise.
        """
        handle = await self._host.run(request.id, caller=caller)
        await handle.cancel()
        return await self._snapshot(handle, None)

    async def subscribe(self, request: TaskRequest, caller: Caller) -> AsyncGenerator[Object]:
        """Yield a task as it stands, then everything that happens to it until its end.

        Raises:
            RunNotFound: There is none the caller may see.
            UnsupportedOperationError: It has ended.
        """
        handle = await self._host.run(request.id, caller=caller)
        run = await handle.record()
        if run.is_final:
            raise UnsupportedOperationError(f"the task has ended: it is {run.state}")
        async for item in self._follow(handle, run.generation, None, until_rest=False):
            yield item

    async def push_config(self) -> Object:
        """Refuse: the card says there are no push notifications.

        Raises:
            PushNotificationNotSupportedError: Always.
        """
        raise PushNotificationNotSupportedError

    async def extended_card(self) -> Object:
        """Refuse: the card says there is no extended one.

        Raises:
            UnsupportedOperationError: Always.
        """
        raise UnsupportedOperationError("this agent has no extended card")

    async def _accept(self, request: SendRequest, caller: Caller) -> tuple[RunHandle, int]:
        """Begin or continue a task; return it with the number of its last event before.

        What was begun is finished, also when the client leaves meanwhile: else a
        record could stay behind that nothing works on.
        """
        task = asyncio.ensure_future(self._begin(request, caller))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        return await asyncio.shield(task)

    async def _begin(self, request: SendRequest, caller: Caller) -> tuple[RunHandle, int]:
        if request.task_id:
            return await self._continue(request, caller)
        context = request.context_id or str(uuid.uuid4())
        caller = caller.at("a2a", session=context, message=request.message)
        found = route(
            self._host.catalogue(),
            request.message,
            skill=request.skill,
            default=self._default_skill,
        )
        if isinstance(found, Question):
            return await self._host.propose(found.text, caller=caller, data=found.data), 0
        return await self._host.start(found.spell, found.input, caller=caller), 0

    async def _continue(self, request: SendRequest, caller: Caller) -> tuple[RunHandle, int]:
        handle = await self._host.run(request.task_id, caller=caller)
        run = await handle.record()
        if request.context_id and request.context_id != run.session:
            raise invalid_params("message.contextId", "is not that of the task")
        if run.is_final:
            raise UnsupportedOperationError(f"the task has ended: it is {run.state}")
        if run.spell and request.skill not in (None, run.spell):
            reason = f"the task is for {run.spell!r}"
            raise invalid_params(f"metadata[{SKILL_KEY!r}]", reason)
        if run.questions:
            asked = run.generation
            question, value = answer_of(run.questions, request.message)
            await handle.answer(value, question=question)
            return handle, asked
        if run.spell or run.state != "input_required":
            raise UnsupportedOperationError("the task is at work and waits for no message")
        asked = run.generation  # the record goes on with the run
        settled = answered(
            self._host.catalogue(),
            run.input,
            run.message or {},
            request.message,
            skill=request.skill,
        )
        if settled is None:
            return handle, asked - 1
        return await self._carry_on(handle, run, settled, request, caller), asked

    async def _carry_on(
        self, handle: RunHandle, run: Run, settled: Cast, request: SendRequest, caller: Caller
    ) -> RunHandle:
        question = (await self._snapshot(handle, 0))["status"]["message"]
        message = {**request.message, "history": [*history_of(run, None), question]}
        return await self._host.start(
            settled.spell,
            settled.input,
            caller=caller.at("a2a", session=run.session, message=message),
            proposal=run.id,
        )

    async def _snapshot(
        self, handle: RunHandle, history_length: int | None, *, artifacts: bool = True
    ) -> Object:
        run = await handle.record()
        upto = run.generation
        view = TaskView(run)
        if upto:
            async with _events(handle) as events:
                async for event in events:
                    run = await _record_at(event, handle, run)
                    view.apply(event, run)
                    if event.number >= upto:
                        break
        return view.task(history_of(run, history_length), artifacts=artifacts)

    async def _follow(
        self, handle: RunHandle, after: int, history_length: int | None, *, until_rest: bool
    ) -> AsyncGenerator[Object]:
        """Yield the task as it stood at event `after`, then an item for all that came since."""
        run = await handle.record()
        view = TaskView(run)
        if not after:
            yield {"task": view.task(history_of(run, history_length))}
        async with _events(handle) as events:
            async for event in events:
                run = await _record_at(event, handle, run)
                items = view.apply(event, run)
                if event.number < after:
                    continue
                if event.number == after:
                    yield {"task": view.task(history_of(run, history_length))}
                    continue
                for item in items:
                    yield item
                if until_rest and is_rest(event):
                    return


async def _record_at(event: Event, handle: RunHandle, known: Run) -> Run:
    # Only a change of state can make the record say more than it did.
    return await handle.record() if event.kind == "state" else known


@asynccontextmanager
async def _events(handle: RunHandle) -> AsyncGenerator[AsyncIterator[Event]]:
    """The run's events from its first, with the iterator closed at the end."""
    events = handle.events()
    try:
        yield events
    finally:
        close: Any = getattr(events, "aclose", None)
        if close is not None:
            await close()
