"""How a process finds an owner, and what it says when it can't."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmspell.bridge.hello import PROTOCOL, UnreachableError
from llmspell.bridge.meeting import Address, connect, connect_or_spawn
from llmspell.bridge.peer import peer
from llmspell.bridge.sockets import MAX_SOCKET_PATH, bound_socket, is_served
from llmspell.bridge.spawning import private_directory


@contextmanager
def somebody_else(state: Path, greeting: Any) -> Generator[list[bytes]]:
    """Listen on the socket of `state` as another version would, and say `greeting`."""
    state.mkdir(parents=True, exist_ok=True)
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(state / "s.sock"))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(4096))
                connection.sendall(json.dumps(greeting).encode() + b"\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield heard
        thread.join(10)


def test_a_short_path_is_bound_as_it_is_and_a_long_one_under_a_name_of_its_own(
    tmp_path: Path,
) -> None:
    short = Path("/s/state")
    assert bound_socket(short, {}) == short / "s.sock"
    long = tmp_path / ("x" * MAX_SOCKET_PATH)
    runtime = {"XDG_RUNTIME_DIR": "/tmp"}
    assert bound_socket(long, runtime).parent == Path("/tmp/llmspell")
    assert bound_socket(long, {}).parent == Path(f"/tmp/llmspell-{os.getuid()}")
    assert bound_socket(long, runtime) != bound_socket(long.with_name("y" * 120), runtime)
    assert len(os.fsencode(bound_socket(long, {}))) <= MAX_SOCKET_PATH


def test_nobody_is_met_where_no_socket_is_or_a_stale_one(tmp_path: Path) -> None:
    assert connect(tmp_path, "mcp") is None
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(os.fspath(tmp_path / "s.sock"))
    assert connect(tmp_path, "mcp") is None
    assert not is_served(tmp_path)


def test_the_other_end_of_a_connection_is_known_by_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer(ours) == (os.getpid(), os.getuid())


def test_each_side_says_who_it_is(tmp_path: Path) -> None:
    with somebody_else(tmp_path, {"protocol": PROTOCOL, "build": "9", "pid": 17}) as heard:
        meeting = connect(tmp_path, "control")
        assert meeting is not None
        meeting.socket.close()
    assert (meeting.pid, meeting.build) == (17, "9")
    hello = json.loads(heard[0])
    assert hello["role"] == "control"
    assert hello["protocol"] == PROTOCOL
    assert hello["pid"] == os.getpid()


def test_an_owner_of_another_protocol_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with (
        somebody_else(tmp_path, {"protocol": 99, "build": "9.9", "pid": 17}),
        pytest.raises(UnreachableError) as refused,
    ):
        connect(tmp_path, "mcp")
    assert refused.value.code == "owner.version"
    assert refused.value.pid == 17
    assert "9.9" in refused.value.message
    assert "restart this client" in refused.value.hint


def test_an_owner_of_an_older_protocol_is_refused_where_nothing_may_be_started(
    tmp_path: Path,
) -> None:
    with (
        somebody_else(tmp_path, {"protocol": 1, "build": "0.0.9", "pid": 17}),
        pytest.raises(UnreachableError) as refused,
    ):
        connect(tmp_path, "mcp")
    assert "llmspell stop" in refused.value.hint


def test_an_owner_that_refuses_says_why(tmp_path: Path) -> None:
    error = {"code": "usage.invalid", "message": "no such role"}
    with (
        somebody_else(tmp_path, {"error": error, "protocol": PROTOCOL, "pid": 17}),
        pytest.raises(UnreachableError, match="no such role") as refused,
    ):
        connect(tmp_path, "mcp")
    assert refused.value.code == "usage.invalid"


@pytest.mark.parametrize("greeting", [[], "x", 3])
def test_something_else_on_the_socket_is_no_owner(tmp_path: Path, greeting: Any) -> None:
    with (
        somebody_else(tmp_path, greeting),
        pytest.raises(UnreachableError, match="no owner"),
    ):
        connect(tmp_path, "mcp")


def test_a_project_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(UnreachableError, match="does not exist") as refused:
        connect_or_spawn(Address(missing, missing / ".llmspell"), "mcp")
    assert refused.value.code == "config.invalid"
    assert not missing.exists()


def test_a_state_directory_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="can't be used"):
        connect_or_spawn(Address(tmp_path, tmp_path / "file" / "state"), "mcp")


def test_a_private_directory_is_for_this_user_only(tmp_path: Path) -> None:
    private_directory(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
