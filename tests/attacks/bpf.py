"""The kernel's part in a filter: classic BPF over `struct seccomp_data`, as seccomp(2) runs it.

It knows the four instructions that a jail needs, and fails on any other: what it
runs is then nothing else than what it was written for. It is no general machine.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_LOAD_WORD, _JUMP_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x45, 0x06
_DATA_BYTES = 64
_LONGEST = 4096
_WORD = 0xFFFFFFFF


class Refused(Exception):
    """The kernel would not take this program."""


def run(program: bytes, number: int, architecture: int, arguments: Sequence[int]) -> int:
    """Return what a program says to a system call.

    Args:
        program: One that `check` takes.
        number: Signed, as the kernel passes it.
        architecture: An `AUDIT_ARCH_...` value.
        arguments: Six, of 64 bits each.
    """
    # The instruction pointer, between them, says nothing about a call.
    data = struct.pack("<iIQ6Q", number, architecture, 0, *arguments)
    steps = list(struct.iter_unpack("<HBBI", program))
    accumulator = at = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == _RETURN:
            return value
        if code == _LOAD_WORD:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == _JUMP_EQUAL:
            at += if_true if accumulator == value else if_false
        elif code == _JUMP_SET:
            at += if_true if accumulator & value else if_false
        else:
            raise Refused(f"instruction {at - 1} has the code {code:#x}")


def check(program: bytes) -> None:
    """Check what the kernel does before it takes a program, on all ways through it.

    The rules are those of `bpf_check_classic` and `seccomp_check_filter`.

    Raises:
        Refused: It breaks one of them.
    """
    if not program or len(program) % 8 or len(program) // 8 > _LONGEST:
        raise Refused(f"a program of {len(program)} bytes")
    steps = list(struct.iter_unpack("<HBBI", program))
    for at, (code, if_true, if_false, value) in enumerate(steps):
        if code not in (_LOAD_WORD, _JUMP_EQUAL, _JUMP_SET, _RETURN):
            raise Refused(f"instruction {at} has the code {code:#x}")
        if code == _LOAD_WORD and (value % 4 or value + 4 > _DATA_BYTES):
            raise Refused(f"instruction {at} loads from {value}")
        if code in (_JUMP_EQUAL, _JUMP_SET) and at + 1 + max(if_true, if_false) >= len(steps):
            raise Refused(f"instruction {at} jumps out of the program")
    if steps[-1][0] != _RETURN:
        raise Refused("the program does not end with a return")
