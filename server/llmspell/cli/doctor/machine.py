"""Python, the operating system, its clock, and what keeps scripts apart from it."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import llmspell
from llmspell import plugins
from llmspell.cli.doctor.finding import Finding
from llmspell.config import Project

OLDEST_PYTHON = (3, 11)


def examine() -> list[Finding]:
    """Look at what this process runs on."""
    return [_python(), _platform(), _clock(time.time())]


def examine_isolation(project: Project) -> list[Finding]:
    """Look at what would stand between a script and this machine."""
    engine = plugins.load("engines", "lua")(isolation=project.settings.runtime.isolation)
    isolation = engine.isolation()
    text = "; ".join(isolation.lines)
    if isolation.level == "filtered":
        return [Finding("isolation", "ok", text)]
    return [
        Finding(
            "isolation",
            "warning",
            text,
            "publish only spells whose authors you trust, or use Linux with seccomp and "
            'runtime.isolation = "process"',
        )
    ]


def _python() -> Finding:
    text = f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}"
    if sys.version_info >= OLDEST_PYTHON:
        return Finding("python", "ok", text)
    return Finding("python", "problem", text, "install llmspell with Python 3.11 or newer")


def _platform() -> Finding:
    text = f"{platform.system()} {platform.release()} {platform.machine()}"
    if sys.platform == "linux":
        return Finding("platform", "ok", text)
    return Finding("platform", "warning", text, "llmspell is tested on Linux")


def _clock(now: float) -> Finding:
    """A clock that was set back makes schedules, deadlines and expiries wrong."""
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    installed = Path(llmspell.__file__).stat().st_mtime
    if now >= installed:
        return Finding("clock", "ok", text)
    return Finding(
        "clock", "problem", f"{text}, before llmspell was installed", "set the clock of the machine"
    )
