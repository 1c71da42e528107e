"""One Lua state through lupa, which nothing else runs Lua with; only byte strings cross it.

lupa can be brought to crash or to hand out Python objects when script code runs
under its own thread objects, callbacks or wrapped tables. None is used here:
a frame of bytes goes in while no script code runs and memory is unlimited, then
the script runs under its limit and one byte string comes out.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

from lupa import lua54

from llmspell.runtime import wire
from llmspell.runtime.lua import sources

Kernel: TypeAlias = tuple[bytes, ...]
"""The kernel compiled: the chunk a state begins with, then those it may load later."""

_new_runtime: Any = lua54.LuaRuntime  # lupa's stub lacks the parameters


def _no_attributes(obj: object, name: str, setting: bool) -> NoReturn:
    raise AttributeError("not available")


def compile_kernel() -> Kernel:
    """Return the kernel compiled by this very Lua, without line numbers: it loads much faster."""
    compiler = _new_runtime(encoding=None, register_eval=False, register_builtins=False)
    compiled = compiler.eval(
        'function(text) return string.dump(assert(load(text, "=llmspell", "t")), true) end'
    )
    later = (compiled(sources.read(name)) for name in sources.LATER)
    return (compiled(sources.main_chunk()), *later)


class Cell:
    """A state with the kernel loaded and no script in it yet.

    Args:
        kernel: What `compile_kernel` returned.
        hook_seconds: When the count hook ends a slice and says where it was; 0 = never. The hook
            costs a factor of two and more, and is for states that are not killed from outside.
            `wire.LINE_HOOK` notes lines instead.
    """

    def __init__(self, kernel: Kernel, *, hook_seconds: float = 0.0) -> None:
        # `max_memory=0` counts memory from the start, without a limit.
        self._runtime: Any = _new_runtime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attributes,
            max_memory=0,
        )
        main, *parts = kernel
        made = self._runtime.execute(main, hook_seconds, *parts, name=b"=llmspell", mode=b"b")
        self._begin, self._put, self._pump, self._last_words, _, _, self._kept = made
        self._heap_bytes = 0

    def begin(self, program: bytes, *, heap_bytes: int, message_bytes: int) -> None:
        """Take the script's program and its limits. Comes before the first exchange."""
        self._heap_bytes = heap_bytes
        self._begin(program, message_bytes)

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
            return kernel_failure(str(error))


def kernel_failure(message: str) -> bytes:
    """Return the frame that ends a script because the kernel, not the script, raised an error."""
    return wire.failure("internal", f"the kernel failed: {message}"[:1000])
