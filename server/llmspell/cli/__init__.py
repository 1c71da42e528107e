"""The command `llmspell`: what it is asked decides what is imported.

`--version` and `stdio` answer from the standard library, because a client waits
for them; everything else goes to the Typer application in `app`.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

GLOBAL_OPTIONS = ("--project", "--config", "--state", "--log-level", "--log-format")
"""Options of every command; each takes a value and may stand before or after the command."""

OWN_OPTIONS = {(("runs", "list"), "--state")}
"""Options of a command that are called as a global one is: `runs list --state failed`."""


def hoist(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into its global options and the rest, wherever they stand.

    What follows `--` is left alone. An option that lacks its value stays in the
    rest, for the parser to complain about; so does one that behind its command
    means something else (`OWN_OPTIONS`).
    """
    options: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            rest += arguments[position:]
            break
        name, equals, value = argument.partition("=")
        if (tuple(rest[:2]), name) in OWN_OPTIONS:
            rest.append(argument)
        elif name in GLOBAL_OPTIONS and equals:
            options += [name, value]
        elif name in GLOBAL_OPTIONS and position + 1 < len(arguments):
            position += 1
            options += [name, arguments[position]]
        else:
            rest.append(argument)
        position += 1
    return options, rest


def _bundle(rest: list[str]) -> str | None:
    """Return whose bridge a command line means ("" = everything's); None when it means none."""
    match rest:
        case ["stdio"]:
            return ""
        case ["stdio", "--bundle", name] if name and not name.startswith("-"):
            return name
        case ["stdio", named] if named.startswith("--bundle=") and named != "--bundle=":
            return named.removeprefix("--bundle=")
        case _:
            return None


def _bridge(given: dict[str, str], bundle: str) -> int:
    from llmspell.bridge.meeting import Address
    from llmspell.bridge.stdio import main

    project, state = given.pop("--project", None), given.pop("--state", None)
    if "--config" in given:
        given["--config"] = os.path.abspath(given["--config"])
    passed = [part for option in given.items() for part in option]
    return main(Address.find(project, state, passed), bundle)


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    try:
        _main()
    except KeyboardInterrupt:  # while the command was still being loaded
        sys.exit(130)


def _main() -> NoReturn:
    options, rest = hoist(sys.argv[1:])
    if rest == ["--version"]:
        from llmspell import __version__

        print(f"llmspell {__version__}")
        sys.exit(0)
    given = dict(zip(options[::2], options[1::2], strict=True))
    bundle = _bundle(rest)
    if bundle is not None:
        sys.exit(_bridge(given, bundle))
    if rest[:1] == ["own"]:
        from llmspell.cli.own import main as own

        sys.exit(own(given, rest[1:]))
    from llmspell.cli.app import run

    sys.exit(run([*options, *rest]))
