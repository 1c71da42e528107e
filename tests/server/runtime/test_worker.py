"""The loop of a worker, over a socket: packets however they come, and what it leaves to Python."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from llmspell.runtime import wire
from tests.server.runtime.test_ahead import COUNTER, declaration_of, frame, loading
from tests.server.runtime.test_snapshot import MEMORY
from tests.support.frames import events_of

_SERVE = """
import sys
from llmspell.runtime.lua.cell import compile_kernel
from llmspell.runtime.lua.snapshot import SnapshotCell
left = SnapshotCell(compile_kernel()).serve(int(sys.argv[1]), bytes.fromhex(sys.argv[2]))
print("gone" if left is None else f"{left[0].hex()} {left[1].hex()}")
"""
PROGRAM = wire.pack_program("spells/t.lua", COUNTER, {})
LOAD = frame(loading(declaration_of(PROGRAM)))


def call(input: Any) -> list[Any]:
    return ["call", 1, 1, [input], False, ""]


def limits(*, message_bytes: int = 8 << 20, hook_seconds: float = 0.0) -> bytes:
    return wire.LIMITS.pack(MEMORY, message_bytes, 60.0, hook_seconds)


@dataclass
class Served:
    """The server's end of a loop."""

    sock: socket.socket
    process: subprocess.Popen[str]

    def reply(self) -> list[list[Any]]:
        size, cpu_us = wire.REPLY.unpack(self._exactly(wire.REPLY.size))
        assert cpu_us > 0
        return events_of(self._exactly(size))

    def end(self) -> str:
        """Close the socket, if that is not done, and return what the loop left."""
        self.sock.close()
        said, _ = self.process.communicate(timeout=20)
        assert self.process.returncode == 0
        return said.strip()

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            parts.append(self.sock.recv(min(size, 1 << 16)))
            assert parts[-1], "the worker has gone"
            size -= len(parts[-1])
        return b"".join(parts)


@contextmanager
def serving(received: bytes = b"") -> Generator[Served]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(theirs.fileno()), received.hex()],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        try:
            yield Served(ours, process)
        finally:
            process.kill()
            process.communicate()


def packets() -> tuple[bytes, list[Any]]:
    """Return what a server sends for a few scripts, and what each of them is to answer."""
    sent, answers = [wire.packet(wire.PROGRAM, PROGRAM)], list[Any]()
    for number, text in enumerate(("a", "b" * 70_000, "c", "d" * 2_000_000, "e")):
        sent.append(wire.packet(wire.BEGIN, limits()))
        sent.append(wire.packet(wire.FRAME, LOAD))
        sent.append(wire.packet(wire.FRAME, frame(call(text))))
        if number % 2:
            sent.append(wire.packet(wire.END))
        answers += [[["loaded"]], [["done", 1, True, [1, 1, text]]]]
    return b"".join(sent), answers


@pytest.mark.parametrize("seed", range(3))
def test_packets_are_read_however_they_are_cut(seed: int) -> None:
    cuts = random.Random(seed)
    sent, answers = packets()
    first = cuts.randrange(200)

    def send(sock: socket.socket) -> None:
        at = first
        while at < len(sent):
            size = cuts.choice((1, 3, 100, 65_536, 1_000_000))
            sock.sendall(sent[at : at + size])
            at += size

    with serving(sent[:first]) as served, ThreadPoolExecutor(1) as sender:
        sending = sender.submit(send, served.sock)
        assert [served.reply() for _ in answers] == answers
        sending.result(timeout=20)
        assert served.end() == "gone"


def test_a_script_with_a_hook_is_left_to_python_with_all_that_comes_after() -> None:
    rest = wire.packet(wire.BEGIN, limits(hook_seconds=0.5)) + wire.packet(wire.FRAME, LOAD)
    with serving() as served:
        served.sock.sendall(wire.packet(wire.PROGRAM, PROGRAM))
        for _ in range(4):
            served.sock.sendall(wire.packet(wire.BEGIN, limits()) + wire.packet(wire.FRAME, LOAD))
            assert served.reply() == [["loaded"]]
        served.sock.sendall(rest)
        served.sock.shutdown(socket.SHUT_WR)
        program, received = served.end().split()
    assert bytes.fromhex(program) == PROGRAM
    assert rest.startswith(bytes.fromhex(received))


def test_a_frame_the_kernel_fails_on_is_answered_and_the_next_script_is_served() -> None:
    with serving() as served:
        served.sock.sendall(wire.packet(wire.PROGRAM, PROGRAM))
        for _ in range(4):
            served.sock.sendall(
                wire.packet(wire.BEGIN, limits())
                + wire.packet(wire.FRAME, frame(["no such \x7f handler \xe9"]))
            )
            ((kind, error),) = served.reply()
            assert (kind, error["code"]) == ("failed", "internal")
            assert "the kernel failed" in error["message"]
            served.sock.sendall(
                wire.packet(wire.BEGIN, limits()) + wire.packet(wire.FRAME, frame(call("x")))
            )
            (done,) = served.reply()
            assert done[2] is False  # it was not loaded
        served.sock.sendall(
            wire.packet(wire.BEGIN, limits())
            + wire.packet(wire.FRAME, frame(loading(declaration_of(PROGRAM)), call("y")))
        )
        assert served.reply() == [["loaded"], ["done", 1, True, [1, 1, "y"]]]


def test_another_program_takes_the_place_of_the_one_before() -> None:
    other = wire.pack_program("spells/o.lua", b"return { run = function() return 'o' end }", {})
    with serving() as served:
        for program, expected in ((PROGRAM, [1, 1, "x"]), (other, "o")) * 3:
            served.sock.sendall(wire.packet(wire.PROGRAM, program))
            declared = declaration_of(program)
            for _ in range(3):
                served.sock.sendall(
                    wire.packet(wire.BEGIN, limits())
                    + wire.packet(wire.FRAME, frame(loading(declared), call("x")))
                )
                assert served.reply() == [["loaded"], ["done", 1, True, expected]]
