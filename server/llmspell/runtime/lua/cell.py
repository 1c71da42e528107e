"""One Lua state. The only place that touches lupa, and only byte strings cross it.

lupa can be brought to crash or to hand out Python objects when script code runs
under its own thread objects, callbacks or wrapped tables. None is used here:
a frame of bytes goes in while no script code runs and memory is unlimited, then
the script runs under its limit and one byte string comes out.
"""

from __future__ import annotations

from typing import Any, NoReturn

from lupa import lua54

from llmspell.runtime import wire
from llmspell.runtime.lua import sources


def _no_attributes(obj: object, name: str, setting: bool) -> NoReturn:
    raise AttributeError("not available")


class Cell:
    """A state with the kernel loaded and no script in it yet."""

    def __init__(self) -> None:
        new_runtime: Any = lua54.LuaRuntime  # lupa's stub lacks the parameters
        # `max_memory=0` counts memory from the start, without a limit.
        self._runtime: Any = new_runtime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attributes,
            max_memory=0,
        )
        parts = [sources.read(name) for name in sources.PARTS]
        made = self._runtime.execute(
            sources.read(sources.KERNEL), *parts, name=b"=llmspell", mode=b"t"
        )
        self._put, self._pump, self._limit, self._last_words, self._kept = made
        self._heap_bytes = 0

    def limit(self, *, heap_bytes: int, message_bytes: int) -> None:
        """Set the largest heap and the largest frame. Comes before the first exchange."""
        self._heap_bytes = heap_bytes
        self._limit(message_bytes)

    def exchange(self, frame: bytes) -> bytes:
        """Give a frame of messages to the script, run it until it waits, return its events."""
        # An allocation that fails outside a protected call would abort the process, so the
        # frame goes in without a limit; `pump` takes no argument and runs protected.
        self._runtime.set_max_memory(0)
        self._put(frame)
        self._runtime.set_max_memory(self._heap_bytes)
        try:
            return self._pump()
        except lua54.LuaMemoryError:
            self._runtime.set_max_memory(0)
            return self._last_words()
        except lua54.LuaError as error:
            return wire.failure("internal", f"the kernel failed: {error}"[:1000])
