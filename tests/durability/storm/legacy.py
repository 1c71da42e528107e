"""Clients of HTTP in the era of sessions: streams that are lost and read on, questions on them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

from tests.durability.storm.client import ELICITS, INFO, Client, Object, accept
from tests.durability.storm.storm import Storm, Wrong
from tests.support.mcp import LEGACY
from tests.support.raw_http import Broken, Connection, Response

LOST = "the answer is lost"
"""What a stream of an owner that was killed says."""


class _Gone(Exception):
    """The session is not known any more."""


class LegacyHttp(Client):
    """See the module."""

    is_modern = False

    def __init__(self, storm: Storm, name: str) -> None:
        super().__init__(storm, name)
        self._session = ""
        self._ids = itertools.count(1)
        self._open: list[Connection] = []

    def acts(self) -> list[tuple[Any, int]]:
        """Return what it does, each with how often."""
        return [
            *super().acts(),
            (self.elicited, 10),
            (self.leaves_asked, 1),
            (self.comes_back, 10),
            (self.listens, 4),
            (self.ends_session, 3),
            (self.forgets_session, 3),
        ]

    def close(self) -> None:
        """Break off what is left."""
        for connection in self._open:
            connection.abort()
        self._open.clear()

    # -- the session

    async def ask(self, method: str, params: Object, *, again: bool = True) -> Object:
        """Send a request and return its answer; what is asked on its stream is answered."""
        return await self.storm.attempt(lambda: self._within(method, params), again=again)

    async def _within(self, method: str, params: Object) -> Object:
        while True:
            await self._begin()
            try:
                return await self._ask(method, params)
            except _Gone:
                self._forget()

    def _forget(self) -> None:
        if not self.storm.killed:
            raise Wrong("a session is gone that was in use")
        # Which sessions were used last, an owner that comes after a kill knows roughly.
        self.storm.seen["session gone"] += 1
        self._session = ""

    async def _begin(self) -> None:
        if self._session:
            return
        said = {"protocolVersion": LEGACY, "capabilities": ELICITS, "clientInfo": INFO}
        connection = await Connection.to(self.storm.port)
        try:
            response = await self._post(
                connection, {"id": 0, "method": "initialize", "params": said}
            )
            answers = [message async for message in response.messages()]
        finally:
            connection.abort()
        if not answers or "result" not in answers[0]:
            raise Wrong(f"initialize: {response.status} {answers}")
        self._session = response.headers["mcp-session-id"]
        self.storm.sessions.add(self._session)
        await self._tell({"method": "notifications/initialized"})

    async def _tell(self, message: Object) -> None:
        """Post what has no answer of its own."""
        connection = await Connection.to(self.storm.port)
        try:
            response = await self._post(connection, message)
            await response.read()
        finally:
            connection.abort()
        if response.status == 404:
            raise _Gone
        if response.status != 202:
            raise Wrong(f"{message} is answered with {response.status}")

    async def _post(self, connection: Connection, message: Object) -> Response:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        headers = {**self._headers(), "content-type": "application/json"}
        return await connection.request("POST", "/mcp", headers, body)

    def _headers(self) -> dict[str, str]:
        headers = {
            **self.storm.authorization(),
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": LEGACY,
        }
        if self._session:
            headers["mcp-session-id"] = self._session
        return headers

    # -- a request

    async def _ask(self, method: str, params: Object) -> Object:
        number = next(self._ids)
        connection = await Connection.to(self.storm.port)
        try:
            response = await self._post(
                connection, {"id": number, "method": method, "params": params}
            )
            if response.status == 404:
                await response.read()
                raise _Gone
            found = await self._read(response, number)
        finally:
            connection.abort()
        if found is None:
            raise Wrong(f"no answer to {method}: status {response.status}")
        return found

    async def _read(
        self, response: Response, number: int, *, answers: bool = True
    ) -> Object | None:
        """Read to the end and return the answer to a request; answer what is asked meanwhile."""
        found: Object | None = None
        async for message in response.messages():
            if "method" not in message:
                if found is not None or message.get("id") != number:
                    raise Wrong(f"answered twice: {found}, {message}")
                found = message
            elif "id" in message and answers:
                await self._tell({"id": message["id"], "result": accept()})
        return found

    async def give_up(self, method: str, params: Object) -> None:
        """Send a request and cancel it with a notification."""
        await self.storm.attempt(lambda: self._give_up(method, params))
        self.storm.given_up[params["arguments"]["id"]] = time.monotonic()

    async def _give_up(self, method: str, params: Object) -> None:
        await self._begin()
        number = next(self._ids)
        connection = await Connection.to(self.storm.port)

        async def read() -> Object | None:
            response = await self._post(
                connection, {"id": number, "method": method, "params": params}
            )
            if response.status == 404:
                await response.read()
                raise _Gone
            return await self._read(response, number)

        reading = asyncio.ensure_future(read())
        try:
            done, _ = await asyncio.wait([reading], timeout=self.chance.uniform(0.02, 0.8))
            if not done:
                # Until the server has the request there is nothing to be cancelled.
                while not reading.done():
                    cancel = {"requestId": number, "reason": "storm"}
                    await self._tell({"method": "notifications/cancelled", "params": cancel})
                    await asyncio.wait([reading], timeout=0.5)
            answer = await reading
        except _Gone:
            self._forget()
            raise Broken("the session is gone") from None
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            connection.abort()
        if answer is not None and "error" not in answer:
            raise Wrong(f"a call that was cancelled is answered: {answer}")

    # -- what it does

    async def elicited(self) -> None:
        """Call what asks, and answer on the call's own stream."""
        arguments = {"id": self.storm.new_id("asks")}
        result = await self.tool(self.called("asks", arguments, key=True))
        self.storm.check("asks", arguments, result)

    async def leaves_asked(self) -> None:
        """Call what asks, and go when it does."""
        arguments = {"id": self.storm.new_id("asks")}

        async def leave() -> None:
            await self._begin()
            connection = await Connection.to(self.storm.port)
            try:
                params = self.called("asks", arguments, key=True)
                message = {"id": next(self._ids), "method": "tools/call", "params": params}
                response = await self._post(connection, message)
                async for message in response.messages():
                    if message.get("method") == "elicitation/create":
                        return
            finally:
                connection.abort()

        await self.storm.attempt(leave)

    async def comes_back(self) -> None:
        """Lose the stream of a call, and read on from the last event."""
        name, arguments = self.chance.choice(
            [
                ("slow", {"id": self.storm.new_id("slow"), "seconds": 0.5}),
                ("floods", {"id": self.storm.new_id("floods")}),
            ]
        )
        await self.storm.attempt(lambda: self._come_back(name, arguments), again=False)

    async def _come_back(self, name: str, arguments: Object) -> None:
        await self._begin()
        number = next(self._ids)
        params = self.called(name, arguments, progress=True)
        connection = await Connection.to(self.storm.port)
        try:
            response = await self._post(
                connection, {"id": number, "method": "tools/call", "params": params}
            )
            if response.status == 404:
                raise Broken("the session is gone") if self.storm.killed else Wrong("gone")
            leave_after = self.chance.randrange(0, 4)
            async for message in response.messages():
                if "method" not in message:
                    result = await self.followed(message["result"])
                    self.storm.check(name, arguments, result)
                    return
                leave_after -= 1
                if leave_after < 0 and response.last_event:
                    break
        finally:
            connection.abort()
        back = await Connection.to(self.storm.port)
        try:
            headers = {**self._headers(), "last-event-id": response.last_event}
            response = await back.request("GET", "/mcp", headers)
            answer = await self._read(response, number)
        finally:
            back.abort()
        if answer is None:
            raise Wrong(f"no answer to who came back: status {response.status}")
        if LOST in str(answer.get("error", "")):
            raise Broken("the answer was lost")
        self.storm.check(name, arguments, await self.followed(answer["result"]))

    async def listens(self) -> None:
        """Open the stream of what no request asked for, and leave it open for a while."""

        async def listen() -> None:
            await self._begin()
            connection = await Connection.to(self.storm.port)
            self._open.append(connection)
            response = await connection.request("GET", "/mcp", self._headers())
            if response.status == 404:
                self._forget()
            elif response.status != 200:
                raise Wrong(f"GET is answered with {response.status}")
            if len(self._open) > 2:
                self._open.pop(0).abort()

        await self.storm.attempt(listen)

    async def ends_session(self) -> None:
        """End the session, and see that it is over."""

        async def end() -> None:
            if not self._session:
                return
            connection = await Connection.to(self.storm.port)
            try:
                response = await connection.request("DELETE", "/mcp", self._headers())
                await response.read()
            finally:
                connection.abort()
            if response.status not in (200, 204, 404):
                raise Wrong(f"DELETE is answered with {response.status}")
            self.storm.deleted.add(self._session)

        await self.storm.attempt(end)
        self._session = ""

    async def begins_sessions(self, count: int) -> list[str]:
        """Begin so many sessions and return them."""
        begun: list[str] = []
        for _ in range(count):
            self._session = ""
            await self.ask("ping", {})
            begun.append(self._session)
        return begun

    async def ends_all(self) -> None:
        """End every session that any client has begun."""
        for session in self.storm.sessions - self.storm.deleted:
            self._session = session
            await self.ends_session()

    async def forgets_session(self) -> None:
        """Begin anew without having ended the session."""
        self._session = ""
        await self.ask("ping", {})
