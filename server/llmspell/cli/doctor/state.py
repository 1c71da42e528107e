"""The state directory: whose it is, who may enter, whether there is room and locks work."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from llmspell.bridge.sockets import SOCKET_NAME, is_served
from llmspell.cli.doctor.finding import Finding
from llmspell.errors import LlmspellError, StateOwned
from llmspell.host.lock import OwnerLock, owner_pid

LEAST_BYTES = 100 << 20
LITTLE_BYTES = 1 << 30


def examine_directory(state: Path) -> list[Finding]:
    """Look at the directory itself. Makes it when it is absent, as any start would."""
    try:
        lock = _lock(state)
    except (LlmspellError, OSError) as error:
        message = error.message if isinstance(error, LlmspellError) else str(error)
        hint = error.hint if isinstance(error, LlmspellError) else ""
        advice = hint or "choose another with --state DIR, or LLMSPELL_STATE"
        return [Finding("state directory", "problem", message, advice)]
    return [_modes(state), lock, _space(state), *_socket(state)]


def _lock(state: Path) -> Finding:
    try:
        OwnerLock.take(state).release()
    except StateOwned:
        return Finding("lock", "ok", f"held by process {owner_pid(state)}")
    return Finding("lock", "ok", "free, and locks work here")


def _modes(state: Path) -> Finding:
    mode = state.stat().st_mode & 0o777
    if mode & 0o077 == 0:
        return Finding("state directory", "ok", f"{state}, for this user only")
    return Finding(
        "state directory",
        "warning",
        f"{state} can be entered by others (mode {mode:o})",
        f"chmod 700 {state}",
    )


def _space(state: Path) -> Finding:
    free = shutil.disk_usage(state).free
    text = f"{free / (1 << 30):.1f} GiB free"
    if free < LEAST_BYTES:
        return Finding("disk", "problem", text, "free some space: writing is about to fail")
    if free < LITTLE_BYTES:
        return Finding("disk", "warning", text, "free some space")
    return Finding("disk", "ok", text)


def _socket(state: Path) -> list[Finding]:
    path = state / SOCKET_NAME
    if not os.path.lexists(path) or is_served(state):
        return []
    # The lock decides who owns, so a file that is left over harms nobody.
    return [Finding("socket", "ok", f"{path} is left over; the next start replaces it")]
