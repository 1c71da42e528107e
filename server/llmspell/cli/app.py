"""The command line: its global options, its commands, and how errors reach a person.

A command is a function in a module of its own. What it needs beyond this
package it imports when it runs, so that `--help` stays quick.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Any

import typer

from llmspell.cli.call import call
from llmspell.cli.check import check
from llmspell.cli.commands import Commands
from llmspell.cli.demo import demo
from llmspell.cli.doctor import doctor
from llmspell.cli.exec import exec_
from llmspell.cli.info import info
from llmspell.cli.init import init
from llmspell.cli.install import install
from llmspell.cli.keys import app as keys_app
from llmspell.cli.mcpb import mcpb
from llmspell.cli.place import Place
from llmspell.cli.repl import repl
from llmspell.cli.run import run as run_command
from llmspell.cli.runs import app as runs_app
from llmspell.cli.serve import serve
from llmspell.cli.spells import app as spells_app
from llmspell.cli.state import app as state_app
from llmspell.cli.stdio import stdio
from llmspell.cli.stop import stop
from llmspell.cli.streams import WRITE_ERRORS, drop_stdout, prepare_stdout, refuse_unreadable
from llmspell.cli.test import spell_tests
from llmspell.cli.uninstall import uninstall
from llmspell.errors import LlmspellError, UsageError

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

app = typer.Typer(
    name="llmspell",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from llmspell import __version__

        typer.echo(f"llmspell {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    project: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The project; else LLMSPELL_PROJECT, the nearest llmspell.toml upwards, "
            "the user's data directory.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Settings read instead of the project's llmspell.toml."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The state directory; else LLMSPELL_STATE, .llmspell in the project.",
        ),
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Least level logged by the owner this command starts or is: debug, info, "
            "warning, error.",
        ),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Form of that log: text or json.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Publish small Lua spells as MCP tools and A2A agents.

    Global options may stand before or after the command.
    """
    # An owner that lives would not notice, so what it can't be told is refused here.
    if log_level not in (None, *LOG_LEVELS):
        raise UsageError(f"no log level {log_level!r}", hint=f"levels: {', '.join(LOG_LEVELS)}")
    if log_format not in (None, *LOG_FORMATS):
        raise UsageError(f"no log format {log_format!r}", hint=f"formats: {', '.join(LOG_FORMATS)}")
    if config is not None and not os.path.isfile(config):
        raise UsageError(f"no settings file {config!r}", hint="--config names a TOML file")
    context.obj = Place(project, state, config, log_level, log_format)


_COMMANDS: tuple[tuple[str, Any], ...] = (
    ("init", init),
    ("run", run_command),
    ("exec", exec_),
    ("repl", repl),
    ("check", check),
    ("test", spell_tests),
    ("serve", serve),
    ("stdio", stdio),
    ("call", call),
    ("info", info),
    ("install", install),
    ("uninstall", uninstall),
    ("mcpb", mcpb),
    ("stop", stop),
    ("doctor", doctor),
    ("demo", demo),
)

for _name, _command in _COMMANDS:
    app.command(_name)(_command)
app.add_typer(spells_app, name="spells")
app.add_typer(runs_app, name="runs")
app.add_typer(state_app, name="state")
app.add_typer(keys_app, name="keys")


def run(arguments: list[str]) -> int:
    """Run a command line and return the exit status.

    Errors go to stderr, in one form. Who asked for JSON gets them on stdout too, as
    `{"error": ...}`.
    """
    # A command says itself what it found; what is logged belongs into the log of an owner.
    logging.getLogger("llmspell").addHandler(logging.NullHandler())
    prepare_stdout()
    try:
        try:
            refuse_unreadable(arguments)
            status = _status(arguments)
        except LlmspellError as error:
            status = _told(error, as_json=_wants_json(arguments))
        if sys.stdout is not None:  # it was closed by whoever started this
            sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, as `head` has
        drop_stdout()
        return 1
    except OSError as error:
        if error.errno not in WRITE_ERRORS:
            raise
        print(f"the output could not be written: {error.strerror}", file=sys.stderr)
        drop_stdout()
        return 1
    return status


def _wants_json(arguments: list[str]) -> bool:
    """Return whether a command line asks for JSON, be it understood or not."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


def _told(error: LlmspellError, *, as_json: bool) -> int:
    """Tell a person, and a program that asked for JSON, what is wrong; return the exit status."""
    print(error.report(), file=sys.stderr)
    if as_json:
        from llmspell.values import dumps

        print(dumps({"error": error.to_value()}))
    return 2 if isinstance(error, UsageError) else 1


def _status(arguments: list[str]) -> int:
    try:
        app(arguments, prog_name="llmspell", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
