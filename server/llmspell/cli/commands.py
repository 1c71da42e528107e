"""The group of commands: names that other programs have, and misuse told in our form.

The library that parses a command line has texts of its own for what it does not understand, without
a code. Here they become a `UsageError`, so that every error of a command looks the same.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol, cast

import typer
from typer.core import TyperGroup

from llmspell.errors import UsageError

MEANT = {
    "cast": "run",
    "eval": "exec",
    "list": "spells",
    "logs": "runs watch",
    "ls": "spells",
    "new": "init",
    "start": "serve",
    "status": "info",
}
"""What commands of these names are called here."""

_EXTRA = "unexpected extra argument"
_HINTS = {
    ("llmspell run", _EXTRA): "the input is given with --input or --arg KEY=VALUE",
    ("llmspell exec", _EXTRA): "a piece of Lua is one argument: put it in quotes",
    ("llmspell spells", "command 'list'"): "'llmspell spells' lists them",
}
"""What was meant by a mistake many make: by the command, and what the library says of it."""

# The library names only this one of its errors; the class above it is any misuse of a command.
_MISUSE = cast("type[Exception]", typer.BadParameter.__base__)


class _Misuse(Protocol):
    """What the library raises for a command line that it does not understand."""

    ctx: Any

    def format_message(self) -> str: ...


class Commands(TyperGroup):
    """The commands, with what was meant by names that other programs have."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that arguments begin with, as the library wants it.

        Raises:
            UsageError: It has another name here.
        """
        meant = MEANT.get(args[0]) if args else None
        if meant is not None:
            raise UsageError(f"no command {args[0]!r}", hint=f"did you mean 'llmspell {meant}'?")
        return super().resolve_command(ctx, args)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the global options, as the library wants it.

        Raises:
            UsageError: One of them is not understood.
        """
        try:
            return super().make_context(*arguments, **options)
        except _MISUSE as error:
            _refuse(error)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, as the library wants it.

        Raises:
            UsageError: Its command line is not understood.
        """
        try:
            return super().invoke(ctx)
        except _MISUSE as error:
            _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    """Raise a misuse in our form; what only shows the help of a group is left as it is."""
    misuse = cast(_Misuse, error)
    message = misuse.format_message()
    if misuse.ctx is None or message.startswith("Usage: "):
        raise error
    path: str = misuse.ctx.command_path
    usage: str = misuse.ctx.get_usage().removeprefix("Usage: ")
    meant = (hint for (of, said), hint in _HINTS.items() if of == path and said in message)
    raise UsageError(
        message[:1].lower() + message[1:].rstrip("."),
        hint=f"{next(meant, usage)}; see '{path} --help'",
    ) from None
