"""The C library of llmspell, which is compiled when it is built or installed.

Through ctypes: it needs no headers of Python's. Where there was no compiler, or
where lupa's library does not offer Lua's functions, there is none: see
`missing_library`.
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import POINTER, c_char_p, c_double, c_int, c_size_t, c_void_p
from typing import Any

from lupa import lua54

from llmspell.runtime.lua import sources

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "snapshot_find": (c_int, c_char_p),
    "snapshot_new": (c_void_p,),
    "snapshot_free": (None, c_void_p),
    "snapshot_load": (c_int, c_void_p, c_char_p, c_size_t),
    "snapshot_push_number": (None, c_void_p, c_double),
    "snapshot_push_bytes": (None, c_void_p, c_char_p, c_size_t),
    "snapshot_run": (c_int, c_void_p, c_int),
    "snapshot_take": (c_int, c_void_p),
    "snapshot_restore": (None, c_void_p),
    "snapshot_image": (c_void_p, c_void_p, POINTER(c_size_t)),
    "snapshot_begin": (c_int, c_void_p, c_char_p, c_size_t, c_double),
    "snapshot_load_ahead": (c_int, c_void_p, c_size_t),
    "snapshot_forget": (None, c_void_p),
    "snapshot_exchange": (
        c_int,
        c_void_p,
        c_char_p,
        c_size_t,
        c_size_t,
        POINTER(c_void_p),
        POINTER(c_size_t),
    ),
    "place_handle_alarm": (c_int,),
    "place_watch": (None, c_void_p, c_int),
    "place_forget": (None, c_void_p),
    "worker_serve": (c_int, c_void_p, c_int, c_char_p, c_size_t),
    "worker_program": (c_void_p, POINTER(c_size_t)),
    "worker_received": (c_void_p, POINTER(c_size_t)),
}


class Library:
    """The functions of the C library, and Lua found for them.

    Raises:
        OSError: There is no such library, or it does not find what it needs in lupa's.
    """

    def __init__(self) -> None:
        library = ctypes.PyDLL(str(sources.LIBRARY))
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        if self.snapshot_find(str(lua54.__file__).encode()):
            raise OSError(f"{lua54.__file__} does not offer the functions of Lua 5.4")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # for type checkers: the functions are set above


@functools.cache
def native() -> Library:
    """Return the library; see `Library`."""
    return Library()


@functools.cache
def missing_library() -> str:
    """Return why no state can be set back here, or "" when states can."""
    try:
        native()
    except OSError as error:
        return str(error)
    return ""


def handle_alarm() -> None:
    """Have SIGPROF end this process, and what was forked of it; see `SnapshotCell.watch`."""
    if native().place_handle_alarm():
        raise OSError("SIGPROF cannot be handled")
