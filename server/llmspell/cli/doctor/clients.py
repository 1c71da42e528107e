"""The entries of this project in clients' files, each started as its client would start it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from llmspell.bridge.meeting import Address
from llmspell.cli.clients.entry import NAME, bridge_command, command_of, is_ours, project_of
from llmspell.cli.clients.installing import read_servers
from llmspell.cli.clients.known import CLIENTS, Places, Site
from llmspell.cli.doctor.conversation import ERAS, LIMIT_SECONDS, count_tools
from llmspell.cli.doctor.finding import Finding
from llmspell.errors import ClientFileError
from llmspell.values import Object

SLOW_SECONDS = 5.0

_KEPT = ("HOME", "LOGNAME", "USER", "SHELL", "TERM", "LANG", "TMPDIR")
_BARE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_SECRETS = ("TOKEN", "SECRET", "PASSWORD", "KEY", "AUTH", "CREDENTIAL", "PRIVATE", "CERT")
"""Gemini CLI keeps variables with these in their names from servers, unless an entry sets them."""

_VARIABLE = "${"


class Installed(NamedTuple):
    """An entry of ours in a client's file."""

    site: Site
    name: str
    entry: Object

    @property
    def title(self) -> str:
        """The entry as findings name it."""
        name = "" if self.name == NAME else f", {self.name}"
        return f"{CLIENTS[self.site.client].title}, {self.site.scope}{name}"

    @property
    def again(self) -> str:
        """The command that writes it anew."""
        name = "" if self.name == NAME else f" --name {self.name}"
        return f"llmspell install {self.site.client} --scope {self.site.scope}{name}"


class Start(NamedTuple):
    """All that decides how a client starts a server."""

    title: str
    command: list[str]
    environment: Mapping[str, str]
    directory: Path
    advice: str
    """What to do when it does not start."""


async def examine(
    address: Address, places: Places, environ: Mapping[str, str], *, with_state: bool, wait: float
) -> list[Finding]:
    """Start every entry of this project and ask what each client begins with.

    Without any, what `install` would write is started instead.

    Args:
        address: The project the doctor is at.
        places: Where clients' files lie.
        environ: The environment of whoever runs this, as clients in a terminal have it.
        with_state: Whether the state directory was named on the command line.
        wait: How long a call waits before its caller is given a handle, in seconds.
    """
    found, findings = _installed(places)
    starts: list[Start] = []
    for installed in found:
        problem = _unfilled(installed) or _elsewhere(installed, address.project)
        if problem is not None:
            findings.append(problem)
            continue
        findings += _impatient(installed, wait)
        starts.append(_start(installed, address.project, environ))
    for start in starts or _likely(address, environ, with_state=with_state):
        findings += await _examine_start(start)
    return findings


def _installed(places: Places) -> tuple[list[Installed], list[Finding]]:
    found: list[Installed] = []
    findings: list[Finding] = []
    for name, client in CLIENTS.items():
        for scope in client.scopes:
            site = client.site(name, scope, places)
            try:
                servers = read_servers(site)
            except ClientFileError as error:
                title = f"{client.title}, {scope}"
                findings.append(Finding(title, "problem", str(error), "mend it by hand"))
                continue
            found += [
                Installed(site, server, entry)
                for server, entry in servers.items()
                if is_ours(entry)
            ]
    return found, findings


def _elsewhere(installed: Installed, project: Path) -> Finding | None:
    """Return what there is to say of an entry of another project: that one is not started."""
    named = project_of(installed.entry)
    if named is None or os.path.realpath(named) == str(project):
        return None
    if not os.path.isdir(named):
        scope = f"--scope {installed.site.scope} --name {installed.name}"
        return Finding(
            installed.title,
            "problem",
            f"its project {named!r} does not exist",
            f"llmspell uninstall {installed.site.client} {scope}",
        )
    return Finding(
        installed.title,
        "warning",
        f"starts another project, {named!r}",
        f"fine when it is meant; 'llmspell install {installed.site.client} --scope "
        f"{installed.site.scope} --name NAME' adds this one",
    )


def _unfilled(installed: Installed) -> Finding | None:
    command, arguments = command_of(installed.entry)
    if not any(_VARIABLE in part for part in (command, *arguments)):
        return None
    return Finding(
        installed.title,
        "warning",
        "not started: it has variables that only the client fills in",
        f"'{installed.again}' writes one without",
    )


def _impatient(installed: Installed, wait: float) -> Iterator[Finding]:
    """Some clients end a call after a time their entry sets, whatever comes of it."""
    timeout = installed.entry.get("timeout")
    if not isinstance(timeout, int | float) or not 1000 <= timeout < wait * 1000:
        return
    yield Finding(
        f"{installed.title}: timeout",
        "warning",
        f"ends calls after {timeout / 1000:g} s; a handle of a longer one comes after {wait:g} s",
        "remove 'timeout' from the entry, or set runs.wait below it",
    )


def _start(installed: Installed, project: Path, environ: Mapping[str, str]) -> Start:
    entry = installed.entry
    command, arguments = command_of(entry)
    environment = _environment(installed.site.client, environ)
    variables: Any = entry.get("env")
    if isinstance(variables, dict):
        environment |= {
            name: str(value) for name, value in cast("dict[str, Any]", variables).items()
        }
    directory = Path("/") if installed.site.client == "claude-desktop" else project
    if isinstance(entry.get("cwd"), str):
        directory /= entry["cwd"]
    return Start(installed.title, [command, *arguments], environment, directory, installed.again)


def _likely(address: Address, environ: Mapping[str, str], *, with_state: bool) -> list[Start]:
    command = bridge_command(address, with_state=with_state)
    advice = "see log/owner.log of the state"
    # Desktop applications start servers with next to nothing of a shell's environment.
    titles = {"claude-desktop": "Claude Desktop", "vscode": "Claude Code, VS Code, Cursor"}
    return [
        Start(title, command, _environment(client, environ), Path("/"), advice)
        for client, title in titles.items()
    ]


def _environment(client: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a client gives its servers of the environment, before its entry adds to it."""
    if client == "claude-desktop":
        kept = {name: environ[name] for name in _KEPT if name in environ}
        return kept | {"PATH": _BARE_PATH}
    if client == "gemini":
        return {
            name: value
            for name, value in environ.items()
            if not any(word in name.upper() for word in _SECRETS)
        }
    return dict(environ)


async def _examine_start(start: Start) -> list[Finding]:
    missing = _missing(start)
    if missing:
        return [Finding(f"MCP ({start.title})", "problem", missing, start.advice)]
    return [
        await _try(f"MCP {era} ({start.title})", start, messages) for era, messages in ERAS.items()
    ]


def _missing(start: Start) -> str:
    """Return what is not there of what is to be started; "" when all is."""
    command = start.command[0]
    if not start.directory.is_dir():
        return f"its directory {str(start.directory)!r} does not exist"
    program = shutil.which(command, path=start.environment.get("PATH", os.defpath))
    if program is None:
        if os.path.isabs(command):
            there = os.path.exists(command)
            return f"{command} {'is not executable' if there else 'does not exist'}"
        return f"{command!r} is not on the PATH the client gives its servers"
    interpreter = _interpreter(Path(program))
    if interpreter and not os.access(interpreter, os.X_OK):
        return f"{program} is run by {interpreter}, which does not exist: was Python moved?"
    return ""


def _interpreter(program: Path) -> str:
    """Return the program a script names in its first line; "" for what is no script."""
    with program.open("rb") as file:
        line = file.readline(512)
    words = line[2:].split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""


async def _try(name: str, start: Start, messages: list[Object]) -> Finding:
    began = time.monotonic()
    try:
        tools = await count_tools(start.command, start.environment, start.directory, messages)
    except TimeoutError:
        return Finding(
            name, "problem", f"no answer in {LIMIT_SECONDS:g} s", "see log/owner.log of the state"
        )
    except (OSError, ValueError) as error:
        return Finding(name, "problem", str(error), start.advice)
    seconds = time.monotonic() - began
    text = f"{tools} tools after {seconds:.2f} s"
    if seconds < SLOW_SECONDS:
        return Finding(name, "ok", text)
    return Finding(name, "warning", text, "clients may give up: see what else this machine does")
