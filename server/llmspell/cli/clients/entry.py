"""The entry that makes a client start the bridge, and how to know one of ours again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

from llmspell.bridge.meeting import Address
from llmspell.cli import hoist
from llmspell.cli.clients.known import Client
from llmspell.errors import UsageError
from llmspell.values import JSON, Object

NAME = "llmspell"
"""What the server is called in a client."""


def bridge_command(address: Address, *, with_state: bool = False) -> list[str]:
    """Return the command that starts the bridge, by absolute paths: clients have a bare PATH."""
    script = Path(sys.executable).with_name("llmspell")
    if os.access(script, os.X_OK):
        command = [str(script)]
    else:
        command = [sys.executable, "-P", "-m", "llmspell"]
    command += ["--project", str(address.project)]
    if with_state:
        command += ["--state", str(address.state)]
    return [*command, *address.options, "stdio"]


def entry_of(client: Client, command: list[str]) -> Object:
    """Return the entry of a command, in the form a client has them.

    Raises:
        UsageError: A path of the command is not Unicode, as a JSON file must be.
    """
    for part in command:
        try:
            part.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{part!r} is no Unicode text, so no client's file can hold it",
                hint="rename that directory",
            ) from None
    entry: Object = {"type": "stdio"} if client.typed else {}
    return entry | {"command": command[0], "args": command[1:]}


def is_ours(value: JSON) -> bool:
    """Return whether an entry starts the bridge of some llmspell."""
    command, arguments = command_of(value)
    return arguments[-1:] == ["stdio"] and (Path(command).stem == NAME or NAME in arguments)


def command_of(value: JSON) -> tuple[str, list[str]]:
    """Return the command and the arguments of an entry; "" and none when it has no such."""
    if not isinstance(value, dict):
        return "", []
    entry = cast("dict[str, Any]", value)
    command, arguments = entry.get("command"), entry.get("args", [])
    if not isinstance(command, str) or not isinstance(arguments, list):
        return "", []
    return command, [str(part) for part in cast("list[Any]", arguments)]


def project_of(value: JSON) -> str | None:
    """Return the project an entry of ours names; None when it leaves it to its place."""
    options, _ = hoist(command_of(value)[1])
    given = dict(zip(options[::2], options[1::2], strict=True))
    return given.get("--project")
