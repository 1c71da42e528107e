"""The file of `llmspell doctor --report`: all that helps somebody else to help, and no secret."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from llmspell import __version__
from llmspell.cli.doctor.finding import Finding, to_value
from llmspell.config import Project
from llmspell.endpoints.auth.token import token_path
from llmspell.errors import ConfigError
from llmspell.security.redaction import Redactor
from llmspell.values import Object, dumps

LOG_BYTES = 64 << 10
"""How much of the end of the owner's log is taken."""

_SECRET_ENDINGS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD", "_CREDENTIALS")


def write_report(path: Path, findings: Iterable[Finding], project: Project | None) -> None:
    """Write what was found as JSON, readable by this user only."""
    content: Object = {
        "llmspell": __version__,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "findings": [to_value(finding) for finding in findings],
    }
    secrets: list[str] = []
    if project is not None:
        secrets = list(_secrets(project))
        content["project"] = str(project.root)
        content["settings"] = project.settings.model_dump(mode="json")
        # Names only: what a variable holds is nobody's business.
        content["environment"] = sorted(project.environment)
        content["log"] = _end_of_log(project.state)
    text = Redactor(secrets).redact(msgspec.json.format(dumps(content), indent=2))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _secrets(project: Project) -> Iterator[str]:
    for name, value in project.environment.items():
        if name.endswith(_SECRET_ENDINGS):
            yield value
    for provider in project.settings.providers.values():
        try:
            yield project.secret(provider.api_key)
        except ConfigError:
            continue  # it can't be read, so it is in no text; its own finding says so
    token = token_path(project.state)
    if token.is_file():
        yield token.read_text(encoding="utf-8").strip()


def _end_of_log(state: Path) -> list[str]:
    path = state / "log" / "owner.log"
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        return file.read().decode(errors="replace").splitlines()
