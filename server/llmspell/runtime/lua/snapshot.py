"""A Lua state that is set back after each script, instead of being closed and made anew.

Ten times as fast as making one, and every script still finds the very bytes that
the first one found. See `snapshot.c`; where there is no C library, there is none.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_size_t, c_void_p

from llmspell.runtime.lua.cell import Kernel, kernel_failure
from llmspell.runtime.lua.native import native

_OUT_OF_MEMORY = 4
"""LUA_ERRMEM."""
_NOT_AHEAD = -1


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
        self._library = library = native()
        self._state = library.snapshot_new()
        if not self._state:
            raise MemoryError
        self._heap_bytes = 0
        self._reply, self._reply_size = c_void_p(), c_size_t()
        self._out = byref(self._reply), byref(self._reply_size)
        main, *parts = kernel
        status = library.snapshot_load(self._state, main, len(main))
        library.snapshot_push_number(self._state, hook_seconds)
        for part in parts:
            library.snapshot_push_bytes(self._state, part, len(part))
        status = status or library.snapshot_run(self._state, len(kernel))
        if not hook_seconds:
            status = status or library.snapshot_take(self._state)
        if status == _OUT_OF_MEMORY:
            raise MemoryError
        if status:
            raise RuntimeError(f"the kernel cannot be loaded: status {status} of Lua")

    def __del__(self) -> None:
        if self._state:
            self._library.place_forget(self._state)
            self._library.snapshot_free(self._state)

    def watch(self, socket: int) -> None:
        """Have SIGPROF tell where the script is, in a worker's reply, before the process ends."""
        self._library.place_watch(self._state, socket)

    def begin(self, program: bytes, *, heap_bytes: int, message_bytes: int) -> None:
        """Take the script's program and its limits. Comes before the first exchange."""
        self._heap_bytes = heap_bytes
        self._library.snapshot_begin(self._state, program, len(program), message_bytes)

    def exchange(self, frame: bytes) -> bytes:
        """Give a frame of messages to the script, run it until it waits, return its events."""
        status = self._library.snapshot_exchange(
            self._state, frame, len(frame), self._heap_bytes, *self._out
        )
        if status == _NOT_AHEAD:
            raise ValueError("the frame does not begin a script of the file that is loaded")
        address = self._reply.value
        reply = ctypes.string_at(address, self._reply_size.value) if address else b""
        return kernel_failure(reply.decode(errors="replace")) if status else reply

    def load_ahead(self, *, heap_bytes: int) -> bool:
        """Load the file of the program that `begin` brought, and return whether that worked.

        From then on `restore` leads to a state with this file loaded, in which no
        script has run; only such of the same program may begin in it. When it did not
        work, `restore` comes next.
        """
        return bool(self._library.snapshot_load_ahead(self._state, heap_bytes))

    def forget(self) -> None:
        """Have `restore` lead to a state without any file again."""
        self._library.snapshot_forget(self._state)

    def restore(self) -> None:
        """Be as after the construction, or after `load_ahead`: no trace of a script is left."""
        self._library.snapshot_restore(self._state)

    def serve(self, socket: int, received: bytes) -> tuple[bytes, bytes] | None:
        """Serve a worker's scripts in this state; see `worker.c`.

        Args:
            received: What has come from the socket already.

        Returns:
            None once the server has closed the socket; or, when a script needs another
            kind of state, its program and what has come since, from its `BEGIN` on.
        """
        library, size = self._library, c_size_t()
        if not library.worker_serve(self._state, socket, received, len(received)):
            return None
        program = ctypes.string_at(library.worker_program(byref(size)), size.value)
        return program, ctypes.string_at(library.worker_received(byref(size)), size.value)

    def image(self) -> bytes:
        """Return the bytes this state consists of: after `restore`, always the same."""
        size = c_size_t()
        address = self._library.snapshot_image(self._state, byref(size))
        return ctypes.string_at(address, size.value)
