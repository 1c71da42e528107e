"""The clients llmspell can be put into: which file each keeps its servers in, and in which form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from llmspell.bridge.places import user_data_directory
from llmspell.errors import UsageError

PROJECT_KEY = "{project}"
"""In a list of keys: the project's own directory is the key."""


class Places(NamedTuple):
    """The directories clients' files lie in."""

    home: Path
    config: Path
    """Directory of applications' settings."""
    claude: Path
    """Directory of Claude Code's own file."""
    project: Path
    is_project: bool = True
    """Whether somebody works in it: not in the user's data directory, where no client looks."""

    @classmethod
    def of(cls, project: Path, environ: Mapping[str, str]) -> Places:
        """Return the places of whoever runs this, as the platform has them."""
        from platformdirs import user_config_path

        home = Path.home()
        claude = environ.get("CLAUDE_CONFIG_DIR")
        return cls(
            home,
            user_config_path(roaming=True),
            Path(claude) if claude else home,
            project,
            project != Path(os.path.realpath(user_data_directory(environ))),
        )


class Site(NamedTuple):
    """Where one client has its servers in one scope."""

    client: str
    scope: str
    path: Path
    keys: tuple[str, ...]
    """The keys that lead to the object of servers."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a client looks for servers, for whom."""

    file: str
    """`{home}`, `{config}`, `{claude}` and `{project}` stand for the directories of `Places`."""
    keys: tuple[str, ...] = ("mcpServers",)


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its files, the form of its entries, and how it starts them."""

    title: str
    scopes: dict[str, Scope]
    """By name; the first is the default in a project, `user` outside of one."""
    then: str
    """What makes the client read its file."""
    typed: bool = False
    """Whether an entry says `"type": "stdio"`."""
    command: str = ""
    """The client's own program, when it rewrites its file itself and can be told to."""
    told_scopes: frozenset[str] = frozenset()
    """The scopes for which that program is used."""

    def site(self, name: str, scope: str | None, places: Places) -> Site:
        """Return where the client called `name` has its servers.

        Args:
            name: What the client is called on the command line.
            scope: One of its scopes; None for the default.
            places: Where files lie.

        Raises:
            UsageError: It has no such scope.
        """
        scope = scope or (next(iter(self.scopes)) if places.is_project else "user")
        known = self.scopes.get(scope)
        if known is None:
            raise UsageError(
                f"{name} has no scope {scope!r}", hint=f"scopes: {', '.join(self.scopes)}"
            )
        keys = tuple(str(places.project) if key == PROJECT_KEY else key for key in known.keys)
        return Site(name, scope, Path(known.file.format(**places._asdict())), keys)


CLIENTS: dict[str, Client] = {
    "claude-desktop": Client(
        "Claude Desktop",
        {"user": Scope("{config}/Claude/claude_desktop_config.json")},
        "quit Claude Desktop and open it again",
    ),
    "claude-code": Client(
        "Claude Code",
        {
            "project": Scope("{project}/.mcp.json"),
            "local": Scope("{claude}/.claude.json", ("projects", PROJECT_KEY, "mcpServers")),
            "user": Scope("{claude}/.claude.json"),
        },
        "start a new session of Claude Code",
        typed=True,
        command="claude",
        told_scopes=frozenset({"local", "user"}),
    ),
    "vscode": Client(
        "VS Code",
        {
            "project": Scope("{project}/.vscode/mcp.json", ("servers",)),
            "user": Scope("{config}/Code/User/mcp.json", ("servers",)),
        },
        "press 'Start' above the entry",
        typed=True,
    ),
    "cursor": Client(
        "Cursor",
        {
            "project": Scope("{project}/.cursor/mcp.json"),
            "user": Scope("{home}/.cursor/mcp.json"),
        },
        "Cursor reads it at once",
    ),
    "gemini": Client(
        "Gemini CLI",
        {
            "user": Scope("{home}/.gemini/settings.json"),
            "project": Scope("{project}/.gemini/settings.json"),
        },
        "start Gemini CLI anew",
    ),
}


def client_of(name: str) -> Client:
    """Return the client of this name.

    Raises:
        UsageError: There is none.
    """
    client = CLIENTS.get(name)
    if client is None:
        raise UsageError(f"no client named {name!r}", hint=f"clients: {', '.join(CLIENTS)}")
    return client
