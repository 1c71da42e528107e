"""`llmspell repl`: an interactive cell of Lua, at the owner's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import INTERRUPTED
from llmspell.errors import LlmspellError, SpecSyntax
from llmspell.values import Object, dumps

if TYPE_CHECKING:
    from llmspell.host.remote import RemoteHost

GREETING = """\
Lua, as in a spell. Expressions are shown; globals stay until the end, locals until the end of a \
line.
Ctrl-D ends."""

HISTORY_LINES = 1000


def repl(context: typer.Context) -> None:
    """Evaluate Lua line by line, with every effect a spell has.

    Reads stdin; the exit status is then 1 when a line failed. Each line is a run of its own.
    """
    place = place_of(context)
    with asyncio.Runner() as runner:
        try:
            host = runner.run(place.attach())
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        try:
            session = _Session(lambda text: runner.run(_evaluate(host, text)))
            if sys.stdin.isatty():
                with _line_editing(place):
                    session.talk()
            else:
                session.read()
        finally:
            runner.run(host.close())
    if session.has_failed and not sys.stdin.isatty():
        raise typer.Exit(1)


async def _evaluate(host: RemoteHost, text: str) -> Object:
    return await host.call("cell.evaluate", text=text)


class _Session:
    """Collects lines until they are Lua, has them evaluated and shows what came of it.

    Args:
        evaluate: Returns `Evaluated` of the cell, as JSON.
    """

    def __init__(self, evaluate: Callable[[str], Object]) -> None:
        self._evaluate = evaluate
        self._lines: list[str] = []
        self._number = 1
        self.has_failed = False

    def talk(self) -> None:
        """Prompt for lines until Ctrl-D."""
        print(GREETING)
        while True:
            try:
                prompt = f"{self._number}> "
                line = input("." * (len(prompt) - 1) + " " if self._lines else prompt)
                # An empty line ends what would go on for ever.
                self._take(line, is_last=not line)
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                self._lines = []
                print("\ninterrupted")

    def read(self) -> None:
        """Take the lines of stdin."""
        for line in sys.stdin:
            self._take(line.removesuffix("\n"))
        if self._lines:
            self._take("", is_last=True)

    def _take(self, line: str, *, is_last: bool = False) -> None:
        self._lines.append(line)
        text = "\n".join(self._lines)
        if not text.strip():
            self._lines = []
            return
        evaluated = self._evaluate(text)
        if evaluated["incomplete"] and not is_last:
            return
        self._lines = []
        self._number = int(evaluated["line"])
        self._show(evaluated, text)

    def _show(self, evaluated: Object, text: str) -> None:
        from llmspell.authoring.syntax_hints import syntax_hint
        from llmspell.cli.outputs import say

        for entry in evaluated["log"]:
            _show_log(entry)
        if evaluated["text"]:
            print(evaluated["text"], flush=True)
        error: Any = evaluated["error"]
        if error is not None and error["code"] == SpecSyntax.code:
            line = "" if "\n" in text else text
            error = {**error, "hint": syntax_hint(str(error["message"]), line)}
        if evaluated["incomplete"]:
            error = {"code": "spec.syntax", "message": "the text ends in the middle of something"}
        if error is not None:
            self.has_failed = True
            say(LlmspellError.from_value(error).report())


def _show_log(entry: Object) -> None:
    """Show what a line logged: `print` as it is, the rest with its level on stderr."""
    text = str(entry.get("message", ""))
    fields: dict[str, Any] = entry.get("fields") or {}
    text += "".join(f" {name}={dumps(value)}" for name, value in fields.items())
    level = entry.get("level", "info")
    if level == "info":
        print(text, flush=True)
    else:
        print(f"{level}: {text}", file=sys.stderr, flush=True)


@contextmanager
def _line_editing(place: Place) -> Generator[None]:
    """Bring history and completion of the API's names, where the platform has readline."""
    try:
        import readline
    except ImportError:  # a Python without it still reads lines
        yield
        return
    history = Path(place.address().state) / "repl_history"
    if history.exists():
        readline.read_history_file(history)
    readline.set_history_length(HISTORY_LINES)
    readline.set_completer_delims(" \t\n()[]{},;=+-*/%^#<>~\"'")
    readline.set_completer(_Completer())
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        history.touch(mode=0o600)
        readline.write_history_file(history)


class _Completer:
    """Completes the names of the API, for readline."""

    def __init__(self) -> None:
        from llmspell.authoring import vocabulary

        known = vocabulary.of_spells()
        paths = {f"{table}.{name}" for table, held in known.members.items() for name in held}
        self._names = sorted(known.globals | paths)

    def __call__(self, text: str, state: int) -> str | None:
        plain = text.replace(":", ".")
        found = [
            text + name[len(text) :]
            for name in self._names
            if name.startswith(plain) and "." not in name[len(text) :]
        ]
        return found[state] if state < len(found) else None
