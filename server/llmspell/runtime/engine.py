"""The engine interface: two methods that a script language must offer.

An engine knows nothing of spells, runs or stores. It loads a program (its top
level runs once, every effect refused) and opens a script: one fresh state of
that program, which requests effects and is given their results. Only bytes
cross between a script and this process.

A declaration is what a file's top level returned, as JSON, with these forms:
`{"$kind": "spell"|"agent"|"tool"|"workflow", "$line": 7, ...}` for what a
constructor made, `{"$schema": {...}, "$seq": 3}` for a `Schema.*` value and
`FunctionRef` for a function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import msgspec

from llmspell.values import JSON, FunctionRef, Object

JOURNAL_VERSION = 1
"""Raised whenever the same source could ask for effects in another order or under other keys.

A run is resumed only by an engine of the version it began with, or one that still runs that."""


@dataclass(frozen=True, slots=True)
class Program:
    """The sources one version of a spell consists of."""

    name: str
    """The file as errors name it, e.g. `spells/brief.lua`."""
    source: bytes
    modules: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """What `require` finds, by module name."""
    version: str = ""
    """Content hash over all of the above and the kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLimits:
    """What one script may use."""

    heap_bytes: int = 64 << 20
    slice_seconds: float = 2.0
    """CPU time the script may take before it gives way to an effect or ends."""
    cpu_seconds: float = 60.0
    """CPU time of all its slices together."""
    host_calls: int = 50_000
    """Effects it may ask for."""
    message_bytes: int = 8 << 20
    """Largest frame either way: inputs, outputs and effect arguments."""


class ScriptContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a script may know of its run: `ctx` in Lua, and the seed of `random` and `uuid`."""

    run_id: str = ""
    session: str = ""
    user: str = ""
    tenant: str = ""
    deadline: float | None = None
    """Unix time, or None."""
    now: float = 0.0
    """Unix time at which the run began; `now()` until the first result is delivered."""
    seed: bytes = b""
    message: Object | None = None
    """What the door brought beyond the input."""
    steps: frozenset[str] = frozenset()
    """Keys of the steps that have ended in an earlier process: their values are asked for."""


class Loaded(msgspec.Struct, frozen=True):
    """The top level ran and returned this declaration."""

    declaration: JSON
    names: frozenset[str] = frozenset()
    """Names of spells, agents and tools that the code mentioned on the way, in locals too.

    Empty when a declaration was expected: only what is published grants anything.
    """


class Requested(msgspec.Struct, frozen=True):
    """The script asks for an effect and waits: answer it under `call`."""

    call: int
    task: int
    operation: str
    arguments: JSON
    key: str = ""
    """Where in the run it is asked: the path of the call, `/fork.branch` for each `parallel` it is
    in, `:` and its number in that branch. The same in every run of the same program that was
    given the same results in the same order."""


class Noted(msgspec.Struct, frozen=True):
    """The script tells of an effect and does not wait: it is not answered."""

    task: int
    operation: str
    arguments: JSON
    key: str


class Canceled(msgspec.Struct, frozen=True):
    """The script has no use for a request any more: end the effect, then answer it all the same.

    A branch of `parallel` failed, and it raises that once the requests of the others are answered.
    """

    call: int


class Finished(msgspec.Struct, frozen=True):
    """A task ended. `value` is its result, or an error object when not `ok`."""

    task: int
    ok: bool
    value: JSON


ScriptEvent: TypeAlias = Loaded | Requested | Noted | Canceled | Finished


@dataclass(frozen=True, slots=True)
class Isolation:
    """What stands between a script and the machine."""

    level: Literal["filtered", "limited", "inline"]
    """filtered: processes with a system-call filter; limited: processes with resource limits
    only; inline: threads of the server."""
    lines: tuple[str, ...]
    """The same in words, the warning first."""


class Script(Protocol):
    """One fresh state of a program. Messages are queued, then exchanged in one go.

    `load` or `main` must be the first message. A script is used by one task at a time.
    """

    def load(self, *, expected: JSON = None) -> None:
        """Queue the run of the top level, with every effect refused; answered by `Loaded`.

        With `expected`, a declaration that differs from it ends the script
        with `spec.unstable` before any later message is looked at.
        """
        ...

    def main(self, input: JSON) -> None:
        """Queue the run of the top level as task 0, effects allowed (`llmspell run FILE`).

        Answered by `Finished`, its value `{"returned": ..., "last": ...}`:
        what the file returned, and the result of its last top-level cast.
        """
        ...

    def call(
        self,
        function: FunctionRef,
        arguments: Sequence[JSON],
        *,
        with_context: bool,
        path: str = "",
    ) -> int:
        """Queue a call of a declared function and return its task number.

        `with_context` appends the `ctx` object to the arguments. The keys of
        what it requests begin with `path`.
        """
        ...

    def evaluate(
        self,
        program: Program,
        *,
        path: str = "",
        now: float = 0.0,
    ) -> int:
        """Queue the run of a further text and return its task number; effects are allowed.

        It sees the globals that those before it left. Its result is what it
        returns; its modules are added to those the script knows.
        """
        ...

    def answer(self, call: int, *, ok: bool, value: JSON, now: float) -> None:
        """Queue the answer to a request: its result, or an error object when not `ok`."""
        ...

    async def exchange(self) -> Sequence[ScriptEvent]:
        """Send what is queued, let the script run until it waits, and return what it said.

        The first exchange of a script waits until there is room for it, and any exchange
        until fewer scripts compute than may at the same time.

        Raises:
            SpecError: The top level failed (syntax, an effect, an unstable declaration).
            LimitBusy: Too many scripts wait, or no worker may be added.
            LimitError: A limit was hit. The script is gone.
        """
        ...

    async def close(self) -> None:
        """End the script and free its worker. Closing twice is no error."""
        ...


class Engine(Protocol):
    """A script language."""

    language: str
    suffix: str
    """File suffix, with the dot."""
    version: str
    """Changes whenever the same source could behave differently; part of every spell version."""
    journal_version: int
    """Changes whenever the same source could ask for effects otherwise; part of every journal."""

    async def load(self, program: Program, limits: ScriptLimits) -> Loaded:
        """Return what a program declares.

        Raises:
            SpecError: With `where` set to the author's file and line.
            LimitError: The top level hit a limit.
        """
        ...

    async def open(
        self,
        program: Program,
        limits: ScriptLimits,
        context: ScriptContext,
        *,
        is_child: bool = False,
    ) -> Script:
        """Return a fresh script of the program; nothing of it has run yet.

        Args:
            is_child: Whether a script under way waits for it: it is then never queued behind
                scripts that have not begun.

        Raises:
            LimitBusy: The engine is closed.
        """
        ...

    def isolation(self) -> Isolation:
        """Return what stands between a script and the machine. Starts nothing."""
        ...

    async def close(self) -> None:
        """End every worker. Closing twice is no error."""
        ...
