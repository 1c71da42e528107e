"""The jail of a worker: what the kernel refuses it from before the first byte of a script.

Two walls around the Lua environment, for the case that a script breaks out of
it: resource limits, which no right of the server's user lifts again, and a
system-call filter that leaves memory, one socket, a timer, the clock and the end
of the process. Anything else kills the worker. Where the filter does not exist,
`missing_filter` says so, and docs/concepts/security.md says what is left open.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import resource
import struct
import sys

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_PROT_EXEC = 4
_MAP_ANONYMOUS = 0x20
# Advice for a range of the caller's own memory is below this; above is what harms the machine
# (MADV_HWPOISON, MADV_SOFT_OFFLINE), for a caller that may administer it.
_ADVICE_BEYOND = ~0x1F & 0xFFFFFFFF
# _LINUX_CAPABILITY_VERSION_3, this process; then two sets of three words (capset(2)).
_CAPABILITY_HEADER = struct.pack("=Ii", 0x20080522, 0)
_NO_CAPABILITIES = bytes(24)

# Of the classic BPF virtual machine: load a word, jump if equal, jump if a bit is set, return.
_LOAD, _IF_EQUAL, _IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
# Offsets in `struct seccomp_data`, little-endian: the low words of arguments.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

# By machine: the audit architecture, and the system calls a worker may make; the most frequent
# first. Numbers: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "recvfrom": 45,
            "sendto": 44,
            "setitimer": 38,
            "clock_gettime": 228,
            "mmap": 9,
            "munmap": 11,
            "brk": 12,
            "mremap": 25,
            "madvise": 28,
            "mprotect": 10,
            "futex": 202,
            "gettimeofday": 96,
            "time": 201,
            "sched_yield": 24,
            "rt_sigreturn": 15,
            "restart_syscall": 219,
            "getrandom": 318,
            "exit": 60,
            "exit_group": 231,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "recvfrom": 207,
            "sendto": 206,
            "setitimer": 103,
            "clock_gettime": 113,
            "mmap": 222,
            "munmap": 215,
            "brk": 214,
            "mremap": 216,
            "madvise": 233,
            "mprotect": 226,
            "futex": 98,
            "gettimeofday": 169,
            "sched_yield": 124,
            "rt_sigreturn": 139,
            "restart_syscall": 128,
            "getrandom": 278,
            "exit": 93,
            "exit_group": 94,
        },
    ),
}

_CPU_SECONDS = 3600
"""CPU time of a whole worker: for the case that nobody is left to look at the clock."""


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int) -> int:
    """Call prctl(2); return 0, or the number of the error."""
    padded = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    return ctypes.get_errno() if _libc().prctl(option, *padded) else 0


@functools.cache
def missing_filter() -> str:
    """Return why there is no system-call filter on this machine, or "" when there is one."""
    if sys.platform != "linux":
        return f"{platform.system()} has no seccomp"
    machine = platform.machine()
    if machine not in _MACHINES or sys.maxsize <= 2**32 or sys.byteorder != "little":
        return f"there is no system-call table for {machine}"
    # A filter at address 0 tells the two cases apart and installs nothing (seccomp(2)).
    if prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0) != errno.EFAULT:
        return "this Linux kernel has no seccomp filter"
    return ""


def confine(memory_bytes: int, socket: int) -> None:
    """Give up what a script never needs. A lower limit that the process came with stays.

    Args:
        memory_bytes: Bounds the address space.
        socket: The one descriptor that stays open, besides the empty input and output.

    Raises:
        OSError: The kernel let it give up no rights.
    """
    # Standard error may be a file that could be mapped, or a terminal.
    for descriptor in (1, 2):
        os.dup2(0, descriptor)
    os.closerange(3, socket)
    os.closerange(socket + 1, os.sysconf("SC_OPEN_MAX"))
    _give_up_rights()
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: _CPU_SECONDS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, value in limits.items():
        _, inherited = resource.getrlimit(kind)
        if inherited != resource.RLIM_INFINITY:
            value = min(value, inherited)
        resource.setrlimit(kind, (value, value))


def lock_down(socket: int) -> None:
    """Leave only the filter's system calls, for ever; `socket` stays usable.

    Call it after everything is imported and used once. Does nothing where there
    is no filter.

    Raises:
        OSError: The filter exists, and was refused.
    """
    if missing_filter():
        return
    code = filter_code(platform.machine(), socket)
    buffer = ctypes.create_string_buffer(code)
    program = _FilterProgram(len(code) // 8, ctypes.addressof(buffer))
    _allow_no_new_privileges()
    if number := prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program)):
        raise OSError(number, os.strerror(number))


def filter_code(machine: str, socket: int) -> bytes:
    """Return the system-call filter, a program of classic BPF over `struct seccomp_data`.

    Args:
        machine: As `platform.machine` names it; one that has a table here.
        socket: The one descriptor that may be read from and written to.
    """
    architecture, calls = _MACHINES[machine]
    # Of a pointer-sized argument only the low word is looked at, and only where that decides.
    rules = {
        "recvfrom": [_argument(0), _step(_IF_EQUAL, socket, 0, 1)],
        "sendto": [_argument(0), _step(_IF_EQUAL, socket, 0, 1)],
        # No memory becomes code, and nothing that is open is mapped.
        "mmap": [
            _argument(2),
            _step(_IF_SET, _PROT_EXEC, 3, 0),
            _argument(3),
            _step(_IF_SET, _MAP_ANONYMOUS, 0, 1),
        ],
        "mprotect": [_argument(2), _step(_IF_SET, _PROT_EXEC, 1, 0)],
        "madvise": [_argument(2), _step(_IF_SET, _ADVICE_BEYOND, 1, 0)],
    }
    allow, kill = _step(_RETURN, _ALLOW), _step(_RETURN, _KILL_PROCESS)
    program = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_IF_EQUAL, architecture, 1, 0),
        kill,
        _step(_LOAD, _NUMBER),
    ]
    for name, number in calls.items():
        # A rule falls through to `allow`, or jumps over it.
        rule = [*rules[name], allow, kill] if name in rules else [allow]
        program += [_step(_IF_EQUAL, number, 0, len(rule)), *rule]
    return b"".join([*program, kill])


def _give_up_rights() -> None:
    """Let no file that is run give rights, and put down those of root, with or without a filter.

    A process with rights of root could raise its limits again, and trace the
    server. Nothing is left to put down where the server runs as another user.
    """
    if sys.platform != "linux":
        return
    _allow_no_new_privileges()
    if _libc().capset(_CAPABILITY_HEADER, _NO_CAPABILITIES):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _allow_no_new_privileges() -> None:
    if number := prctl(_PR_SET_NO_NEW_PRIVS, 1):
        raise OSError(number, os.strerror(number))


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _argument(index: int) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * index)
