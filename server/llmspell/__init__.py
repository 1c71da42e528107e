"""llmspell: publish small Lua spells as MCP tools and A2A agents.

Importing this package loads the standard library only; `Host` and the error
classes are resolved on first use, because the stdio bridge and `--version`
must start at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell.errors import LlmspellError
    from llmspell.host.host import Host

__version__ = "0.1.0"
__all__ = ["Host", "LlmspellError", "__version__"]

_HOMES = {"Host": "llmspell.host.host", "LlmspellError": "llmspell.errors"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'llmspell' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
