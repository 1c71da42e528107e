"""`llmspell install CLIENT --print`: the entry that makes a client start the bridge."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from llmspell.bridge.meeting import Address
from llmspell.cli.place import place_of
from llmspell.errors import UsageError

NAME = "llmspell"
"""What the server is called in a client."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where a client keeps its servers, and in which form."""

    scopes: dict[str, str]
    """The file of each scope; the first is the default. `{home}`, `{project}`, `{config}` stand
    for the home directory, the project and the directory of applications' settings."""
    key: str = "mcpServers"
    typed: bool = False
    """Whether an entry says `"type": "stdio"`."""
    then: str = ""
    """What makes the client read it."""


CLIENTS: dict[str, Client] = {
    "claude-desktop": Client(
        scopes={"user": "{config}/Claude/claude_desktop_config.json"},
        then="quit Claude Desktop and open it again",
    ),
    "claude-code": Client(
        scopes={
            "project": "{project}/.mcp.json",
            "local": "{home}/.claude.json",
            "user": "{home}/.claude.json",
        },
        typed=True,
        then="start a new session of Claude Code",
    ),
    "vscode": Client(
        scopes={
            "project": "{project}/.vscode/mcp.json",
            "user": "{config}/Code/User/mcp.json",
        },
        key="servers",
        typed=True,
        then="press 'Start' above the entry",
    ),
    "cursor": Client(
        scopes={"project": "{project}/.cursor/mcp.json", "user": "{home}/.cursor/mcp.json"},
        then="Cursor reads it at once",
    ),
}


def install(
    context: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help=f"{', '.join(CLIENTS)}.")],
    print_: Annotated[
        bool, typer.Option("--print", help="Print the entry and where it goes; required.")
    ] = False,
    scope: Annotated[
        str | None,
        typer.Option(metavar="SCOPE", help="Where the client is to know it: user, project, local."),
    ] = None,
) -> None:
    """Print what a client needs to use this project: the entry on stdout, where it goes on stderr.

    The file itself is not written: --print must be given.
    """
    from platformdirs import user_config_path

    known = CLIENTS.get(client)
    if known is None:
        raise UsageError(f"no client named {client!r}", hint=f"clients: {', '.join(CLIENTS)}")
    if scope is not None and scope not in known.scopes:
        raise UsageError(
            f"{client} has no scope {scope!r}", hint=f"scopes: {', '.join(known.scopes)}"
        )
    if not print_:
        raise UsageError(
            "the client's file is not written for you",
            hint=f"llmspell install {client} --print shows the entry and where it goes",
        )
    place = place_of(context)
    address = place.address()
    command = bridge_command(address, with_state=place.state is not None)
    scope = scope or next(iter(known.scopes))
    if client == "claude-code" and scope in ("local", "user"):
        # That file holds much else, and Claude Code has a command for it.
        added = ["claude", "mcp", "add", "--scope", scope, "--transport", "stdio", NAME, "--"]
        typer.echo(shlex.join([*added, *command]))
        typer.echo(f"run this command, then {known.then}", err=True)
        return
    entry: dict[str, Any] = {"type": "stdio"} if known.typed else {}
    entry |= {"command": command[0], "args": command[1:]}
    typer.echo(json.dumps({known.key: {NAME: entry}}, indent=2))
    path = known.scopes[scope].format(
        home=Path.home(), project=address.project, config=user_config_path()
    )
    typer.echo(f"merge this into {path}, then {known.then}", err=True)


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
    return [*command, "stdio"]
