"""The kernel's Lua files, what is compiled of them, and their version. Runs none of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from llmspell.values import content_hash

KERNEL = "kernel.lua"
CORE = (
    "codec.lua",
    "errors.lua",
    "tasks.lua",
    "sandbox.lua",
    "prelude.lua",
    "state.lua",
    "schemas.lua",
)
"""What every state needs: compiled into one chunk with the kernel."""
LATER = (
    "json.lua",
    "hints.lua",
    "reports.lua",
    "effects.lua",
    "callbacks.lua",
    "coroutines.lua",
    "random.lua",
    "modules.lua",
    "durations.lua",
    "ctx.lua",
    "content.lua",
    "state_methods.lua",
    "transactions.lua",
    "workflows.lua",
    "coverage.lua",
    "guard.lua",
)
"""What a state loads when it is first used: a chunk each."""
PARTS = CORE + LATER

_DIRECTORY = Path(__file__).parent

LIBRARY = _DIRECTORY / "libnative.so"
"""The C library that sets states back; see `snapshot`. It is not there without a compiler."""


def read(name: str) -> bytes:
    """Return the text of one kernel file."""
    return (_DIRECTORY / name).read_bytes()


def main_chunk() -> bytes:
    """Return the text of the chunk that a state begins with.

    Its arguments are the seconds of the count hook, see `Cell`, and the compiled `LATER`.
    """
    core = b"".join(b"%s = function(...)\n%s\nend,\n" % (_stem(name), read(name)) for name in CORE)
    order = b", ".join(b'"%s"' % _stem(name) for name in LATER)
    kernel = read(KERNEL)
    return b"return (function(...)\n%s\nend)({\n%s}, { %s }, ...)" % (kernel, core, order)


@cache
def version() -> str:
    """Return a hash over the kernel: the same sources behave the same under the same version."""
    return content_hash(*(read(name) for name in (KERNEL, *PARTS)))[:16]


def _stem(name: str) -> bytes:
    return name.removesuffix(".lua").encode()
