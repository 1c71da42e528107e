"""A kernel without seccomp: Python in a process tree that can install no system-call filter.

`python -m tests.attacks.unfiltered ARGUMENTS` is `python ARGUMENTS`, after a
filter of its own. That one lets everything through but the two calls that install
filters, which it answers as a kernel does that has none; children inherit it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

from llmspell.runtime import jail
from tests.support.servers import environment

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _FIRST_ARGUMENT = 0, 16

# prctl and seccomp.
_NUMBERS = {"x86_64": (157, 317), "aarch64": (167, 277)}

_ROOT = Path(__file__).parents[2]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def command(*arguments: str) -> list[str]:
    """Return the command line of Python with these arguments, without seccomp."""
    return [sys.executable, "-m", "tests.attacks.unfiltered", *arguments]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments, without seccomp, and return what it printed."""
    environ = environment()
    environ["PYTHONPATH"] += os.pathsep + str(_ROOT)
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**environ, "HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def give_up_filters() -> None:
    """Let this process and its children install no filter from now on.

    Raises:
        OSError: This kernel has no seccomp, so there is nothing to give up.
    """
    prctl, seccomp = _NUMBERS[platform.machine()]
    steps = (
        (_LOAD, 0, 0, _NUMBER),
        (_IF_EQUAL, 3, 0, seccomp),
        (_IF_EQUAL, 0, 3, prctl),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_EQUAL, 0, 1, _PR_SET_SECCOMP),
        (_RETURN, 0, 0, _FAIL | errno.EINVAL),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = b"".join(struct.pack("<HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code)
    program = _Program(len(steps), ctypes.addressof(buffer))
    for option, arguments in (
        (_PR_SET_NO_NEW_PRIVS, (1,)),
        (_PR_SET_SECCOMP, (_SECCOMP_MODE_FILTER, ctypes.addressof(program))),
    ):
        if number := jail.prctl(option, *arguments):
            raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    give_up_filters()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
