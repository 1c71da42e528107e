"""A storm of calls, as all its clients see it: what is left to call, what went wrong.

Every call has an id. A spell with an effect counts it under that id, so that at
the end each id says by itself whether its effect was lost or done twice.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.durability.storm.spells import DOOMED_SECONDS
from tests.support.owners import OwnedProject
from tests.support.raw_http import Broken

ANSWER_SECONDS = 45.0
"""What every call is over within, the coming of another owner or two included."""

T = TypeVar("T")


class Wrong(Exception):
    """A client was answered what it must not be."""


class Lost(Exception):
    """A call has no answer, and need not have one: its owner or its bridge was killed."""


@dataclass
class Storm:
    """See the module.

    Args:
        port: Where HTTP is served while it is.
        longest: Seconds that a call sleeps at most, but for the doomed ones.
    """

    project: OwnedProject
    port: int
    chance: random.Random
    longest: float
    left: int = 0
    """Calls that are still to be made."""
    done: int = 0
    epoch: int = 0
    """Grows with every kill of an owner, before it."""
    killing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an owner is killed."""
    calm: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while HTTP is served."""
    seen: Counter[str] = field(default_factory=Counter[str])
    """What happened how often."""
    slowest: float = 0.0
    """Seconds of the longest call in whose time no owner was killed."""
    problems: list[str] = field(default_factory=list[str])
    once: set[str] = field(default_factory=set[str])
    """Calls whose effect was acknowledged."""
    calls: set[str] = field(default_factory=set[str])
    """Calls that may have had an effect."""
    excused: set[str] = field(default_factory=set[str])
    """Calls that may be under way still: whoever was to cancel them was killed."""
    given_up: dict[str, float] = field(default_factory=dict[str, float])
    """When calls were cancelled in a way that nobody acknowledges, in monotonic seconds."""
    killed: list[float] = field(default_factory=list[float])
    """When owners were."""
    deleted: set[str] = field(default_factory=set[str])
    """Sessions that were ended."""
    sessions: set[str] = field(default_factory=set[str])
    """Sessions that were opened."""
    _number: int = 0
    _token: str = ""

    def take(self) -> bool:
        """Take one of the calls that are left; return whether there was one."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True

    def new_id(self, kind: str) -> str:
        """Return an id for a call."""
        self._number += 1
        id = f"{kind}-{self._number}"
        self.calls.add(id)
        return id

    def seconds(self) -> float:
        """Return how long a slow call sleeps."""
        return self.chance.choice((0.05, 0.05, 0.2, 0.5, 1.5, self.longest))

    def request(self) -> tuple[str, dict[str, Any]]:
        """Return a spell to be called with this input, anything but a doomed one."""
        name = self.chance.choice(
            ("echo", "counts", "counts", "works", "works", "slow", "fails", "computes", "floods")
        )
        arguments: dict[str, Any] = {"id": self.new_id(name)}
        if name == "slow":
            arguments["seconds"] = self.seconds()
        return name, arguments

    def doomed(self) -> dict[str, Any]:
        """Return the input of a slow call that will be given up."""
        return {"id": self.new_id("doomed"), "seconds": DOOMED_SECONDS}

    @asynccontextmanager
    async def call(self, what: str) -> AsyncGenerator[None]:
        """Count a call and hold it to its bound; note what goes wrong with it."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield
        except TimeoutError:
            self.problems.append(f"hung: {what}")
        except Lost:
            self.seen["lost with a kill"] += 1
        except Broken as error:
            self.problems.append(f"broken without a kill: {what}: {error}")
        except Wrong as error:
            self.problems.append(f"wrong: {what}: {error}")
        finally:
            self.done += 1
            self.seen[what.partition(" ")[0]] += 1
            took = time.monotonic() - began
            is_disturbed = any(killed > began - 10 for killed in self.killed)
            if not is_disturbed:
                self.slowest = max(self.slowest, took)

    async def attempt(self, send: Callable[[], Awaitable[T]], *, again: bool = True) -> T:
        """Return what `send` does, which speaks HTTP; send again what broke by a kill.

        Raises:
            Lost: A kill broke it, and it is not to be sent again.
            Broken: Nobody was killed.
        """
        while True:
            await self.calm.wait()
            epoch = self.epoch
            try:
                return await send()
            except Broken:
                if self.epoch == epoch:
                    raise
                self.seen["broken by a kill"] += 1
                if not again:
                    raise Lost from None

    def check(self, name: str, arguments: dict[str, Any], result: dict[str, Any]) -> None:
        """Hold the result of a call against what the spell says, and note its effect.

        Raises:
            Wrong: It is another.
        """
        id: str = arguments["id"]
        text = text_of(result)
        if name == "fails":
            if not result.get("isError") or f"no luck for {id}" not in text:
                raise Wrong(f"{result}")
            return
        if result.get("isError"):
            raise Wrong(f"{result}")
        expected = {"echo": id, "computes": id, "floods": id, "works": "1 1"}.get(name, "1")
        if text != expected:
            raise Wrong(f"{expected!r} is said as {text!r}")
        if expected != id:
            self.acknowledged(id)

    def authorization(self) -> dict[str, str]:
        """Return the header that lets in over HTTP."""
        if not self._token:
            self._token = (self.project.state / "token").read_text(encoding="utf-8").strip()
        return {"authorization": f"Bearer {self._token}"}

    def unsure(self, id: str) -> None:
        """Note that a call is under way that will have to be cancelled; see `sure`."""
        self.excused.add(id)

    def sure(self, id: str) -> None:
        """Note that it was acknowledged that a call is cancelled."""
        self.excused.discard(id)

    def acknowledged(self, id: str) -> None:
        """Note that a call was answered that had its effect."""
        self.once.add(id)


def text_of(result: dict[str, Any]) -> str:
    """Return the text of a tool's result."""
    content: list[dict[str, Any]] = result.get("content") or [{}]
    return str(content[0].get("text", ""))


def handle_of(result: dict[str, Any]) -> str | None:
    """Return the run that a result is only the handle of, or None."""
    meta: dict[str, Any] = result.get("_meta") or {}
    return meta["llmspell/run_id"] if "llmspell/status" in meta else None
