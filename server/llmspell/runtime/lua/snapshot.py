"""A Lua state that is set back after each script, instead of being closed and made anew.

Ten times as fast as making one, and every script still finds the very bytes that
the first one found. Through the C library `libsnapshot.so` beside this file, which
is compiled when llmspell is built. Where that was not possible, or where lupa's
library does not offer Lua's functions, there is none: see `missing_library`.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_void_p
from typing import Any

from lupa import lua54

from llmspell.runtime.lua import sources
from llmspell.runtime.lua.cell import Kernel, kernel_failure

_OUT_OF_MEMORY = 4
"""LUA_ERRMEM."""
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "find": (c_int, c_char_p),
    "new": (c_void_p,),
    "free": (None, c_void_p),
    "load": (c_int, c_void_p, c_char_p, c_size_t),
    "push_number": (None, c_void_p, c_double),
    "push_bytes": (None, c_void_p, c_char_p, c_size_t),
    "run": (c_int, c_void_p, c_int),
    "take": (c_int, c_void_p),
    "restore": (None, c_void_p),
    "image": (c_void_p, c_void_p, POINTER(c_size_t)),
    "begin": (c_int, c_void_p, c_char_p, c_size_t, c_double),
    "exchange": (
        c_int,
        c_void_p,
        c_char_p,
        c_size_t,
        c_size_t,
        POINTER(c_void_p),
        POINTER(c_size_t),
    ),
    "handle_alarm": (c_int,),
    "watch": (None, c_void_p, c_int),
}


class _Library:
    """The functions of snapshot.c, and Lua found for them.

    Raises:
        OSError: There is no such library, or it does not find what it needs in lupa's.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(str(sources.LIBRARY))
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(library, f"snapshot_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        if self.find(str(lua54.__file__).encode()):
            raise OSError(f"{lua54.__file__} does not offer the functions of Lua 5.4")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # for type checkers: the functions are set above


@functools.cache
def _library() -> _Library:
    return _Library()


@functools.cache
def missing_library() -> str:
    """Return why no state can be set back here, or "" when states can."""
    try:
        _library()
    except OSError as error:
        return str(error)
    return ""


def handle_alarm() -> None:
    """Have SIGPROF end this process, and what was forked of it, through `SnapshotCell.watch`."""
    if _library().handle_alarm():
        raise OSError("SIGPROF cannot be handled")


class SnapshotCell:
    """A state as `Cell` is one. Used by one thread.

    Args:
        kernel: What `compile_kernel` returned.
        hook_seconds: See `Cell`. A state with a hook cannot be set back; the others can, and have
            all of the kernel loaded.

    Raises:
        OSError: See `missing_library`.
        MemoryError: There is no memory for it.
    """

    _state = None

    def __init__(self, kernel: Kernel, *, hook_seconds: float = 0.0) -> None:
        self._library = library = _library()
        self._state = library.new()
        if not self._state:
            raise MemoryError
        self._heap_bytes = 0
        self._reply, self._reply_size = c_void_p(), c_size_t()
        self._out = byref(self._reply), byref(self._reply_size)
        main, *parts = kernel
        status = library.load(self._state, main, len(main))
        library.push_number(self._state, hook_seconds)
        for part in parts:
            library.push_bytes(self._state, part, len(part))
        status = status or library.run(self._state, len(kernel))
        if not hook_seconds:
            status = status or library.take(self._state)
        if status == _OUT_OF_MEMORY:
            raise MemoryError
        if status:
            raise RuntimeError(f"the kernel cannot be loaded: status {status} of Lua")

    def __del__(self) -> None:
        if self._state:
            self._library.free(self._state)

    def watch(self, socket: int) -> None:
        """Have SIGPROF tell where the script is, in a worker's reply, before the process ends."""
        self._library.watch(self._state, socket)

    def begin(self, program: bytes, *, heap_bytes: int, message_bytes: int) -> None:
        """Take the script's program and its limits. Comes before the first exchange."""
        self._heap_bytes = heap_bytes
        self._library.begin(self._state, program, len(program), message_bytes)

    def exchange(self, frame: bytes) -> bytes:
        """Give a frame of messages to the script, run it until it waits, return its events."""
        status = self._library.exchange(
            self._state, frame, len(frame), self._heap_bytes, *self._out
        )
        address = self._reply.value
        reply = ctypes.string_at(address, self._reply_size.value) if address else b""
        return kernel_failure(reply.decode(errors="replace")) if status else reply

    def restore(self) -> None:
        """Be as after the construction: no trace of a script is left."""
        self._library.restore(self._state)

    def image(self) -> bytes:
        """Return the bytes this state consists of: after `restore`, always the same."""
        size = c_size_t()
        address = self._library.image(self._state, byref(size))
        return ctypes.string_at(address, size.value)
