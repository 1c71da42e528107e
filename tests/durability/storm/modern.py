"""Clients of HTTP in the era without sessions: one POST a request; breaking off cancels it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.durability.storm.client import Client, Object
from tests.durability.storm.storm import Storm, Wrong
from tests.support.mcp import MODERN
from tests.support.raw_http import Broken, Connection, request_bytes

KEEP_SECONDS = 2.0
"""How long a connection is used again after an answer: the server closes it after five."""


class ModernHttp(Client):
    """See the module."""

    def __init__(self, storm: Storm, name: str) -> None:
        super().__init__(storm, name)
        self._kept: Connection | None = None
        self._kept_at = 0.0
        self._kept_in = 0
        self._half: list[Connection] = []

    def acts(self) -> list[tuple[Any, int]]:
        """Return what it does, each with how often."""
        return [*super().acts(), (self.drops, 8), (self.half, 3), (self.listens, 3)]

    def close(self) -> None:
        """Break off what is left."""
        for connection in self._half:
            connection.abort()
        self._half.clear()
        self._let_go()

    async def ask(self, method: str, params: Object, *, again: bool = True) -> Object:
        """Send a request and return its answer."""
        return await self.storm.attempt(lambda: self._ask(method, params), again=again)

    async def _ask(self, method: str, params: Object) -> Object:
        # One connection for several requests, or one for each: both are common.
        is_old = time.monotonic() - self._kept_at > KEEP_SECONDS
        if is_old or self._kept_in != self.storm.epoch:
            self._let_go()
        epoch = self.storm.epoch
        connection, self._kept = self._kept, None
        connection = connection or await Connection.to(self.storm.port)
        is_whole = False
        try:
            answer = await self._answer(connection, method, params)
            is_whole = True
        finally:
            if is_whole and self._kept is None and self.chance.random() < 0.7:
                self._kept, self._kept_at = connection, time.monotonic()
                self._kept_in = epoch
            else:
                connection.abort()
        return answer

    async def _answer(self, connection: Connection, method: str, params: Object) -> Object:
        response = await connection.request(*self._request(method, params))
        found: Object | None = None
        async for message in response.messages():
            if "method" not in message:
                if found is not None:
                    raise Wrong(f"answered twice: {found}, {message}")
                found = message
        if found is None:
            raise Wrong(f"no answer to {method}: status {response.status}")
        return found

    def _request(self, method: str, params: Object) -> tuple[str, str, dict[str, str], bytes]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {
            **self.storm.authorization(),
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": MODERN,
            "mcp-method": method,
        }
        named = params.get("name") or params.get("taskId")
        if named:
            headers["mcp-name"] = named
        return "POST", "/mcp", headers, json.dumps(body).encode()

    async def give_up(self, method: str, params: Object) -> None:
        """Send a request and break off: in this era that cancels it."""
        await self.storm.attempt(lambda: self._break_off(method, params))
        self.storm.given_up[params["arguments"]["id"]] = time.monotonic()

    async def _break_off(self, method: str, params: Object) -> None:
        connection = await Connection.to(self.storm.port)
        try:
            await connection.write(request_bytes(*self._request(method, params)))
            await self._hear(connection, self.chance.uniform(0, 0.8))
        finally:
            connection.abort()

    async def _hear(self, connection: Connection, seconds: float) -> None:
        """Read for so long; a message may end it sooner."""
        leaves = self.chance.random() < 0.5
        try:
            async with asyncio.timeout(seconds):
                response = await connection.response()
                async for message in response.messages():
                    if "method" not in message:
                        raise Wrong(f"a call that was to be given up is answered: {message}")
                    if leaves:
                        return
                raise Broken("the stream ended without an answer")
        except TimeoutError:
            pass

    async def drops(self) -> None:
        """Break a call off that may be over by then."""
        name, arguments = self.storm.request()
        params = self.called(name, arguments, progress=self.chance.random() < 0.5)
        await self.storm.calm.wait()
        try:
            connection = await Connection.to(self.storm.port)
            try:
                await connection.write(request_bytes(*self._request("tools/call", params)))
                async with asyncio.timeout(self.chance.uniform(0, 0.3)):
                    await (await connection.response()).read()
            finally:
                connection.abort()
        except (Broken, TimeoutError):
            pass  # as it was meant

    async def half(self) -> None:
        """Send a part of a request, and break off or say nothing more."""
        await self.storm.calm.wait()
        whole = request_bytes(
            *self._request("tools/call", self.called("echo", {"id": self.storm.new_id("half")}))
        )
        try:
            connection = await Connection.to(self.storm.port)
            await connection.write(whole[: self.chance.randrange(1, len(whole))])
        except Broken:
            return  # by a kill
        self._half.append(connection)
        if len(self._half) > 4:
            self._half.pop(0).abort()

    async def listens(self) -> None:
        """Listen for changes for a moment."""

        async def listen() -> None:
            connection = await Connection.to(self.storm.port)
            try:
                wanted = {"notifications": {"toolsListChanged": True}, "_meta": self.meta()}
                response = await connection.request(*self._request("subscriptions/listen", wanted))
                async for message in response.messages():
                    if message.get("method") != "notifications/subscriptions/acknowledged":
                        raise Wrong(f"{message}")
                    break
            finally:
                connection.abort()

        await self.storm.attempt(listen)

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.abort()
            self._kept = None
