"""Clients that rewrite their file all the time: their own program is told instead.

Claude Code keeps much else in `~/.claude.json` and saves it whenever it likes;
`claude mcp add` and `claude mcp remove` are its way in. Where that program is
not on the PATH, `installing` edits the file.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from llmspell.cli.clients import files, installing
from llmspell.cli.clients.entry import is_ours
from llmspell.cli.clients.known import Client, Site
from llmspell.errors import ClientFileError
from llmspell.values import Object

SECONDS = 60.0


def is_told(client: Client, site: Site, environ: Mapping[str, str]) -> bool:
    """Return whether a client's own program is there to be told."""
    if site.scope not in client.told_scopes:
        return False
    return shutil.which(client.command, path=environ.get("PATH")) is not None


def adding(client: Client, site: Site, name: str, command: list[str]) -> list[str]:
    """Return the command that adds a server."""
    options = ["--scope", site.scope, "--transport", "stdio"]
    return [client.command, "mcp", "add", *options, name, "--", *command]


def removing(client: Client, site: Site, name: str) -> list[str]:
    """Return the command that removes a server."""
    return [client.command, "mcp", "remove", "--scope", site.scope, name]


def tell_in(
    client: Client, site: Site, name: str, entry: Object, command: list[str], project: Path
) -> bool:
    """Have a client add a server; return False when it has this one already.

    Raises:
        UsageError: The name is taken by an entry that is not ours, or is another project's.
        ClientFileError: Its file can't be read, or its program failed; says what it said.
    """
    there = installing.read_servers(site).get(name)
    if there is not None:
        installing.check_replaceable(files.real(site.path), name, there, entry)
        if {**there, **entry} == there:
            return False
        _run(removing(client, site, name), project)
    _run(adding(client, site, name, command), project)
    return True


def tell_out(client: Client, site: Site, name: str, project: Path) -> bool:
    """Have a client remove a server; return False when it has none of this name.

    Raises:
        UsageError: The entry is not ours.
        ClientFileError: Its file can't be read, or its program failed; says what it said.
    """
    there = installing.read_servers(site).get(name)
    if there is None:
        return False
    if not is_ours(there):
        raise installing.not_ours(files.real(site.path), name)
    _run(removing(client, site, name), project)
    return True


def _run(command: list[str], project: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=project if project.is_dir() else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClientFileError(f"{command[0]!r} could not be run: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ClientFileError(f"{' '.join(command[:3])} failed: {said}")
