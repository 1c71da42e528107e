"""What a script runs in, and who hands that out: the contract of `pool` and `lua.inline`."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeVar

from llmspell.errors import LimitBusy
from llmspell.runtime.engine import ScriptLimits
from llmspell.values import Object

Domain: TypeAlias = tuple[str, str, str]
"""Tenant, principal and program version: whose code and data a worker has seen."""


class Worker(Protocol):
    """Serves one script at a time, one exchange at a time."""

    @property
    def script_cpu_seconds(self) -> float:
        """CPU time of the script it serves, up to its last reply."""
        ...

    def begin(
        self, limits: ScriptLimits, name: str, program: bytes, *, hook_seconds: float = 0.0
    ) -> None:
        """Give the worker to a script of the file `name`. Comes before its first exchange.

        Args:
            program: The frame with its sources.
            hook_seconds: When the count hook is to end a slice and say where it was; 0 = never.
                `wire.LINE_HOOK` notes lines instead.
        """
        ...

    async def exchange(self, frame: bytes) -> bytes:
        """Send a frame and return the reply. After any failure the worker is gone.

        Raises:
            LimitBusy: There is no room for the process it was to be.
            LimitWallClock: The script did not give way in time.
            OutputTooLarge: The reply is larger than allowed.
            WorkerDied: The worker ended.
        """
        ...

    def close(self) -> None:
        """End the worker. Closing twice is no error."""
        ...


def busy(message: str, *, limit: str = "") -> LimitBusy:
    """Return the error of who finds no room; `limit` is the setting that allows no more."""
    data: Object = {"retry_after": 1}
    return LimitBusy(message, data={**data, "limit": limit} if limit else data)


def closed() -> LimitBusy:
    """Return the error of who comes when everything has been ended."""
    return LimitBusy("the script engine is closed", hint="")


WorkerT = TypeVar("WorkerT", bound=Worker)


class Workers(Protocol[WorkerT]):
    """Hands out workers. Belongs to the event loop it is first used in."""

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers, where they are processes."""
        ...

    async def warm_up(self) -> None:
        """Return once what is to be kept ready is ready."""
        ...

    def reserve(self) -> bool:
        """Set room for a new script's worker aside, if there is any."""
        ...

    def unreserve(self) -> None:
        """Give up what `reserve` set aside."""
        ...

    def acquire(
        self, domain: Domain | None, limits: ScriptLimits, *, is_reserved: bool = False
    ) -> WorkerT:
        """Return a worker for a script of `domain`; None is a domain of its own.

        Raises:
            LimitBusy: As many workers as allowed are in use, all are closed, or there is no room
                for a further process.
        """
        ...

    def release(self, worker: WorkerT, *, is_clean: bool) -> None:
        """Take a worker back.

        Args:
            is_clean: Whether its script ended with nothing under way.
        """
        ...

    async def close(self) -> None:
        """End every worker. Closing twice is no error."""
        ...
