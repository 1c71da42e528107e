"""The sessions of the handshake era: records that outlive the process, and the objects of now.

A session is in memory while it is used, and always as a record. One that is
only a record, because the server was restarted or the session was quiet for
long, comes back with the next request of its client, who notices nothing.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from llmspell.clock import Clock, SystemClock
from llmspell.endpoints.mcp.http.call import HttpCall
from llmspell.endpoints.mcp.http.session import Owner, Session
from llmspell.errors import AccessRateLimited, LlmspellError
from llmspell.host.door_records import DoorRecords
from llmspell.values import Object

KIND = "mcp.session"
"""The kind of the records."""

SESSIONS = 1000
"""Sessions of one principal, unless the settings say otherwise."""

IDLE_SECONDS = 7 * 86400.0
"""How long a session nobody uses is kept, unless the settings say otherwise."""

TIDY_SECONDS = 60.0
QUIET_SECONDS = 600.0
"""How long a session that is not used stays in memory."""

_log = logging.getLogger(__name__)

Revive = Callable[[Session, Object], Awaitable[bool]]
"""Brings a new session to the state that was described; returns whether that could be."""


class Sessions:
    """The sessions of one endpoint.

    Args:
        open_: Makes a session object from its id, its owner and the params of `initialize`.
        describe: Returns what a client has set in its session, for `revive`.
        bundle: What the endpoint serves; its sessions are not those of another.
        most: Sessions of one principal.
        idle: Seconds without a request after which a session ends.
    """

    def __init__(
        self,
        records: DoorRecords,
        open_: Callable[[str, Owner, Object], Session],
        describe: Callable[[Session], Object],
        *,
        bundle: str = "",
        most: int = SESSIONS,
        idle: float = IDLE_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._records = records
        self._open = open_
        self._describe = describe
        self._bundle = bundle
        self._most = most
        self._idle = idle
        self._clock = clock or SystemClock()
        self._live: dict[str, Session] = {}
        self._used: dict[Owner, dict[str, float]] = {}
        self._reviving: dict[tuple[str, Owner], asyncio.Future[Session | None]] = {}

    async def load(self) -> None:
        """Learn which sessions there are."""
        for id, record in await self._records.list(KIND):
            if record.get("bundle") == self._bundle:
                self._note(id, _owner(record), float(record["used_at"]))

    async def tidying(self) -> None:
        """Put sessions that are not used out of memory, for ever; to be cancelled."""
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            await self.tidy()

    async def tidy(self) -> None:
        """Put out of memory what is not used, and forget what has expired."""
        now = self._clock.time()
        for session in list(self._live.values()):
            session.tidy(now)
            is_changed = session.used_at > session.saved_at
            if self._is_quiet(session, now) and is_changed and not await self.save(session):
                continue
            # Meanwhile it may have been used again, or ended.
            if self._is_quiet(session, now) and self._live.pop(session.id, None) is not None:
                await session.aclose()
        for used in list(self._used.values()):
            for id in [id for id, at in used.items() if now - at > self._idle]:
                if id not in self._live:
                    del used[id]
        self._used = {owner: used for owner, used in self._used.items() if used}

    def draft(self, owner: Owner, params: Object) -> Session:
        """Return a new session that nobody can use before it is added."""
        return self._open(secrets.token_hex(16), owner, params)

    async def add(self, session: Session) -> None:
        """Keep a session from now on.

        Raises:
            AccessRateLimited: Its owner has too many, and all are in use.
        """
        used = self._used.setdefault(session.owner, {})
        while len(used) >= self._most:
            oldest = min(
                (id for id in used if not self._is_busy(id)), key=used.__getitem__, default=None
            )
            if oldest is None:
                raise AccessRateLimited(
                    f"{self._most} sessions are in use",
                    hint="end one (DELETE), or raise the setting server.sessions",
                    data={"retry_after": TIDY_SECONDS},
                )
            await self._drop(session.owner, oldest)
        self._live[session.id] = session
        session.used_at = self._clock.time()
        used[session.id] = session.used_at
        await self.save(session)

    async def find(self, id: str, owner: Owner, revive: Revive) -> Session | None:
        """Return a session of an owner, or None when they have no such."""
        session = self._live.get(id) or await self._revived(id, owner, revive)
        if session is None or session.owner != owner:
            return None
        session.used_at = self._clock.time()
        self._note(id, owner, session.used_at)
        if session.used_at - session.saved_at > self._idle / 8:
            await self.save(session)
        return session

    def finished(self, session: Session, call: HttpCall) -> None:
        """Note that a request in a session has ended."""
        session.used_at = self._clock.time()
        session.finish(call, session.used_at)

    async def save(self, session: Session) -> bool:
        """Write the record of a session: it survives this process, if not the loss of power.

        Returns whether that could be. If not, the session goes on, and is written with a later
        request.
        """
        now = self._clock.time()
        tenant, principal = session.owner
        record: Object = {
            "bundle": self._bundle,
            "tenant": tenant,
            "principal": principal,
            "params": session.params,
            "state": self._describe(session),
            "used_at": now,
        }
        try:
            await self._records.put(KIND, session.id, record, seconds=self._idle, durable=False)
        except LlmspellError as error:
            _log.warning("session %s cannot be written: %s", session.id, error)
            return False
        session.saved_at = now
        return True

    async def delete(self, session: Session) -> None:
        """End a session for good."""
        await self._drop(session.owner, session.id)

    def close(self) -> None:
        """End what is under way in every session; the records stay."""
        for session in self._live.values():
            session.end(is_shutdown=True)

    async def _drop(self, owner: Owner, id: str) -> None:
        self._used.get(owner, {}).pop(id, None)
        session = self._live.pop(id, None)
        if session is not None:
            session.end(is_shutdown=False)
            await session.aclose()
        await self._records.delete(KIND, id)

    @staticmethod
    def _is_quiet(session: Session, now: float) -> bool:
        return not session.is_busy and now - session.used_at > QUIET_SECONDS

    def _is_busy(self, id: str) -> bool:
        session = self._live.get(id)
        return session is not None and session.is_busy

    def _note(self, id: str, owner: Owner, used_at: float) -> None:
        self._used.setdefault(owner, {})[id] = used_at

    async def _revived(self, id: str, owner: Owner, revive: Revive) -> Session | None:
        key = (id, owner)
        under_way = self._reviving.get(key)
        if under_way is None:
            # Not in the task of one request: another one may wait for the same session.
            under_way = self._reviving[key] = asyncio.ensure_future(self._read(id, owner, revive))
            under_way.add_done_callback(lambda _: self._reviving.pop(key, None))
        return await asyncio.shield(under_way)

    async def _read(self, id: str, owner: Owner, revive: Revive) -> Session | None:
        record = await self._records.get(KIND, id)
        if record is None or record.get("bundle") != self._bundle or _owner(record) != owner:
            return None
        session = self._open(id, owner, record["params"])
        if not await revive(session, record["state"]):
            await self._drop(owner, id)
            return None
        session.saved_at = float(record["used_at"])
        self._live[id] = session
        _log.debug("session %s goes on", id)
        return session


def _owner(record: Object) -> Owner:
    return str(record["tenant"]), str(record["principal"])
