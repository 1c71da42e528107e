"""The system-call filter, run instruction by instruction for every machine it is written for.

What the kernel of the machine at hand makes of it is in tests/server/runtime/test_jail.py.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.runtime import jail
from tests.attacks import bpf

ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000
SOCKET = 5
PRIVATE, ANONYMOUS, STACK = 0x02, 0x20, 0x20000
READ, WRITE, EXECUTE = 1, 2, 4
HUGE = 1 << 32
"""A bit of an argument that is beyond the words looked at."""

HARMLESS = (SOCKET, 0, 0, PRIVATE | ANONYMOUS, 0, 0)
"""Arguments that no rule of any call objects to."""

# include/uapi/linux/audit.h
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OTHER_ARCHITECTURES = (
    0x40000003,  # i386
    0x40000028,  # arm
    0x800000B7,  # aarch64, big-endian
    0xC00000F3,  # riscv64
    0,
)

# The calls a worker may make. Linux 6.1, arch/x86/entry/syscalls/syscall_64.tbl and, for aarch64,
# include/uapi/asm-generic/unistd.h.
ALLOWED = {
    "x86_64": {
        "brk": 12,
        "clock_gettime": 228,
        "exit": 60,
        "exit_group": 231,
        "futex": 202,
        "getrandom": 318,
        "gettimeofday": 96,
        "madvise": 28,
        "mmap": 9,
        "mprotect": 10,
        "mremap": 25,
        "munmap": 11,
        "recvfrom": 45,
        "restart_syscall": 219,
        "rt_sigreturn": 15,
        "sched_yield": 24,
        "sendto": 44,
        "setitimer": 38,
        "time": 201,
    },
    "aarch64": {
        "brk": 214,
        "clock_gettime": 113,
        "exit": 93,
        "exit_group": 94,
        "futex": 98,
        "getrandom": 278,
        "gettimeofday": 169,
        "madvise": 233,
        "mmap": 222,
        "mprotect": 226,
        "mremap": 216,
        "munmap": 215,
        "recvfrom": 207,
        "restart_syscall": 128,
        "rt_sigreturn": 139,
        "sched_yield": 124,
        "sendto": 206,
        "setitimer": 103,
    },
}

# What would undo the jail. From the same files.
REFUSED = {
    "x86_64": {
        "bpf": 321,
        "capset": 126,
        "clone": 56,
        "clone3": 435,
        "execve": 59,
        "execveat": 322,
        "fork": 57,
        "io_uring_setup": 425,
        "kill": 62,
        "memfd_create": 319,
        "open": 2,
        "openat": 257,
        "openat2": 437,
        "personality": 135,
        "pidfd_getfd": 438,
        "pkey_mprotect": 329,
        "prctl": 157,
        "prlimit64": 302,
        "process_vm_readv": 310,
        "ptrace": 101,
        "recvmsg": 47,
        "remap_file_pages": 216,
        "rt_sigaction": 13,
        "seccomp": 317,
        "sendmsg": 46,
        "setrlimit": 160,
        "shmat": 30,
        "shmget": 29,
        "socket": 41,
        "tgkill": 234,
        "vfork": 58,
    },
    "aarch64": {
        "bpf": 280,
        "capset": 91,
        "clone": 220,
        "clone3": 435,
        "execve": 221,
        "execveat": 281,
        "io_uring_setup": 425,
        "kill": 129,
        "memfd_create": 279,
        "openat": 56,
        "openat2": 437,
        "personality": 92,
        "pidfd_getfd": 438,
        "pkey_mprotect": 288,
        "prctl": 167,
        "prlimit64": 261,
        "process_vm_readv": 270,
        "ptrace": 117,
        "recvmsg": 212,
        "remap_file_pages": 234,
        "rt_sigaction": 134,
        "seccomp": 277,
        "sendmsg": 211,
        "setrlimit": 164,
        "shmat": 196,
        "shmget": 194,
        "socket": 198,
        "tgkill": 131,
    },
}

# Where Linux distributions put the headers of their kernel, if they are installed.
HEADERS = {
    "x86_64": (
        "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm/unistd_64.h",
    ),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}

machines = pytest.mark.parametrize("machine", sorted(ALLOWED))


def says(machine: str, number: int, *arguments: int) -> int:
    """Return what the filter of a machine says to a call; arguments left out are harmless."""
    whole = (*arguments, *HARMLESS[len(arguments) :])
    program = jail.filter_code(machine, SOCKET)
    return bpf.run(program, number, ARCHITECTURES[machine], whole)


def is_allowed(machine: str, name: str, *arguments: int) -> bool:
    said = says(machine, ALLOWED[machine][name], *arguments)
    assert said in (ALLOW, KILL_PROCESS)
    return said == ALLOW


def _numbers_of_the_kernel(machine: str) -> dict[str, int]:
    """Return the numbers of calls by name, from the first header that is installed."""
    for path in map(Path, HEADERS[machine]):
        if path.exists():
            # A few have another name where a word has 32 bits: __NR3264_mmap.
            defined = re.compile(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)")
            return {name: int(number) for name, number in defined.findall(path.read_text("utf-8"))}
    return ALLOWED[machine] | REFUSED[machine]


@machines
def test_the_kernel_would_take_the_filter(machine: str) -> None:
    bpf.check(jail.filter_code(machine, SOCKET))


@machines
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    theirs = _numbers_of_the_kernel(machine)
    ours = ALLOWED[machine] | REFUSED[machine]
    assert {name: theirs.get(name) for name in ours} == ours


@machines
def test_exactly_the_listed_calls_are_allowed(machine: str) -> None:
    allowed = {number for number in range(601) if says(machine, number) == ALLOW}
    assert allowed == set(ALLOWED[machine].values())
    assert not allowed & set(REFUSED[machine].values())


@machines
def test_every_other_call_ends_the_whole_process(machine: str) -> None:
    others = set(range(601)) - set(ALLOWED[machine].values())
    assert {says(machine, number) for number in others} == {KILL_PROCESS}


@machines
def test_no_call_is_allowed_by_another_name_of_its_number(machine: str) -> None:
    for number in range(601):
        # The x32 bit; what a debugger leaves of a call that is to be skipped; a sign.
        for alias in (number | 0x40000000, ~number, number - (1 << 31)):
            assert says(machine, alias) == KILL_PROCESS


@machines
def test_no_call_of_another_architecture_is_allowed(machine: str) -> None:
    program = jail.filter_code(machine, SOCKET)
    others = {*OTHER_ARCHITECTURES, *ARCHITECTURES.values()} - {ARCHITECTURES[machine]}
    for number in range(601):
        for other in others:
            assert bpf.run(program, number, other, HARMLESS) == KILL_PROCESS


@machines
@pytest.mark.parametrize("name", ["recvfrom", "sendto"])
def test_one_socket_is_left(machine: str, name: str) -> None:
    assert is_allowed(machine, name, SOCKET)
    assert not any(is_allowed(machine, name, fd) for fd in range(1025) if fd != SOCKET)
    assert not is_allowed(machine, name, (1 << 32) - 1)


@machines
def test_memory_is_anonymous_and_never_code(machine: str) -> None:
    mode = READ | WRITE
    assert is_allowed(machine, "mmap", 0, 4096, mode, PRIVATE | ANONYMOUS)
    assert is_allowed(machine, "mmap", 0, 4096, mode, PRIVATE | ANONYMOUS | STACK)
    assert not is_allowed(machine, "mmap", 0, 4096, mode, PRIVATE, SOCKET, 0)
    assert not is_allowed(machine, "mmap", 0, 4096, mode, PRIVATE | ANONYMOUS << 32)
    assert is_allowed(machine, "mprotect", 0, 4096, 0)
    assert is_allowed(machine, "mprotect", 0, 4096, mode)
    for executable in (EXECUTE, EXECUTE | READ, EXECUTE | READ | WRITE, EXECUTE | HUGE):
        assert not is_allowed(machine, "mmap", 0, 4096, executable, PRIVATE | ANONYMOUS)
        assert not is_allowed(machine, "mprotect", 0, 4096, executable)


@machines
def test_advice_that_poisons_memory_is_refused(machine: str) -> None:
    # include/uapi/asm-generic/mman-common.h: MADV_DONTNEED, _FREE, _HUGEPAGE; then _HWPOISON,
    # _SOFT_OFFLINE.
    assert all(is_allowed(machine, "madvise", 0, 4096, advice) for advice in (4, 8, 14))
    assert not any(is_allowed(machine, "madvise", 0, 4096, advice) for advice in (100, 101))


@given(
    machine=st.sampled_from(sorted(ALLOWED)),
    call=st.one_of(
        st.sampled_from([number for table in ALLOWED.values() for number in table.values()]),
        st.integers(-(1 << 31), (1 << 31) - 1),
    ),
    architecture=st.one_of(
        st.sampled_from(sorted(ARCHITECTURES.values())), st.integers(0, (1 << 32) - 1)
    ),
    arguments=st.lists(
        st.one_of(
            st.sampled_from((0, READ, EXECUTE, SOCKET, SOCKET | HUGE, ANONYMOUS, 100)),
            st.integers(0, (1 << 64) - 1),
        ),
        min_size=6,
        max_size=6,
    ),
    socket=st.sampled_from((3, SOCKET, 1023)),
)
def test_whatever_is_called_is_answered_as_the_rules_say(
    machine: str, call: int, architecture: int, arguments: list[int], socket: int
) -> None:
    names = {number: name for name, number in ALLOWED[machine].items()}
    must = architecture == ARCHITECTURES[machine] and call in names
    if must:
        first, _, third, fourth = (argument % (1 << 32) for argument in arguments[:4])
        match names[call]:
            case "recvfrom" | "sendto":
                must = first == socket
            case "mmap":
                must = not third & EXECUTE and bool(fourth & ANONYMOUS)
            case "mprotect":
                must = not third & EXECUTE
            case "madvise":
                must = third < 32
            case _:
                pass
    said = bpf.run(jail.filter_code(machine, socket), call, architecture, arguments)
    assert said == (ALLOW if must else KILL_PROCESS)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [(0x20, 0, 0, 0)],  # no return
        [(0x20, 0, 0, 2), (0x06, 0, 0, ALLOW)],  # a word that is none
        [(0x20, 0, 0, 64), (0x06, 0, 0, ALLOW)],  # beyond the data
        [(0x15, 1, 0, 0), (0x06, 0, 0, ALLOW)],  # out of the program
        [(0x54, 0, 0, 1), (0x06, 0, 0, ALLOW)],  # an instruction it does not know
    ],
)
def test_the_machine_that_runs_the_filter_takes_no_other_program(
    steps: list[tuple[int, int, int, int]],
) -> None:
    with pytest.raises(bpf.Refused):
        bpf.check(b"".join(struct.pack("<HBBI", *step) for step in steps))
