"""How a process meets the owner of a state directory: find its socket, or start one.

The lock decides who owns, never a file: an owner holds `owner.lock` for life,
whoever wants to start one holds `spawn.lock` meanwhile. Both die with their
holder, so there is nothing to clean up after a kill, and a stale socket file is
simply replaced. Serving the socket is `host.owner`'s.

Each side begins with one line of JSON: the client says `{protocol, build, pid,
role}`, the owner answers `{protocol, build, pid}` or `{error}`.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from llmspell import __version__
from llmspell.bridge.places import find_project, state_directory, user_data_directory

PROTOCOL = 1
"""Number of the protocol on the socket; both sides must speak the same."""

SOCKET_NAME = "s.sock"
MAX_SOCKET_PATH = 100
"""Longest path bound as it is, in bytes: the kernel's limit is 104 to 108."""

START_SECONDS = 30.0
"""How long a start may take, database recovery and loading of spells included."""

HELLO_SECONDS = 10.0
MAX_HELLO_BYTES = 4096
MAX_LOG_BYTES = 8 << 20
"""Size from which `log/owner.log` is set aside as `owner.log.1` before the next start."""

_children: list[int] = []


class UnreachableError(Exception):
    """No owner could be used. `code`, `hint` and `cause` are those of an error object."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "owner.unreachable",
        hint: str = "the state directory's log/owner.log says why",
        cause: dict[str, Any] | None = None,
        pid: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.cause = cause
        """The error object the owner itself failed with, when it could say."""
        self.pid = pid
        """The owner, when there is one that can't be used."""


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


def bound_socket(state: Path, environ: Mapping[str, str]) -> Path:
    """Return the path an owner of `state` binds: in the state directory when it is short enough.

    Otherwise a name made of the state directory's hash, in the user's runtime
    directory; `s.sock` is then a symbolic link to it, so that a client with
    another environment finds it all the same.
    """
    plain = state / SOCKET_NAME
    if len(os.fsencode(plain)) <= MAX_SOCKET_PATH:
        return plain
    import hashlib  # only long paths need it

    name = hashlib.sha256(os.fsencode(os.path.realpath(state))).hexdigest()[:24] + ".sock"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime, "llmspell") if os.path.isdir(runtime) else None
    if base is None or len(os.fsencode(base / name)) > MAX_SOCKET_PATH:
        base = Path(f"/tmp/llmspell-{os.getuid()}")
    return base / name


def private_directory(path: Path) -> None:
    """Make a directory only this user may enter; an existing one must be this user's.

    Raises:
        PermissionError: It belongs to somebody else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{str(path)!r} belongs to another user")


def peer(connection: socket.socket) -> tuple[int, int] | None:
    """Return pid and user id of the process at the other end; None where the system can't say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None  # there the modes of socket and directory have to do
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


def _read_line(connection: socket.socket) -> bytes:
    """Read up to a newline and not a byte further; b"" when the other side hung up."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) >= MAX_HELLO_BYTES:
            return b""
        line += byte
    return bytes(line)


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnreachableError(f"what answers on {SOCKET_NAME} is no owner of llmspell")
    return value  # pyright: ignore[reportUnknownVariableType]  # JSON has string keys


def _greet(connection: socket.socket, role: str) -> Meeting | None:
    connection.settimeout(HELLO_SECONDS)
    hello = {"protocol": PROTOCOL, "build": __version__, "pid": os.getpid(), "role": role}
    try:
        connection.sendall(json.dumps(hello).encode() + b"\n")
        line = _read_line(connection)
    except TimeoutError:
        known = peer(connection)
        raise UnreachableError(
            "the owner does not answer",
            hint="end it with 'llmspell stop', then try again",
            pid=known[0] if known else None,
        ) from None
    except OSError:
        return None
    if not line:
        return None  # it is about to exit: meet the next one
    answer = _object(line)
    error = answer.get("error")
    if error is not None:
        raise UnreachableError(
            error["message"],
            code=error["code"],
            hint=error.get("hint", ""),
            pid=answer.get("pid"),
        )
    if answer.get("protocol") != PROTOCOL:
        raise UnreachableError(
            f"the owner is llmspell {answer.get('build')} (pid {answer.get('pid')}), "
            f"this is {__version__}",
            code="owner.version",
            hint="end it with 'llmspell stop', then try again",
            pid=answer.get("pid"),
        )
    connection.settimeout(None)
    return Meeting(connection, int(answer["pid"]), str(answer["build"]))


def _dial(state: Path) -> socket.socket | None:
    """Return a connection to whoever listens on the socket of `state`, or None."""
    path = state / SOCKET_NAME
    try:
        target = os.path.join(state, os.readlink(path)) if path.is_symlink() else os.fspath(path)
    except OSError:
        return None  # it went away between the two looks
    if len(os.fsencode(target)) > MAX_SOCKET_PATH:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(target)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def is_served(state: Path) -> bool:
    """Return whether an owner of `state` accepts connections."""
    connection = _dial(state)
    if connection is None:
        return False
    connection.close()
    return True


def connect(state: Path, role: str) -> Meeting | None:
    """Return a greeted connection to the owner of `state`; None when there is no owner.

    Raises:
        UnreachableError: There is one, and it can't be used.
    """
    connection = _dial(state)
    if connection is None:
        return None
    try:
        known = peer(connection)
        if known is not None and known[1] != os.getuid():
            raise UnreachableError(
                f"the owner of {str(state)!r} runs as user {known[1]}",
                hint="use a state directory of your own: --state DIR",
            )
        meeting = _greet(connection, role)
    except BaseException:
        connection.close()
        raise
    if meeting is None:
        connection.close()
    return meeting


@contextmanager
def _spawn_lock(state: Path, deadline: float) -> Generator[None]:
    """Hold `spawn.lock`: one process at a time may start an owner."""
    lock = os.open(state / "spawn.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UnreachableError("somebody else has been starting an owner") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(lock)


def _open_log(state: Path) -> int:
    directory = state / "log"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / "owner.log"
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(directory / "owner.log.1")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _await_readiness(end: int, deadline: float) -> None:
    """Read what a started owner says of itself: a bare newline, or an error object.

    Raises:
        UnreachableError: It failed, ended, or took too long.
    """
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([end], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise UnreachableError(f"an owner was started and is not ready in {START_SECONDS:g} s")
        chunk = os.read(end, 65536)
        if not chunk:
            raise UnreachableError("an owner was started and ended at once")
        said += chunk
    if said.strip():
        error = json.loads(said)
        raise UnreachableError(f"an owner could not start: {error['message']}", cause=error)


def _spawn(address: Address, deadline: float) -> None:
    """Start a detached owner and wait until it serves.

    Raises:
        UnreachableError: It does not.
    """
    ready, told = os.pipe()
    log = _open_log(address.state)
    try:
        os.set_inheritable(told, True)
        # -P: the working directory is the client's and must not be searched for modules.
        command = [sys.executable, "-P", "-m", "llmspell", "--project", os.fspath(address.project)]
        command += ["--state", os.fspath(address.state), *address.options]
        command += ["own", "--ready", str(told)]
        pid = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
        _children.append(pid)
        os.close(told)
        told = -1
        _await_readiness(ready, deadline)
    except OSError as error:
        raise UnreachableError(f"an owner could not be started: {error}") from error
    finally:
        for descriptor in (ready, told, log):
            if descriptor >= 0:
                os.close(descriptor)


def _reap() -> None:
    """Collect owners this process started that have ended, so that none stays a zombie."""
    for pid in list(_children):
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            done = pid
        if done:
            _children.remove(pid)


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


def connect_or_spawn(address: Address, role: str, *, timeout: float = START_SECONDS) -> Meeting:
    """Return a greeted connection to the owner, started when there is none.

    Blocks up to about `timeout` seconds.

    Raises:
        UnreachableError: None answers and none could be started.
    """
    deadline = time.monotonic() + timeout
    _reap()
    try:
        _check_project(address.project)
        private_directory(address.state)
        while True:
            meeting = connect(address.state, role)
            if meeting is not None:
                return meeting
            with _spawn_lock(address.state, deadline):
                meeting = connect(address.state, role)
                if meeting is not None:
                    return meeting
                _spawn(address, deadline)
            if time.monotonic() > deadline:
                raise UnreachableError("the owner does not stay")
    except OSError as error:
        raise UnreachableError(
            f"the state directory {str(address.state)!r} can't be used: {error.strerror or error}",
            hint="choose another with --state DIR",
        ) from error
