"""Clients that ask without pause while their owner is killed, and keep account of every answer."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from tests.support.mcp import ENVELOPE, MODERN
from tests.support.owners import BridgeClient, OwnedProject

COUNT = """
return Spell.create {
  name = "count",
  input = { by = Schema.string "Who counts", request = Schema.string { default = "" } },
  run = function(input)
    return tostring(State.transaction(function()
      local done = "done/" .. input.request
      if input.request ~= "" and State.shared:get(done) then return State.shared:get(done) end
      local n = State.shared:get("by/" .. input.by, 0) + 1
      State.shared:set("by/" .. input.by, n)
      State.shared:set("total", State.shared:get("total", 0) + 1)
      if input.request ~= "" then State.shared:set(done, n) end
      return n
    end, { attempts = 1000 }))
  end,
}
"""
"""Counts, and for one request once."""

WORK = """
local writer = Agent.create { name = "writer", model = "scripted/echo" }
return Spell.create {
  name = "work",
  input = { by = Schema.string "Who works" },
  needs = { tools = { "count" } },
  run = function(input)
    State.shared:increment("work/begun")
    local said = writer:ask("a line of " .. input.by)
    local n = Spell.get("count"):cast { by = input.by }
    assert(said:find("a line of " .. input.by, 1, true), said)
    State.shared:increment("work/ended")
    return n
  end,
}
"""
"""Asks a model, and casts a child that counts."""

REST = """
return Spell.create {
  name = "rest",
  input = {},
  run = function()
    State.shared:increment("rest/begun")
    sleep(6)
    return tostring(State.shared:increment("rest/ended"))
  end,
}
"""
"""Is parked for a while."""

TICK = """
return Spell.create {
  name = "tick",
  schedule = { every = "1s", missed = "all", overlap = "queue" },
  run = function() return State.shared:increment "ticks" end,
}
"""

TOTALS = """
return Spell.create {
  name = "totals",
  input = {},
  run = function()
    local found, sum = {}, 0
    for _, item in ipairs((State.shared:scan("", { limit = 1000 }))) do
      if not item.key:find("^done/") then found[item.key] = item.value end
      if item.key:find("^by/") then sum = sum + item.value end
    end
    found.sum = sum
    return found
  end,
}
"""

SPELLS = {"count": COUNT, "work": WORK, "rest": REST, "tick": TICK, "totals": TOTALS}


@dataclass
class Account:
    """What a client was told."""

    by: str
    counted: int = 0
    """Answers to `count` and `work`, each of which counts once."""
    worked: int = 0
    rested: int = 0
    times: list[float] = field(default_factory=list[float])
    """When answers came, in monotonic seconds."""


class Bridged:
    """A client at a bridge of its own: one request after the other, and a long one beside them.

    Every answer must be to a request that has none yet, and be right.
    """

    def __init__(self, client: BridgeClient, by: str, seed: int) -> None:
        self.account = Account(by)
        self._client = client
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._open: dict[int, str] = {}

    def run(self, over: threading.Event) -> Account:
        """Ask until it is over, then wait for what is open."""
        self._client.initialize()
        resting = self._ask("rest")
        while not over.is_set():
            if resting not in self._open:
                resting = self._ask("rest")
            self._until(self._ask(self._random.choice(("count", "count", "work"))))
        while self._open:
            self._take()
        # Whatever came twice would come before this.
        last = self._ask("count")
        self._until(last)
        return self.account

    def _ask(self, name: str) -> int:
        number = next(self._numbers)
        self._open[number] = name
        arguments = {} if name == "rest" else {"by": self.account.by}
        self._client.send("tools/call", {"name": name, "arguments": arguments}, number)
        return number

    def _until(self, number: int) -> None:
        while number in self._open:
            self._take()

    def _take(self) -> None:
        message = self._client.answer_to_any()
        self.account.times.append(time.monotonic())
        name = self._open.pop(message["id"])
        result = message["result"]
        assert not result.get("isError"), result
        if name == "rest":
            self.account.rested += 1
            return
        self.account.counted += 1
        self.account.worked += name == "work"
        text = result["content"][0]["text"]
        # One after the other: each counts one further than the one before, or was done twice.
        assert text == str(self.account.counted), (name, text, self.account)


class Served:
    """`llmspell serve`, started again whenever its owner has died, and a client at it."""

    def __init__(self, project: OwnedProject, port: int) -> None:
        self.account = Account("http")
        self._project = project
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self, over: threading.Event) -> None:
        """Serve until it is over."""
        while not over.is_set():
            with self._project.start_anew("serve", "--port", str(self._port)) as process:
                self._process = process
                while process.poll() is None and not over.is_set():
                    over.wait(0.02)
                process.terminate()
                process.communicate()

    def run(self, over: threading.Event, served: threading.Event) -> Account:
        """Ask until it is over; what was not answered is asked again, under the same name."""
        while not over.is_set():
            request = f"r{self.account.counted + 1}"
            text = None
            while text is None and not served.is_set():
                text = self._post({"by": "http", "request": request})
                if text is None:
                    served.wait(0.02)
            if text is None:
                break
            self.account.counted += 1
            self.account.times.append(time.monotonic())
            assert text == str(self.account.counted), (text, self.account)
        return self.account

    def _post(self, arguments: dict[str, Any]) -> str | None:
        """Return the answer, or None where none came: whether it was done is not known then."""
        path = self._project.state / "token"
        if not path.exists():
            return None  # never served yet
        token = path.read_text(encoding="utf-8").strip()
        call = {"name": "count", "arguments": arguments, "_meta": ENVELOPE}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/mcp",
            data=json.dumps(message).encode(),
            headers={
                "authorization": f"Bearer {token}",
                "content-type": "application/json",
                "accept": "application/json, text/event-stream",
                "mcp-protocol-version": MODERN,
                "mcp-method": "tools/call",
                "mcp-name": "count",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise AssertionError(error.read().decode()) from error
            return None
        lines = [line.removeprefix("data:") for line in body.splitlines() if "{" in line]
        if not lines:
            return None
        found = json.loads(lines[-1])
        result = found.get("result")
        if result is None or result.get("isError"):
            return None
        return result["content"][0]["text"]
