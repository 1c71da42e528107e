"""What clients of every transport and era do in a storm, and what they expect of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from tests.durability.storm.storm import Lost, Storm, Wrong, handle_of, text_of
from tests.support.mcp import MODERN

Object = dict[str, Any]

TASKS = "io.modelcontextprotocol/tasks"
KEY = "llmspell/idempotency_key"
SESSION = "llmspell/session"
ELICITS: Object = {"elicitation": {"form": {}}}
INFO: Object = {"name": "storm", "version": "1"}
POLL_SECONDS = 0.1


class Client(ABC):
    """A client at one transport, that is in one era.

    Args:
        name: Tells it from the others.
    """

    is_modern = True

    def __init__(self, storm: Storm, name: str) -> None:
        self.storm = storm
        self.name = name
        self.chance = storm.chance

    # -- the transport's part

    @abstractmethod
    async def ask(self, method: str, params: Object, *, again: bool = True) -> Object:
        """Send a request and return its answer, `{result}` or `{error}`.

        Args:
            again: Whether it may be sent a second time when its owner was killed.

        Raises:
            Lost: There is none, because the owner or the bridge was killed.
        """

    @abstractmethod
    async def give_up(self, method: str, params: Object) -> None:
        """Send a request and cancel it, in whichever way the transport has."""

    # -- what is common

    def meta(self, *, tasks: bool = False, **more: Any) -> Object:
        """Return the `_meta` of a request."""
        if not self.is_modern:
            return dict(more)
        capabilities: Object = dict(ELICITS)
        if tasks:
            capabilities["extensions"] = {TASKS: {}}
        return {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": capabilities,
            "io.modelcontextprotocol/clientInfo": INFO,
            **more,
        }

    def called(
        self,
        name: str,
        arguments: Object,
        *,
        key: bool = False,
        progress: bool = False,
        tasks: bool = False,
        **more: Any,
    ) -> Object:
        """Return the params of a `tools/call`."""
        meta = self.meta(tasks=tasks)
        if key:
            # The same session always: that of the handshake may be another after a kill.
            meta[KEY], meta[SESSION] = arguments["id"], self.name
        if progress:
            meta["progressToken"] = arguments["id"]
        return {"name": name, "arguments": arguments, "_meta": meta, **more}

    async def result(self, method: str, params: Object, *, again: bool = True) -> Object:
        """Send a request and return its result.

        Raises:
            Wrong: It was answered with an error.
        """
        answer = await self.ask(method, params, again=again)
        if "result" not in answer:
            raise Wrong(f"{method} of {params.get('name') or params.get('taskId')}: {answer}")
        return answer["result"]

    async def tool(self, params: Object, *, again: bool = True) -> Object:
        """Call a tool and return its result; where that is a handle, what it leads to."""
        return await self.followed(await self.result("tools/call", params, again=again))

    async def followed(self, result: Object) -> Object:
        """Return what a result leads to where it is a handle."""
        while (run_id := handle_of(result)) is not None:
            if result["_meta"]["llmspell/status"] == "input_required":
                return result
            self.storm.seen["handles"] += 1
            follow = {"name": "run_result", "arguments": {"run_id": run_id, "wait": 2}}
            result = await self.result("tools/call", {**follow, "_meta": self.meta()})
        return result

    async def live(self) -> None:
        """Call until nothing is left to be called."""
        acts = self.acts()
        while self.storm.take():
            [act] = self.chance.choices([act for act, _ in acts], [weight for _, weight in acts])
            async with self.storm.call(f"{act.__name__} {self.name}"):
                await act()

    def acts(self) -> list[tuple[Any, int]]:
        """Return what it does, each with how often."""
        common: list[tuple[Any, int]] = [
            (self.plain, 50),
            (self.gives_up, 12),
            (self.cancels, 4),
            (self.lists, 4),
        ]
        if self.is_modern:
            common += [(self.task, 10), (self.task_asks, 4), (self.answers, 10), (self.abandons, 2)]
        return common

    # -- what it does

    async def plain(self) -> None:
        """Call anything and look at the answer."""
        name, arguments = self.storm.request()
        key, progress = self.chance.random() < 0.5, self.chance.random() < 0.4
        params = self.called(name, arguments, key=key, progress=progress)
        self.storm.check(name, arguments, await self.tool(params, again=key))

    async def lists(self) -> None:
        """Ask for what there is."""
        found = await self.result("tools/list", {"_meta": self.meta()})
        if not {"echo", "slow"} <= {tool["name"] for tool in found["tools"]}:
            raise Wrong(f"{found}")

    async def gives_up(self) -> None:
        """Begin a call that takes very long, and cancel it."""
        progress = self.chance.random() < 0.5
        params = self.called("slow", self.storm.doomed(), key=True, progress=progress)
        await self.give_up("tools/call", params)

    async def cancels(self) -> None:
        """Be given a handle of a run, and stop that."""
        doomed = self.storm.doomed()
        params = self.called("slow", doomed, key=True)
        params["_meta"]["llmspell/wait"] = self.chance.choice((0, 0.1, 0.6))
        self.storm.unsure(doomed["id"])
        result = await self.result("tools/call", params)
        run_id = handle_of(result)
        if run_id is None:
            raise Wrong(f"{result}")
        stop = {"name": "run_cancel", "arguments": {"run_id": run_id}, "_meta": self.meta()}
        status = (await self.result("tools/call", stop))["structuredContent"]["status"]
        if status != "canceled":
            raise Wrong(f"run_cancel says {status!r}")
        self.storm.sure(doomed["id"])

    async def task(self) -> None:
        """Be given a task, and follow it, cancel it or forget it."""
        end = self.chance.choice(("follow", "follow", "cancel", "forget"))
        name = self.chance.choice(("slow_task", "slow"))
        arguments: Object = self.storm.doomed()
        if end != "cancel":
            arguments = {"id": self.storm.new_id("task"), "seconds": self.storm.seconds()}
        else:
            self.storm.unsure(arguments["id"])
        task = await self.result("tools/call", self.called(name, arguments, key=True, tasks=True))
        if task.get("resultType") != "task":
            if end == "cancel" or name == "slow_task":
                raise Wrong(f"no task: {task}")
            self.storm.check(name, arguments, task)
            return
        asked: Object = {"taskId": task["taskId"], "_meta": self.meta(tasks=True)}
        if end == "forget":
            return
        if end == "cancel":
            await self.result("tasks/cancel", asked)
            task = await self._settled(asked)
            if task["status"] != "cancelled":
                raise Wrong(f"{task}")
            self.storm.sure(arguments["id"])
            return
        task = await self._settled(asked)
        if task["status"] != "completed":
            raise Wrong(f"{task}")
        self.storm.check(name, arguments, task["result"])

    async def _settled(self, asked: Object, *, until: str = "") -> Object:
        while True:
            task = await self.result("tasks/get", asked)
            if task["status"] not in ("working", "input_required") or task["status"] == until:
                return task
            await asyncio.sleep(POLL_SECONDS)

    async def task_asks(self) -> None:
        """Be given a task that asks, and answer it."""
        arguments = {"id": self.storm.new_id("asks")}
        task = await self.result(
            "tools/call", self.called("asks_task", arguments, key=True, tasks=True)
        )
        asked: Object = {"taskId": task["taskId"], "_meta": self.meta(tasks=True)}
        task = await self._settled(asked, until="input_required")
        if task["status"] != "input_required":
            raise Wrong(f"{task}")
        if self.chance.random() < 0.2:
            return
        given = {name: accept() for name in task["inputRequests"]}
        await self.result("tasks/update", {**asked, "inputResponses": given})
        task = await self._settled(asked)
        if task["status"] != "completed":
            raise Wrong(f"{task}")
        self.storm.check("asks", arguments, task["result"])

    async def answers(self) -> None:
        """Call what asks, and answer in a second round."""
        arguments = {"id": self.storm.new_id("asks")}
        params = self.called("asks", arguments, key=True)
        result = await self.result("tools/call", params)
        if result.get("resultType") != "input_required":
            raise Wrong(f"{result}")
        given = {name: accept() for name in result["inputRequests"]}
        more = {"requestState": result["requestState"], "inputResponses": given}
        rounds = self.chance.choice((1, 1, 2))
        for result in await asyncio.gather(*(self.tool({**params, **more}) for _ in range(rounds))):
            self.storm.check("asks", arguments, result)

    async def abandons(self) -> None:
        """Call what asks, and never answer."""
        arguments = {"id": self.storm.new_id("asks")}
        await self.result("tools/call", self.called("asks", arguments, key=True))


def accept() -> Object:
    """Return the answer of a person."""
    return {"action": "accept", "content": {"ok": True}}


__all__ = ["Client", "Lost", "accept", "text_of"]
