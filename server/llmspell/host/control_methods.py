"""The host's own methods on the control socket: their params, and what each asks of the host.

The wire itself is `host.control`'s; what a method gives back is what the host
gives, encoded there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import msgspec

from llmspell.errors import LlmspellError
from llmspell.host.catalogue import Catalogue
from llmspell.host.interface import HostInterface
from llmspell.host.run_interface import RunHandle
from llmspell.runs.record import RunState
from llmspell.security.principals import Caller, Door, local_caller
from llmspell.values import JSON, Object

_log = logging.getLogger(__name__)


class Params(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every method takes."""

    session: str | None = None
    message: Object | None = None
    """What the caller brought beyond the input."""


class _Watch(Params):
    watch: bool = False


class _Cast(Params):
    name: str
    input: JSON = None
    timeout: float | None = None
    key: str | None = None


class _Start(_Cast):
    proposal: str | None = None
    attached: bool = False


class _Source(Params):
    file: str
    source: str
    input: JSON = None
    timeout: float | None = None
    attached: bool = False


class _Question(Params):
    question: str
    data: Object | None = None


class _RunId(Params):
    run: str


class _Events(_RunId):
    after: int = 0
    until_pause: bool = False


class _Answer(_RunId):
    value: JSON = None
    question: str | None = None
    action: Literal["accept", "decline", "cancel"] = "accept"


class _Fork(_RunId):
    step: int | None = None
    current: bool = False


class _Runs(Params):
    in_session: str | None = None
    state: RunState | None = None
    door: Door | None = None
    updated_after: float | None = None
    limit: int = 50
    after: str | None = None


class _Prune(Params):
    before: float | None = None
    dry: bool = False


class Client:
    """Whoever is at the other end of one control connection.

    Args:
        host: What is asked.
        notify: Sends a notification; it may wait in a buffer.
        drain: Returns when that buffer has room.
    """

    def __init__(
        self,
        host: HostInterface,
        notify: Callable[[str, JSON], None],
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        self.host = host
        self._notify = notify
        self._drain = drain
        self.watching: Callable[[], None] | None = None
        """Ends what tells of changes of the catalogue."""
        self._attached: dict[str, RunHandle] = {}

    def caller(self, params: Params) -> Caller:
        """Return who calls: always the person this process belongs to."""
        return local_caller("cli").at("cli", session=params.session, message=params.message)

    async def run(self, params: _RunId) -> RunHandle:
        """Return the handle of the run that params name."""
        return await self.host.run(params.run, caller=self.caller(params))

    async def tell(self, method: str, params: JSON) -> None:
        """Send a notification, and return when there is room for the next."""
        self._notify(method, params)
        await self._drain()

    def catalogue_changed(self, catalogue: Catalogue) -> None:
        """Tell what is published now."""
        self._notify("catalogue.changed", catalogue)

    def attach(self, handle: RunHandle) -> None:
        """Let a run end with this connection, unless its result is read before."""
        self._attached[handle.id] = handle

    def detach(self, run_id: str) -> None:
        """Let a run live on."""
        self._attached.pop(run_id, None)

    async def leave(self) -> None:
        """End what was there for this client."""
        if self.watching is not None:
            self.watching()
        for handle in self._attached.values():
            try:
                await handle.cancel()
            except LlmspellError as error:
                _log.debug("run %s ended before its client: %s", handle.id, error)


async def _catalogue(client: Client, _: int | str, params: _Watch) -> JSON:
    if params.watch and client.watching is None:
        client.watching = client.host.on_change(client.catalogue_changed)
    return client.host.catalogue()


async def _cast(client: Client, _: int | str, params: _Cast) -> JSON:
    return await client.host.cast(
        params.name,
        params.input,
        caller=client.caller(params),
        timeout=params.timeout,
        key=params.key,
    )


async def _start(client: Client, _: int | str, params: _Start) -> JSON:
    handle = await client.host.start(
        params.name,
        params.input,
        caller=client.caller(params),
        timeout=params.timeout,
        proposal=params.proposal,
        key=params.key,
    )
    if params.attached:
        client.attach(handle)
    return {"run": handle.id}


async def _cast_source(client: Client, _: int | str, params: _Source) -> JSON:
    return await client.host.cast_source(
        params.file,
        params.source,
        params.input,
        caller=client.caller(params),
        timeout=params.timeout,
    )


async def _start_source(client: Client, _: int | str, params: _Source) -> JSON:
    handle = await client.host.start_source(
        params.file,
        params.source,
        params.input,
        caller=client.caller(params),
        timeout=params.timeout,
    )
    if params.attached:
        client.attach(handle)
    return {"run": handle.id}


async def _propose(client: Client, _: int | str, params: _Question) -> JSON:
    handle = await client.host.propose(
        params.question, caller=client.caller(params), data=params.data
    )
    return {"run": handle.id}


async def _record(client: Client, _: int | str, params: _RunId) -> JSON:
    return await (await client.run(params)).record()


async def _events(client: Client, identifier: int | str, params: _Events) -> JSON:
    handle = await client.run(params)
    async for event in handle.events(params.after, until_pause=params.until_pause):
        await client.tell("run.event", {"request": identifier, "event": event})
    return None


async def _result(client: Client, _: int | str, params: _RunId) -> JSON:
    outcome = await (await client.run(params)).result()
    client.detach(params.run)
    return outcome


async def _cancel(client: Client, _: int | str, params: _RunId) -> JSON:
    return await (await client.run(params)).cancel()


async def _answer(client: Client, _: int | str, params: _Answer) -> JSON:
    handle = await client.run(params)
    return await handle.answer(params.value, question=params.question, action=params.action)


async def _fork(client: Client, _: int | str, params: _Fork) -> JSON:
    handle = await client.host.fork(
        params.run, caller=client.caller(params), step=params.step, current=params.current
    )
    return {"run": handle.id}


async def _journal(client: Client, _: int | str, params: _RunId) -> JSON:
    return await client.host.journal(params.run, caller=client.caller(params))


async def _runs(client: Client, _: int | str, params: _Runs) -> JSON:
    return await client.host.runs(
        caller=client.caller(params),
        session=params.in_session,
        state=params.state,
        door=params.door,
        updated_after=params.updated_after,
        limit=params.limit,
        after=params.after,
    )


async def _prune(client: Client, _: int | str, params: _Prune) -> JSON:
    return await client.host.prune(
        caller=client.caller(params), before=params.before, dry=params.dry
    )


Handler: TypeAlias = Callable[[Client, int | str, Any], Awaitable[JSON]]
"""Performs one request: who asks, the request's id, its params."""

METHODS: dict[str, tuple[type[msgspec.Struct], Handler]] = {
    "catalogue": (_Watch, _catalogue),
    "cast": (_Cast, _cast),
    "start": (_Start, _start),
    "cast_source": (_Source, _cast_source),
    "start_source": (_Source, _start_source),
    "propose": (_Question, _propose),
    "run.record": (_RunId, _record),
    "run.events": (_Events, _events),
    "run.result": (_RunId, _result),
    "run.cancel": (_RunId, _cancel),
    "run.answer": (_Answer, _answer),
    "run.fork": (_Fork, _fork),
    "run.journal": (_RunId, _journal),
    "runs": (_Runs, _runs),
    "runs.prune": (_Prune, _prune),
}
"""The methods of `HostInterface` and `RunHandle`, by the names they have on the wire."""
