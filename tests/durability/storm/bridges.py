"""Clients at stdio bridges, several requests at once on each; some bridges are killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

from tests.durability.storm.client import ELICITS, INFO, Client, Object, accept
from tests.durability.storm.storm import Lost, Storm, Wrong
from tests.support.mcp import LEGACY

END_SECONDS = 20.0
LINE_BYTES = 16 << 20


class Bridge:
    """A bridge process, and the requests it owes an answer to."""

    def __init__(self, storm: Storm, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._storm = storm
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._ids = itertools.count(1)
        self._owed: dict[int, asyncio.Future[Object]] = {}
        self._cancelled: set[int] = set()
        self._answered: set[int] = set()
        self.doomed: dict[str, float] = {}
        """Calls that were cancelled here, and when."""
        self.is_killed = False
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, storm: Storm) -> Bridge:
        """Start one."""
        process = await asyncio.create_subprocess_exec(
            *storm.project.command("stdio"),
            cwd=storm.project.root,
            env=storm.project.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
        )
        return cls(storm, process)

    async def request(self, method: str, params: Object) -> Object:
        """Send a request and return its answer.

        Raises:
            Lost: The bridge was killed.
        """
        number = next(self._ids)
        answer = self._owed[number] = asyncio.get_running_loop().create_future()
        await self.send({"id": number, "method": method, "params": params})
        return await answer

    async def cancelled(self, method: str, params: Object, *, after: float) -> None:
        """Send a request, and cancel it after a while."""
        number = next(self._ids)
        answer = self._owed[number] = asyncio.get_running_loop().create_future()
        await self.send({"id": number, "method": method, "params": params})
        done, _ = await asyncio.wait([answer], timeout=after)
        if done:
            answer.result()
            raise Wrong(f"a call that was to be cancelled is answered: {answer.result()}")
        self._cancelled.add(number)
        del self._owed[number]
        await self.send({"method": "notifications/cancelled", "params": {"requestId": number}})

    async def send(self, message: Object) -> None:
        """Send a message."""
        try:
            self._stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            await self._stdin.drain()
        except OSError:
            raise Lost from None

    async def _read(self) -> None:
        while line := await self._stdout.readline():
            message = json.loads(line)
            if "method" in message:
                if "id" in message:
                    await self.send({"id": message["id"], "result": accept()})
                continue
            number = message["id"]
            future = self._owed.pop(number, None)
            if future is not None:
                self._answered.add(number)
                if not future.done():
                    future.set_result(message)
            elif number in self._cancelled:
                self._cancelled.discard(number)
            elif number in self._answered:
                self._storm.problems.append(f"answered twice by a bridge: {message}")
            else:
                self._storm.problems.append(f"a bridge answers what nobody asked: {message}")
        for future in self._owed.values():
            if not future.done():
                future.set_exception(Lost() if self.is_killed else Wrong("the bridge has ended"))
                future.exception()

    async def kill(self) -> None:
        """Kill it, with no chance to clean up."""
        self.is_killed = True
        # A cancel that the owner had no time to read is lost with the bridge.
        now = time.monotonic()
        self._storm.excused |= {id for id, at in self.doomed.items() if now - at < 2}
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def end(self) -> None:
        """End its input, and see it end by itself."""
        self._stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._reading
                status = await self._process.wait()
            if status != 0:
                self._storm.problems.append(f"a bridge ended with status {status}")
        except TimeoutError:
            self._storm.problems.append("a bridge did not end")
            self._process.kill()
            await self._process.wait()
            await self._reading


class Bridged(Client):
    """One of the clients that a bridge serves at the same time.

    Args:
        seat: The bridge, which they share.
    """

    def __init__(self, storm: Storm, name: str, seat: Seat) -> None:
        super().__init__(storm, name)
        self.is_modern = seat.is_modern
        self._seat = seat

    def acts(self) -> list[tuple[Any, int]]:
        """Return what it does, each with how often."""
        own = [(self.kills_bridge, 1)]
        return [*super().acts(), *own, *([] if self.is_modern else [(self.elicited, 10)])]

    async def ask(self, method: str, params: Object, *, again: bool = True) -> Object:
        """Send a request and return its answer: what becomes of owners is no concern here."""
        bridge = await self._seat.bridge()
        return await bridge.request(method, params)

    def called(self, name: str, arguments: Object, **more: Any) -> Object:
        """Return the params of a `tools/call`. Here the bridge has a key for each request."""
        more.pop("key", None)
        return super().called(name, arguments, **more)

    async def give_up(self, method: str, params: Object) -> None:
        """Send a request and cancel it with a notification."""
        bridge = await self._seat.bridge()
        id = params["arguments"]["id"]
        self.storm.unsure(id)  # for as long as its bridge may be killed before it is cancelled
        await bridge.cancelled(method, params, after=self.chance.uniform(0, 0.8))
        bridge.doomed[id] = time.monotonic()
        if not bridge.is_killed:
            self.storm.sure(id)

    async def elicited(self) -> None:
        """Call what asks, and answer when it does."""
        arguments = {"id": self.storm.new_id("asks")}
        result = await self.tool(self.called("asks", arguments))
        self.storm.check("asks", arguments, result)

    async def kills_bridge(self) -> None:
        """Kill the bridge, and start another."""
        await self._seat.kill()
        self.storm.seen["bridge kills"] += 1
        await self.lists()


class Seat:
    """Where a bridge is: one, and another one when that was killed."""

    def __init__(self, storm: Storm, *, is_modern: bool) -> None:
        self.is_modern = is_modern
        self._storm = storm
        self._bridge: Bridge | None = None
        self._starting = asyncio.Lock()

    async def bridge(self) -> Bridge:
        """Return the bridge there is, after the handshake where that is needed."""
        async with self._starting:
            if self._bridge is None:
                bridge = await Bridge.start(self._storm)
                if not self.is_modern:
                    said = {"protocolVersion": LEGACY, "capabilities": ELICITS, "clientInfo": INFO}
                    answer = await bridge.request("initialize", said)
                    if "result" not in answer:
                        raise Wrong(f"initialize: {answer}")
                    await bridge.send({"method": "notifications/initialized"})
                self._bridge = bridge
            return self._bridge

    async def kill(self) -> None:
        """Kill the bridge."""
        async with self._starting:
            if self._bridge is not None:
                bridge, self._bridge = self._bridge, None
                await bridge.kill()

    async def end(self) -> None:
        """End the bridge in order."""
        if self._bridge is not None:
            bridge, self._bridge = self._bridge, None
            await bridge.end()
