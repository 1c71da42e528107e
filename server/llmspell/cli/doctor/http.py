"""The HTTP door: its port, and the file that holds its token."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from llmspell.cli.doctor.finding import Finding
from llmspell.config import Project
from llmspell.endpoints.auth.token import token_path
from llmspell.errors import OwnerError


async def examine(project: Project) -> list[Finding]:
    """Look at whether `llmspell serve` could listen, and who can read its token."""
    return [_port(project, await _served(project)), *_token(project)]


async def _served(project: Project) -> int | None:
    """Return the port that the project's owner serves HTTP on, None when it does not."""
    from llmspell.host.remote import RemoteHost

    try:
        owner = await RemoteHost.find(project.state)
        if owner is None:
            return None
        async with owner:
            http = await owner.call("http.info")
    except OwnerError:
        return None  # another finding says what is wrong with it
    return urlsplit(str(http["url"])).port if http else None


def _port(project: Project, served: int | None) -> Finding:
    server = project.settings.server
    place = f"{server.host}:{server.port}"
    if served == server.port:
        return Finding("HTTP port", "ok", f"{place} is served by this project's owner")
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            return Finding(
                "HTTP port",
                "warning",
                f"{place}: {error.strerror or error}",
                "choose another with --port, or server.port",
            )
    return Finding("HTTP port", "ok", f"{place} is free")


def _token(project: Project) -> list[Finding]:
    path = token_path(project.state)
    if not path.exists():
        return []
    mode = path.stat().st_mode & 0o777
    if mode & 0o077 == 0:
        return [Finding("token", "ok", f"{path}, for this user only")]
    return [
        Finding(
            "token",
            "problem",
            f"{path} can be read by others (mode {mode:o})",
            f"rm {path}: the next 'llmspell serve' makes a new one",
        )
    ]
