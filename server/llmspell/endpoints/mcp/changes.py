"""The hub of everything that is told without being asked for, in both eras.

2026-07-28: through the `subscriptions/listen` streams that clients hold open.
Before: as notifications on every connection that completed the handshake, and
of the resources it subscribed to. The SDK's own listen handler knows no tasks.

A client hears of runs of its own only, whatever it asks for. Who publishes
never waits for who listens.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary, ref

import anyio
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    EmptyResult,
    NotificationParams,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from llmspell.endpoints.mcp.exchange import TASKS, Exchange
from llmspell.endpoints.mcp.following import RunFollower
from llmspell.endpoints.mcp.subscribers import LISTS, ListKind, Notice, Subscriber
from llmspell.errors import LlmspellError, ResourceNotFound
from llmspell.host.catalogue import Catalogue
from llmspell.host.interface import DoorHost
from llmspell.host.run_resources import run_of_uri, uris_of_run
from llmspell.runs.record import TERMINAL, Event
from llmspell.security.principals import Caller
from llmspell.values import Object

MAX_STREAMS = 1024
"""Most listen streams that are open at once."""

MAX_STREAMS_OF_ONE = 64
"""Most listen streams of one principal."""

MAX_SUBSCRIPTIONS = 1000
"""Most resources and tasks one stream or connection may ask for."""

STALL_SECONDS = 60.0
"""How long a stream's client may take nothing before its stream is ended."""

RESOURCE_NOT_FOUND = -32002
"""The code up to 2025-11-25; later it is `INVALID_PARAMS`."""

_RECORD_EVENTS = frozenset({"state", "progress", "question", "answer", "resumed"})
"""Kinds of events that change what a run's record, or its task, shows."""

_log = logging.getLogger(__name__)

Context: TypeAlias = ServerRequestContext[Any, Any]
TaskOf: TypeAlias = Callable[[str, Caller], Awaitable[Object]]


def connection_of(context: Context) -> Connection:
    """Return the connection a request came by.

    The SDK has no public handle to it, and none to the list of connections; held
    by a contract test.
    """
    return context.session._connection  # pyright: ignore[reportPrivateUsage]  # see above


def not_found(uri: str, *, is_modern: bool) -> MCPError:
    """Return the error of a resource that is not there, or not the caller's."""
    code = INVALID_PARAMS if is_modern else RESOURCE_NOT_FOUND
    return MCPError(code, f"there is no resource {uri[:200]!r}", {"uri": uri})


class Changes:
    """The clients that want to hear of changes, and what they are told.

    Make it on the event loop that serves.

    Args:
        exchange_of: Returns a request of the SDK as an `Exchange`.
        task_of: Returns a task of a caller in full; None when tasks are not served.
    """

    def __init__(
        self,
        host: DoorHost,
        *,
        exchange_of: Callable[[Context], Exchange],
        task_of: TaskOf | None = None,
    ) -> None:
        self._host = host
        self._exchange_of = exchange_of
        self._task_of = task_of
        self._streams: set[Subscriber] = set()
        self._legacy: WeakKeyDictionary[Connection, Subscriber] = WeakKeyDictionary()
        self._follower = RunFollower(self._run_event)
        self._telling: dict[Subscriber, asyncio.Task[None]] = {}
        self._catalogue = host.catalogue()
        self._detach = [
            host.library.on_update(self.resource_updated),
            host.library.on_list(self.announce),
        ]

    # -- what is told

    def announce(self, kind: ListKind) -> None:
        """Begin to tell everybody that a list changed."""
        self._tell(Notice("list", kind))

    def catalogue_changed(self, catalogue: Catalogue) -> None:
        """Begin to tell what a new catalogue changes in the lists of prompts and resources.

        That of tools depends on the client: see `announce`.
        """
        before, self._catalogue = self._catalogue, catalogue
        if catalogue.prompts != before.prompts:
            self.announce("prompts")
        if catalogue.resources != before.resources:
            self.announce("resources")

    def resource_updated(self, uri: str, tenant: str | None = None) -> None:
        """Begin to tell those who subscribed to a resource that it changed.

        Args:
            tenant: The tenant for which it changed; None = for all.
        """
        self._tell(Notice("resource", uri), tenant)

    def task_updated(self, run_id: str) -> None:
        """Begin to tell those who listen to a task how it stands."""
        self._tell(Notice("task", run_id))

    # -- who is told: 2026-07-28

    async def listen(
        self, context: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve `subscriptions/listen`: one call is one stream.

        Raises:
            MCPError: The client has too many streams, asks for too much, or for tasks without
                declaring that it knows them.
        """
        if context.request_id is None:
            raise MCPError(INVALID_REQUEST, "subscriptions/listen is a request")
        exchange = self._exchange_of(context)
        subscriber = Subscriber(exchange.caller)
        self._check_room(exchange.caller)
        self._streams.add(subscriber)
        meta: Object = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        try:
            honored = await self._honor(subscriber, params.notifications, exchange)
            await exchange.notify(
                "notifications/subscriptions/acknowledged",
                {"notifications": honored, "_meta": meta},
            )
            while (notice := await subscriber.next()) is not None:
                with anyio.move_on_after(STALL_SECONDS) as patience:
                    await self._deliver(exchange, subscriber, notice, meta)
                if patience.cancelled_caught:
                    _log.warning("a listen stream is ended: its client reads nothing")
                    break
        finally:
            self._streams.discard(subscriber)
            self._unfollow(subscriber)
        return SubscriptionsListenResult(_meta=meta)

    def _check_room(self, caller: Caller) -> None:
        of_one = sum(
            stream.caller.principal == caller.principal and stream.caller.tenant == caller.tenant
            for stream in self._streams
        )
        if of_one >= MAX_STREAMS_OF_ONE or len(self._streams) >= MAX_STREAMS:
            raise MCPError(INTERNAL_ERROR, "too many listen streams are open")

    async def _honor(
        self, subscriber: Subscriber, asked: SubscriptionFilter, exchange: Exchange
    ) -> Object:
        """Subscribe to what is asked for and there; return that, as the acknowledgement has it."""
        honored: Object = {}
        wanted = {
            "tools": asked.tools_list_changed,
            "prompts": asked.prompts_list_changed,
            "resources": asked.resources_list_changed,
        }
        for kind in LISTS:
            if wanted[kind]:
                subscriber.lists.add(kind)
                honored[f"{kind}ListChanged"] = True
        uris = list(dict.fromkeys(asked.resource_subscriptions or ()))
        tasks = _task_ids(asked)
        if len(uris) + len(tasks) > MAX_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"more than {MAX_SUBSCRIPTIONS} subscriptions")
        if tasks and not exchange.client.knows_tasks:
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                "listening to tasks needs a client that declares the tasks extension",
                {"requiredCapabilities": {"extensions": {TASKS: {}}}},
            )
        heard = [uri for uri in uris if await self._add_uri(subscriber, uri)]
        if heard:
            honored["resourceSubscriptions"] = heard
        if tasks and self._task_of is not None:
            known = [task for task in tasks if await self._add_task(subscriber, task)]
            if known:
                honored["taskIds"] = known
        return honored

    async def _add_task(self, subscriber: Subscriber, task: str) -> bool:
        try:
            state = await self._follow(subscriber, task)
        except ResourceNotFound:
            return False
        subscriber.tasks.add(task)
        if state in TERMINAL:
            # It may have ended just before: whoever waits for its end must not miss it.
            subscriber.tell(Notice("task", task))
        return True

    async def _deliver(
        self, exchange: Exchange, subscriber: Subscriber, notice: Notice, meta: Object
    ) -> None:
        if notice.about == "task":
            assert self._task_of is not None  # else none is subscribed to
            try:
                task = await self._task_of(notice.name, subscriber.caller)
            except (LlmspellError, MCPError) as error:
                _log.debug("task %s is told of no more: %s", notice.name, error)
                return
            await exchange.notify("notifications/tasks", {**task, "_meta": meta})
            return
        method, params = _notification(notice)
        await exchange.notify(method, {**params, "_meta": meta})

    # -- who is told: before 2026-07-28

    async def initialized(self, context: Context, params: NotificationParams) -> None:
        """Serve `notifications/initialized`: from now on this connection may be told."""
        connection = connection_of(context)
        self._of(connection, self._exchange_of(context).caller).lists.update(LISTS)

    async def subscribe(self, context: Context, params: SubscribeRequestParams) -> EmptyResult:
        """Serve `resources/subscribe`.

        Raises:
            MCPError: There is no such resource, or the client has too many subscriptions.
        """
        caller = self._exchange_of(context).caller
        subscriber = self._of(connection_of(context), caller)
        if len(subscriber.uris) >= MAX_SUBSCRIPTIONS:
            raise MCPError(INVALID_PARAMS, f"more than {MAX_SUBSCRIPTIONS} subscriptions")
        if not await self._add_uri(subscriber, params.uri):
            raise not_found(params.uri, is_modern=False)
        return EmptyResult()

    async def unsubscribe(self, context: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """Serve `resources/unsubscribe`. One that is not there is no error."""
        subscriber = self._legacy.get(connection_of(context))
        if subscriber is not None and params.uri in subscriber.uris:
            subscriber.uris.discard(params.uri)
            run_id = run_of_uri(params.uri)
            if run_id is not None:
                self._follower.unfollow(run_id)
        return EmptyResult()

    def subscriptions_of(self, connection: Connection) -> list[str]:
        """Return the resources a connection is subscribed to, sorted: what `restore` takes."""
        subscriber = self._legacy.get(connection)
        return sorted(subscriber.uris) if subscriber is not None else []

    async def restore(
        self, connection: Connection, caller: Caller, uris: Sequence[str] = ()
    ) -> None:
        """Tell a connection that stands for a client from before: of the lists and these resources.

        Resources that are gone meanwhile are left out.
        """
        subscriber = self._of(connection, caller)
        subscriber.lists.update(LISTS)
        for uri in uris:
            await self._add_uri(subscriber, uri)

    def _of(self, connection: Connection, caller: Caller) -> Subscriber:
        subscriber = self._legacy.get(connection)
        if subscriber is None:
            subscriber = self._legacy[connection] = Subscriber(caller)
            connection.exit_stack.callback(self._left, ref(connection))
        return subscriber

    def _left(self, connection: ref[Connection]) -> None:
        there = connection()
        subscriber = self._legacy.pop(there, None) if there is not None else None
        if subscriber is not None:
            subscriber.end()
            self._unfollow(subscriber)
            if (telling := self._telling.get(subscriber)) is not None:
                telling.cancel()

    async def _tell_connection(self, connection: ref[Connection], subscriber: Subscriber) -> None:
        while (notice := subscriber.take()) is not None:
            there = connection()
            if there is None:
                return
            method, params = _notification(notice)
            await there.notify(method, params or None)

    # -- inside

    def _tell(self, notice: Notice, tenant: str | None = None) -> None:
        for subscriber in list(self._streams):
            if tenant is None or subscriber.caller.tenant == tenant:
                subscriber.tell(notice)
        for connection, subscriber in list(self._legacy.items()):
            if tenant is not None and subscriber.caller.tenant != tenant:
                continue
            if subscriber.tell(notice) and subscriber not in self._telling:
                telling = asyncio.create_task(self._tell_connection(ref(connection), subscriber))
                self._telling[subscriber] = telling
                telling.add_done_callback(lambda _, who=subscriber: self._telling.pop(who, None))

    def _run_event(self, run_id: str, event: Event) -> None:
        record, result, log = uris_of_run(run_id)
        self._tell(Notice("resource", log))
        if event.kind in _RECORD_EVENTS:
            self._tell(Notice("resource", record))
            self._tell(Notice("task", run_id))
        if event.kind == "state" and event.data.get("state") in TERMINAL:
            self._tell(Notice("resource", result))

    async def _add_uri(self, subscriber: Subscriber, uri: str) -> bool:
        """Subscribe to a resource, unless it is not there; return whether it is."""
        if uri in subscriber.uris:
            return True
        subscriber.uris.add(uri)  # before the first await: a second request finds it
        run_id = run_of_uri(uri)
        try:
            if run_id is not None:
                await self._follow(subscriber, run_id)
                return True
            if await self._host.library.has(uri, caller=subscriber.caller):
                return True
        except ResourceNotFound:
            pass
        subscriber.uris.discard(uri)
        return False

    async def _follow(self, subscriber: Subscriber, run_id: str) -> str:
        """Follow a run for a subscriber, and return the state it is in.

        Raises:
            ResourceNotFound: It is no run of the subscriber's.
        """
        try:
            handle = await self._host.run(run_id, caller=subscriber.caller)
            record = await handle.record()
        except LlmspellError as error:
            raise ResourceNotFound(error.message) from None
        # One that has ended too, as whoever unsubscribes takes one `follow` back: its own.
        self._follower.follow(handle, record.generation)
        return record.state

    def _unfollow(self, subscriber: Subscriber) -> None:
        for uri in subscriber.uris:
            run_id = run_of_uri(uri)
            if run_id is not None:
                self._follower.unfollow(run_id)
        for task in subscriber.tasks:
            self._follower.unfollow(task)

    async def end_streams(self) -> None:
        """End every listen stream, as the specification says: with its result."""
        for stream in list(self._streams):
            stream.end()

    async def close(self) -> None:
        """Tell nobody any more. Closing twice is no error."""
        for detach in self._detach:
            detach()
        await self.end_streams()
        await self._follower.close()
        telling = list(self._telling.values())
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)


def _notification(notice: Notice) -> tuple[str, Object]:
    if notice.about == "list":
        return f"notifications/{notice.name}/list_changed", {}
    return "notifications/resources/updated", {"uri": notice.name}


def _task_ids(asked: SubscriptionFilter) -> list[str]:
    """Return the `taskIds` of a filter, which the tasks extension adds to it."""
    given: Any = (asked.model_extra or {}).get("taskIds")
    if not isinstance(given, list):
        return []
    return list(dict.fromkeys(str(task) for task in cast("list[Any]", given)))
