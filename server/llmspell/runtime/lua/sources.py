"""The kernel's Lua files and their version. Imports nothing that runs them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from llmspell.values import content_hash

KERNEL = "kernel.lua"
PARTS = (
    "codec.lua",
    "json.lua",
    "hints.lua",
    "errors.lua",
    "tasks.lua",
    "callbacks.lua",
    "sandbox.lua",
    "content.lua",
    "state.lua",
    "schemas.lua",
    "prelude.lua",
    "workflows.lua",
    "transactions.lua",
    "durations.lua",
    "coverage.lua",
    "guard.lua",
)
"""What `kernel.lua` is given, in this order."""

_DIRECTORY = Path(__file__).parent


def read(name: str) -> bytes:
    """Return the text of one kernel file."""
    return (_DIRECTORY / name).read_bytes()


@cache
def version() -> str:
    """Return a hash over the kernel: the same sources behave the same under the same version."""
    return content_hash(*(read(name) for name in (KERNEL, *PARTS)))[:16]
