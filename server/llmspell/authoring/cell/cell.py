"""A cell: evaluates chunks of Lua that see each other's globals, as casts of the person at hand.

Each chunk is a run of its own, in one Lua state. A chunk that was ended (a limit, Ctrl-C) leaves no
trace: the state is made again without it.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from llmspell.authoring.cell.state import CellState
from llmspell.authoring.frames import place
from llmspell.errors import LlmspellError, SpecSyntax, UsageError
from llmspell.host.host import Host
from llmspell.runs.castable import make_castable
from llmspell.runs.casting import Casting
from llmspell.runs.live import LiveRun
from llmspell.runs.record import Outcome, Run, new_run_id
from llmspell.runtime.engine import Program
from llmspell.security.principals import Caller, local_caller
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.origin import Origin
from llmspell.values import JSON, Object

NAME = "repl"
"""What errors and records call a cell."""

_LIBRARY = "llmspell.cell"
_LIBRARY_FILE = Path(__file__).parent / "library.lua"
_BEFORE = f'return require "{_LIBRARY}"(function() '
_AFTER = "\nend)"


@dataclass(slots=True)
class Evaluated:
    """What became of a chunk."""

    text: str = ""
    """Its values, as shown to a person; "" when it has none."""
    log: list[Object] = field(default_factory=list[Object])
    """What it wrote to the log: `{level, message, fields?}`."""
    error: LlmspellError | None = None
    is_incomplete: bool = False
    """Whether more lines are needed before it is Lua. Nothing was run."""
    line: int = 1
    """Number that the first line of the next chunk has in errors."""

    def to_value(self) -> Object:
        """Return it as a JSON object."""
        return {
            "text": self.text,
            "log": self.log,
            "error": self.error.to_value() if self.error else None,
            "incomplete": self.is_incomplete,
            "line": self.line,
        }


class Cell:
    """Evaluates chunks against a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        first = Program(NAME, b"return {}", {_LIBRARY: _LIBRARY_FILE.read_bytes()})
        self._state = CellState(host.engine, host.services.clock, first)
        self._lock = asyncio.Lock()
        self.line = 1
        """Number of the first line of the next chunk."""

    async def evaluate(self, text: str) -> Evaluated:
        """Run a chunk: an expression, whose values are shown, or statements."""
        async with self._lock:
            try:
                chunk = await self._read(text)
            except LlmspellError as error:
                return Evaluated(error=error, line=self.line)
            if chunk is None:
                return Evaluated(is_incomplete=True, line=self.line)
            return await self._run(chunk)

    async def _read(self, text: str) -> str | None:
        """Return a text as a chunk that Lua takes; None when it goes on.

        Raises:
            SpecSyntax: It is no Lua.
        """
        expression = await self._problem(f"return {text}")
        if expression is None:
            return f"return {text}"
        statement = await self._problem(text)
        if statement is None:
            return text
        if self._goes_on(text, expression) or self._goes_on(text, statement):
            return None
        last = self.line + text.count("\n")
        if statement.where == f"{NAME}:{last + 1}":  # where the `end` of ours stands
            statement.where = f"{NAME}:{last}"
        raise statement

    async def _problem(self, chunk: str) -> SpecSyntax | None:
        """Return what Lua has against a chunk, which is compiled and not run."""
        source = "\n" * (self.line - 1) + f"return function() {chunk}\nend"
        try:
            await self._host.engine.load(
                Program(NAME, source.encode()), self._host.services.script_limits
            )
        except SpecSyntax as error:
            return error
        return None

    def _goes_on(self, text: str, problem: SpecSyntax) -> bool:
        # Lua stumbled over the `end` that closes the function, behind everything that was typed.
        after = self.line + text.count("\n") + 1
        if "unfinished long" in problem.message:
            return True
        return problem.where == f"{NAME}:{after}" and not problem.message.startswith("<eof>")

    async def _run(self, chunk: str) -> Evaluated:
        services = self._host.services
        program = self._program(chunk)
        castable = make_castable(
            SpellSpec(name=NAME),
            Origin(NAME, program.source.decode()),
            self._state,
            program=program,
            unrestricted=True,
        )
        caller = local_caller("cli")
        live = self._new_run(chunk, caller)
        journal = services.journal(live.run.id)
        outcome = await Casting(services, live, castable, None, caller, journal=journal).run()
        log = [event.data async for event in live.log.read() if event.kind == "log"]
        error = LlmspellError.from_value(outcome.error) if outcome.error else None
        if error is not None:
            place(error, _LIBRARY)
            # The last two frames are the chunk as a whole and what it was put into.
            frames = (error.traceback or "").splitlines()[:-2]
            error.traceback = "\n".join(frames) or None
        if self._state.has_ended:
            self.line += chunk.count("\n") + 1
        return Evaluated(_text(outcome), log, error, line=self.line)

    def _program(self, chunk: str) -> Program:
        source = "\n" * (self.line - 1) + _BEFORE + chunk + _AFTER
        return self._host.book.program_of(NAME, source.encode())

    async def close(self) -> None:
        """Let the state go."""
        await self._state.close()

    def _new_run(self, chunk: str, caller: Caller) -> LiveRun:
        services = self._host.services
        now = services.clock.time()
        run = Run(
            id=new_run_id(now),
            tenant=caller.tenant,
            principal=caller.principal,
            session=caller.session,
            spell=NAME,
            door=caller.door,
            source=True,
            seconds=services.limits.cast_seconds,
            input={"chunk": chunk},
            created_at=now,
            updated_at=now,
        )
        return LiveRun(run, services.archive, services.clock)


class Cells:
    """The cells of an owner: one for each control connection that evaluates something.

    Args:
        host: What the chunks are cast by.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._cells: WeakKeyDictionary[AsyncExitStack, Cell] = WeakKeyDictionary()

    async def evaluate(self, params: Object, until: AsyncExitStack) -> JSON:
        """`cell.evaluate`: takes `text`, returns `Evaluated` as JSON.

        Raises:
            UsageError: There is no text.
        """
        text = params.get("text")
        if not isinstance(text, str) or set(params) != {"text"}:
            raise UsageError("cell.evaluate: takes a text", hint="")
        cell = self._cells.get(until)
        if cell is None:
            cell = self._cells[until] = Cell(self._host)
            until.push_async_callback(cell.close)
        return (await cell.evaluate(text)).to_value()


def _text(outcome: Outcome) -> str:
    return outcome.output if isinstance(outcome.output, str) else ""
