"""Commands in processes forked from one that has loaded the product already.

Each is a process of its own, with its own arguments, directory, environment and pipes, as if
started by a shell; only the second an interpreter takes to load everything is not spent again.
What a start loads is therefore not seen here: `servers.llmspell` starts from nothing, and
`tests/server/cli/test_startup.py` holds that either way comes to the same.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO

from tests.support.servers import environment

RUN_SECONDS = 60.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "llmspell.cli.app",
        "llmspell.cli.call",
        "llmspell.cli.own",
        "llmspell.cli.owning",
        "llmspell.endpoints.app",
        "llmspell.endpoints.mcp.opening",
        "llmspell.host.remote",
    ]
)


class Command:
    """A command under way, with pipes at its three ends; used as a `subprocess.Popen` is."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self._arguments = ["llmspell", *arguments]
        stdin, fed = _context.Pipe(duplex=False)
        heard, stdout = _context.Pipe(duplex=False)
        heard_errors, stderr = _context.Pipe(duplex=False)
        self._process = _start(arguments, cwd, env, (stdin, stdout, stderr))
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._said: tuple[bytes, bytes] | None = None
        self.stdin: IO[bytes] = os.fdopen(os.dup(fed.fileno()), "wb")
        self.stdout: IO[bytes] = os.fdopen(os.dup(heard.fileno()), "rb")
        self.stderr: IO[bytes] = os.fdopen(os.dup(heard_errors.fileno()), "rb")
        for end in (fed, heard, heard_errors):
            end.close()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = RUN_SECONDS) -> int:
        """Wait for its end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: It goes on.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout)
        return self._process.exitcode

    def communicate(self, input: bytes = b"", timeout: float = RUN_SECONDS) -> tuple[bytes, bytes]:
        """Give it its input, wait for its end, and return what else it printed.

        As with a shell's pipes, output ends only when whatever the command left behind has
        let go of it too. A second call returns the same.

        Raises:
            subprocess.TimeoutExpired: It took longer, and was killed.
        """
        if self._said is not None:
            return self._said
        with self.stdout, self.stderr, ThreadPoolExecutor(3) as pool:
            printed = pool.submit(self.stdout.read)
            errors = pool.submit(self.stderr.read)
            feeding = pool.submit(self._feed, input)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            feeding.result()
            self._said = printed.result(), errors.result()
        return self._said

    def _feed(self, data: bytes) -> None:
        """Write to the command, which may end without reading all of it."""
        try:
            with self.stdin:
                self.stdin.write(data)
        except BrokenPipeError:
            pass

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing when it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end; nothing when it has."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it; nothing when it has ended."""
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    input: str = "",
    timeout: float = RUN_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed.

    Raises:
        subprocess.TimeoutExpired: It took longer than `timeout` seconds, and was killed.
    """
    command = Command(arguments, cwd=cwd, env=env)
    printed, errors = command.communicate(input.encode(), timeout)
    return subprocess.CompletedProcess(
        ["llmspell", *arguments], command.wait(), _text(printed), _text(errors)
    )


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def llmspell(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as `servers.llmspell` does, without the start from nothing."""
    return run(arguments, cwd=cwd, env=environment())


def own(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> None:
    """Start an owner in a session of its own, as a command starts it; waits for nothing.

    Args:
        arguments: Global options of its command line.
        log: The file it writes to.
    """
    nothing = Connection(os.open(os.devnull, os.O_RDONLY), writable=False)
    written = Connection(
        os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), readable=False
    )
    again = Connection(os.dup(written.fileno()), readable=False)
    _start([*arguments, "own"], cwd, env, (nothing, written, again), detached=True)


def _start(
    arguments: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    ends: tuple[Connection, Connection, Connection],
    *,
    detached: bool = False,
) -> ForkServerProcess:
    child = _context.Process(
        target=_command,
        args=(list(arguments), os.fspath(cwd), dict(env), ends, detached),
        daemon=True,  # what a test leaves behind ends with the tests
    )
    child.start()
    for end in ends:
        end.close()
    return child


def _command(
    arguments: list[str],
    cwd: str,
    env: dict[str, str],
    ends: tuple[Connection, Connection, Connection],
    detached: bool,
) -> None:
    """Become the command: what a shell and an interpreter do before `main` is called."""
    from llmspell import failpoints
    from llmspell.cli import main

    if detached:
        os.setsid()
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    failpoints.arm(env.get("LLMSPELL_FAILPOINT", ""))
    sys.argv = ["llmspell", *arguments]
    main()
