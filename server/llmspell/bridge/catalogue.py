"""What the owner last answered to the questions a client begins with, kept in a file.

A client gives a server little time to start. When the owner takes longer, the
bridge answers these questions from the file, so that the client stays; the
owner writes it whenever what it publishes changes. The bodies are exactly those
of the owner, for each revision of the protocol. Another build's are not used.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from llmspell import __version__
from llmspell.bridge.lines import member

ENVELOPE = "io.modelcontextprotocol/protocolVersion"
"""Key in a request's `_meta` that names a revision without handshake."""


def file_name(bundle: str = "") -> str:
    """Return the name of the file in the state directory; each bundle has its own."""
    return f"catalogue-{bundle}.json" if bundle else "catalogue.json"


def write_catalogue(state: Path, answers: dict[str, dict[str, Any]], bundle: str = "") -> None:
    """Keep answers for bridges, in place of those kept before, in one step.

    Args:
        answers: Result bodies, by protocol revision, by method.
        bundle: Whose answers they are; "" = those of everything.
    """
    path = state / file_name(bundle)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    body = json.dumps({"build": __version__, "answers": answers}).encode()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    temporary.replace(path)


class KeptCatalogue:
    """The answers in the file of a state directory, as they were when this was made.

    Args:
        bundle: Whose answers; "" = those of everything.
    """

    def __init__(self, state: Path, bundle: str = "") -> None:
        self._answers: dict[str, dict[str, Any]] = {}
        self.given_tools: dict[str, Any] | None = None
        """The list of tools a client of the handshake era was given from here."""
        self._handshake = ""
        try:
            found: Any = json.loads((state / file_name(bundle)).read_bytes())
        except (OSError, ValueError):
            return  # there is none, or none that can be used: the client waits for the owner
        if isinstance(found, dict):
            kept = cast("dict[str, Any]", found)
            if kept.get("build") == __version__ and isinstance(kept.get("answers"), dict):
                self._answers = kept["answers"]

    def use_handshake(self, initialize: dict[str, Any]) -> None:
        """Note the handshake the client has made with an owner."""
        self._handshake = self._agreed(initialize)

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the result body for a request, or None when only the owner can tell."""
        method = request.get("method")
        if member(request, "params", "cursor") is not None or not isinstance(method, str):
            return None
        revision = member(request, "params", "_meta", ENVELOPE)
        if revision is not None:
            return self._answers.get(str(revision), {}).get(method)
        if method == "initialize":
            self._handshake = self._agreed(request)
            return self._answers.get(self._handshake, {}).get("initialize")
        if method == "ping":
            return {} if self._answers else None
        if method == "tools/list":
            tools = self._answers.get(self._handshake, {}).get("tools/list")
            self.given_tools = tools if tools is not None else self.given_tools
            return tools
        return None

    def _agreed(self, initialize: dict[str, Any]) -> str:
        """Return the revision the owner agrees on: what is asked for, else its latest."""
        asked = member(initialize, "params", "protocolVersion")
        known = [name for name, kept in self._answers.items() if "initialize" in kept]
        if asked in known:
            return asked
        return max(known, default="")
