"""How a process meets the owner of a state directory: find its socket, or start one.

The lock decides who owns, never a file: an owner holds `owner.lock` for life,
whoever wants to start one holds `spawn.lock` meanwhile. Both die with their
holder, so there is nothing to clean up after a kill, and a stale socket file is
simply replaced. Serving the socket is `host.owner`'s.

Two builds never share a directory: an older owner is asked to end, and a newer
one serves whoever speaks its protocol and tells the others what to do.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from llmspell import __version__
from llmspell.bridge.hello import (
    DRAIN,
    HELLO_SECONDS,
    MAX_HELLO_BYTES,
    PROTOCOL,
    UnreachableError,
    hello,
    is_newer,
    parse,
)
from llmspell.bridge.peer import Process, Vigil, peer
from llmspell.bridge.places import find_project, state_directory, user_data_directory
from llmspell.bridge.sockets import dial, is_served
from llmspell.bridge.spawning import (
    START_SECONDS,
    SpawnLock,
    Wait,
    Waiting,
    finish,
    private_directory,
    reap,
    spawn,
)

SUCCESSOR_SECONDS = 0.5
"""How long a killed owner's keeper is given to put the next one in its place."""

_LOOK_AGAIN = 0.005


# Named tuples, because dataclasses would load `inspect` while a client waits.
class Address(NamedTuple):
    """Which owner is meant, and how one is started."""

    project: Path
    state: Path
    options: tuple[str, ...] = ()
    """Global options of the command line that a started owner is given, besides these two."""

    @classmethod
    def find(
        cls,
        project: str | None = None,
        state: str | None = None,
        options: Sequence[str] = (),
    ) -> Address:
        """Return the address for what a command line names, or the environment, or its place."""
        root = find_project(project, os.getcwd(), os.environ)
        return cls(root, state_directory(root, state, os.environ), tuple(options))


class Meeting(NamedTuple):
    """A connection on which both sides have said hello."""

    socket: socket.socket
    pid: int
    build: str
    protocol: int = PROTOCOL
    is_kept: bool = False
    """Whether a keeper puts a new owner in its place when it is killed."""
    process: Process | None = None
    """The owner as the kernel knows it."""


def _read_line(connection: socket.socket) -> bytes | None:
    """Read up to a newline and not a byte further; None when it is not whole, b"" at the end."""
    try:
        seen = connection.recv(MAX_HELLO_BYTES, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    end = seen.find(b"\n")
    if end < 0:
        return None if seen and len(seen) < MAX_HELLO_BYTES else b""
    return connection.recv(end + 1)


def _is_owner(state: Path, process: Process) -> bool:
    """Return whether who listens is who wrote that it holds the lock: nobody else is ended."""
    try:
        written = (state / "owner.lock").read_bytes().split()
    except OSError:
        return False
    return written[:1] == [str(process.pid).encode()]


def _greet(
    state: Path, connection: socket.socket, line: bytes, *, may_kill: bool
) -> Waiting[Meeting | None]:
    """Say hello and return the answer's meeting; None when the owner is about to exit.

    Args:
        may_kill: Whether an owner that hangs is ended, instead of told of.
    """
    known = peer(connection)
    if known is not None and known[1] != os.getuid():
        raise UnreachableError(
            f"the owner runs as user {known[1]}",
            hint="use a state directory of your own: --state DIR",
        )
    process = Process(known[0]) if known is not None else None
    try:
        connection.sendall(line)
    except OSError:
        return None
    began = time.monotonic()
    is_known = may_kill and process is not None and _is_owner(state, process)
    vigil = Vigil(process, began) if process is not None and is_known else None
    while True:
        answer = _read_line(connection)
        if answer is not None:
            return _met(connection, answer, process) if answer else None
        now = time.monotonic()
        if vigil is not None and process is not None and vigil.is_hung(now) and process.kill():
            return None
        if now - began > (START_SECONDS if vigil is not None else HELLO_SECONDS):
            raise UnreachableError(
                "the owner does not answer",
                hint="end it with 'llmspell stop --force', then try again",
                pid=process.pid if process is not None else None,
            )
        # Half a line can be read at once, again and again.
        has_part = bool(select.select([connection], [], [], 0)[0])
        yield Wait(-1, _LOOK_AGAIN) if has_part else Wait(connection.fileno(), 1.0)


def _met(connection: socket.socket, line: bytes, process: Process | None) -> Meeting:
    said = parse(line)
    error = said.get("error")
    pid, build, protocol = said.get("pid"), said.get("build"), said.get("protocol")
    if error is not None and protocol == PROTOCOL:
        raise UnreachableError(
            error["message"], code=error["code"], hint=error.get("hint", ""), pid=pid
        )
    if not isinstance(pid, int) or not isinstance(protocol, int):
        raise UnreachableError("what answers on the owner's socket is no owner of llmspell")
    return Meeting(
        connection,
        pid,
        build if isinstance(build, str) else "",
        protocol,
        bool(said.get("keeper")),
        process,
    )


def _approach(state: Path, line: bytes, *, may_kill: bool = False) -> Waiting[Meeting | None]:
    """Dial and greet; None when there is no owner. The protocol is not looked at yet."""
    try:
        connection = dial(state)
    except BlockingIOError:
        yield Wait(-1, 2 * _LOOK_AGAIN)
        return None
    if connection is None:
        return None
    try:
        meeting = yield from _greet(state, connection, line, may_kill=may_kill)
    except BaseException:  # whatever ends this, the descriptor must not stay open
        connection.close()
        raise
    if meeting is None:
        connection.close()
    return meeting


def _accept(meeting: Meeting) -> Meeting:
    """Return a meeting whose owner speaks our protocol, for blocking use.

    Raises:
        UnreachableError: It speaks another one.
    """
    if meeting.protocol == PROTOCOL:
        meeting.socket.settimeout(None)
        return meeting
    meeting.socket.close()
    owner_is_newer = is_newer(meeting.protocol, meeting.build, PROTOCOL, __version__)
    raise UnreachableError(
        f"the owner (pid {meeting.pid}) is llmspell {meeting.build}, this is {__version__}, and "
        "they do not understand each other",
        code="owner.version",
        hint=(
            "restart this client, so that it starts the llmspell that is installed now"
            if owner_is_newer
            else "end it with 'llmspell stop', then try again"
        ),
        pid=meeting.pid,
    )


def connect(state: Path, role: str) -> Meeting | None:
    """Return a greeted connection to the owner of `state`; None when there is no owner. Blocks.

    Raises:
        UnreachableError: There is one, and it can't be used.
    """
    try:
        meeting = finish(_approach(state, hello(role)))
    except OSError as error:
        raise _unusable(state, error) from error
    return None if meeting is None else _accept(meeting)


def connect_or_spawn(address: Address, role: str, *, timeout: float = START_SECONDS) -> Meeting:
    """Return a greeted connection to the owner, started when there is none.

    Blocks up to about `timeout` seconds.

    Raises:
        UnreachableError: None answers and none could be started.
    """
    return finish(seek(address, role, seconds=timeout))


def seek(
    address: Address,
    role: str,
    *,
    bridge: str = "",
    bundle: str = "",
    seconds: float = START_SECONDS,
    grace: float = 0.0,
) -> Waiting[Meeting]:
    """Meet the owner, started when there is none, replaced when it hangs or is older than this.

    Args:
        bridge: Under which id requests will be asked.
        bundle: Whose spells they are about; "" = everything.
        seconds: For how long; about so, because a start under way is waited for.
        grace: For how long somebody else is expected to start one.

    Raises:
        UnreachableError: None answers and none could be started.
    """
    began = time.monotonic()
    deadline = began + seconds
    line = hello(role, bridge, bundle)
    lock = SpawnLock(address.state)
    reap()
    try:
        _check_project(address.project)
        private_directory(address.state)
        while True:
            meeting = yield from _approach(address.state, line, may_kill=True)
            if meeting is not None and not _is_outdated(meeting):
                return _accept(meeting)
            now = time.monotonic()
            if now > deadline:
                raise UnreachableError("no owner stays for long enough to be met", retryable=True)
            if meeting is None and now < began + grace:
                yield Wait(-1, _LOOK_AGAIN)
            elif not lock.take():
                # Somebody starts an owner; its socket may appear at any moment.
                if meeting is not None:
                    meeting.socket.close()
                yield Wait(-1, 2 * _LOOK_AGAIN)
            else:
                found = yield from _start(address, role, line, meeting, deadline)
                if found is not None:
                    return found
                lock.release()
    except OSError as error:
        raise _unusable(address.state, error) from error
    finally:
        lock.release()


def _start(
    address: Address, role: str, line: bytes, outdated: Meeting | None, deadline: float
) -> Waiting[Meeting | None]:
    """With the right to start one, start an owner, unless there is one by now."""
    if outdated is not None:
        yield from _drain(address.state, outdated, deadline)
    else:
        meeting = yield from _approach(address.state, line, may_kill=True)
        if meeting is not None:
            if not _is_outdated(meeting):
                return _accept(meeting)
            yield from _drain(address.state, meeting, deadline)
    yield from spawn(address.project, address.state, address.options, role, deadline)
    return None


def _is_outdated(meeting: Meeting) -> bool:
    return is_newer(PROTOCOL, __version__, meeting.protocol, meeting.build)


def _drain(state: Path, meeting: Meeting, deadline: float) -> Waiting[None]:
    """Have an older owner end, and wait for it. What it had under way goes on with the next."""
    try:
        asked = yield from _approach(state, hello(DRAIN))
    except UnreachableError:
        # It is older than this request.
        asked = None
        if meeting.process is not None and _is_owner(state, meeting.process):
            meeting.process.send(signal.SIGTERM)
    finally:
        meeting.socket.close()
    if asked is not None:
        asked.socket.close()
    while is_served(state):
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"the owner (pid {meeting.pid}) is the older llmspell {meeting.build}, "
                "and does not end",
                code="owner.version",
                hint="end it with 'llmspell stop', then try again",
                pid=meeting.pid,
            )
        yield Wait(-1, 2 * _LOOK_AGAIN)


def _unusable(state: Path, error: OSError) -> UnreachableError:
    import errno

    no_locks = error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    return UnreachableError(
        f"the state directory {str(state)!r} can't be used: {error.strerror or error}",
        hint="its file system has no locks: choose a directory on a local disk with --state DIR"
        if no_locks
        else "choose another with --state DIR",
    )


def _check_project(project: Path) -> None:
    """Make the user's own project when it is meant; any other must exist."""
    if project.is_dir():
        return
    if project != Path(os.path.realpath(user_data_directory(os.environ))):
        raise UnreachableError(
            f"the project directory {str(project)!r} does not exist",
            code="config.invalid",
            hint=f"make it with: llmspell init {project}",
        )
    private_directory(project)
