"""`llmspell stdio` as a client sees it: real bridges, real owners."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from llmspell.bridge.hello import MAX_MESSAGE
from tests.support.owners import WAIT_SECONDS, BridgeClient, OwnedProject, owned_project, wait_until


def greet(client: BridgeClient) -> str:
    client.initialize()
    return client.cast("hello", {}, 1)


def test_eight_bridges_at_once_share_one_owner_and_all_are_answered(project: OwnedProject) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(project.bridge()) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            said = list(pool.map(greet, clients))
        assert said == ["Hello, world!"] * 8
        assert project.owners_begun == 1


def test_a_request_after_the_owner_was_killed_is_answered_by_the_next(
    project: OwnedProject,
) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        assert client.cast("hello", {"name": "a"}, 1) == "Hello, a!"
        first = project.kill_owner()
        assert client.cast("hello", {"name": "b"}, 2) == "Hello, b!"
        assert project.owner not in (None, first)


def test_a_stale_socket_of_a_killed_owner_is_replaced(project: OwnedProject) -> None:
    project.state.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(project.state / "s.sock"))
    with project.bridge() as client:
        client.initialize()
        assert client.cast("hello", {}, 1) == "Hello, world!"


def test_an_owner_that_was_stopped_stays_so_until_a_client_asks_something(
    project: OwnedProject,
) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        assert project.run("stop").returncode == 0
        client.send("notifications/cancelled", {"requestId": 99})
        assert project.owner is None
        assert client.cast("hello", {}, 1) == "Hello, world!"
        assert project.owners_begun == 2


def test_answers_that_come_after_the_end_of_input_are_passed_on(shared: OwnedProject) -> None:
    with shared.bridge() as client:
        client.initialize()
        client.send("tools/call", {"name": "nap", "arguments": {"seconds": 0.3}}, 1)
        client.close_input()
        assert client.answer(1)["result"]["content"][0]["text"] == "awake"
        assert client.process.wait(WAIT_SECONDS) == 0


def test_a_last_line_without_a_newline_is_a_message(shared: OwnedProject) -> None:
    done = shared.run("stdio", input='{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert done.returncode == 0


def test_the_bridge_ends_when_nobody_reads_its_answers(shared: OwnedProject) -> None:
    process = shared.start_anew("stdio")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stderr:
        process.stdout.close()
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        process.stdin.flush()
        assert process.wait(WAIT_SECONDS) == 0


def test_a_change_of_the_spells_reaches_a_client_that_asked_nothing(shared: OwnedProject) -> None:
    with shared.bridge() as client:
        client.initialize()
        assert client.cast("hello", {}, 1) == "Hello, world!"
        source = (shared.root / "spells" / "hello.lua").read_text(encoding="utf-8")
        changed = source.replace('"hello"', '"salute"')
        (shared.root / "spells" / "salute.lua").write_text(changed, encoding="utf-8")
        assert client.read()["method"] == "notifications/tools/list_changed"
        assert client.cast("salute", {}, 2) == "Hello, world!"


def test_lines_that_are_not_json_are_answered_and_the_stream_lives_on(
    shared: OwnedProject,
) -> None:
    with shared.bridge() as client:
        client.write(b"this is not json\n\n")
        assert client.read()["error"]["code"] == -32700
        assert client.request("ping", {}, 1)["result"] == {}


def test_what_is_no_message_is_answered_though_it_comes_before_an_owner_is_met(
    project: OwnedProject,
) -> None:
    lines = ("[]", "{}", '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","id":1,"method":7}')
    done = project.run("stdio", input="\n".join(lines))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["error"]["code"] for answer in answers] == [-32600] * len(lines)


def test_requests_are_all_answered_however_many_come_before_an_owner_is_met(
    project: OwnedProject,
) -> None:
    count = 3000
    with project.bridge() as client:
        client.write(
            b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % n for n in range(count))
        )
        assert {client.answer_to_any()["id"] for _ in range(count)} == set(range(count))


def test_the_bridge_ends_though_its_client_asked_what_no_answer_can_name(
    shared: OwnedProject,
) -> None:
    lines = (
        '{"jsonrpc":"2.0","id":true,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1.5,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}',
    )
    done = shared.run("stdio", input="\n".join(lines))
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(answer["id"] for answer in answers) == {None: 2, 1: 1}
    assert all("error" in answer for answer in answers)


def test_what_is_between_bridge_and_owner_is_no_message_of_a_client(shared: OwnedProject) -> None:
    with shared.bridge() as client:
        for line in (b"!ping\n", b"!bridge of another\n", b"!stopped\n"):
            client.write(line)
            assert client.read()["error"]["code"] == -32700
        assert client.request("ping", {}, 1)["result"] == {}


def test_a_request_longer_than_an_owner_takes_is_refused_wherever_its_id_stands(
    shared: OwnedProject,
) -> None:
    with shared.bridge() as client:
        text = b"x" * MAX_MESSAGE
        client.write(
            b'{"jsonrpc":"2.0","method":"ping","id":7,"params":{"x":"%b"}}\n' % text,
        )
        answer = client.read()
        assert (answer["id"], answer["error"]["data"]["code"]) == (7, "input.too_large")
        assert client.request("ping", {}, 8)["result"] == {}


def test_a_line_beyond_every_limit_is_refused_by_the_bridge_itself(shared: OwnedProject) -> None:
    with shared.bridge() as client:
        megabyte = b"x" * (1 << 20)
        for _ in range(33):
            client.write(megabyte)
        client.write(b"\n")
        error = client.read()["error"]
        assert error["data"]["code"] == "input.too_large"
        assert client.request("ping", {}, 1)["result"] == {}


def test_a_large_message_passes_both_ways(project: OwnedProject) -> None:
    with (project.root / "llmspell.toml").open("a", encoding="utf-8") as file:
        file.write('[mcp]\nresult_bytes = "4MiB"\n')
    with project.bridge() as client:
        client.initialize()
        name = "n" * 2_000_000
        assert client.cast("hello", {"name": name}, 1) == f"Hello, {name}!"


def test_every_request_is_answered_when_no_owner_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with owned_project(tmp_path / "p", state=tmp_path / "file" / "state") as project:
        requests = (
            '{"jsonrpc":"2.0","id":1,"method":"ping"}\n{"jsonrpc":"2.0","id":"b","method":"x"}'
        )
        done = project.run("stdio", input=requests)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [answer["id"] for answer in answers] == [1, "b"]
        for answer in answers:
            assert answer["error"]["code"] == -32000
            assert answer["error"]["data"]["code"] == "owner.unreachable"
            assert "--state" in answer["error"]["data"]["hint"]
        assert done.stderr.count("can't be used") == 1  # however often it was looked for
        assert done.returncode == 0


def test_what_keeps_an_owner_from_starting_reaches_the_client(project: OwnedProject) -> None:
    (project.root / "llmspell.toml").write_text("[modles]\n", encoding="utf-8")
    done = project.run("stdio", input='{"jsonrpc":"2.0","id":1,"method":"ping"}')
    data = json.loads(done.stdout)["error"]["data"]
    assert data["code"] == "owner.unreachable"
    assert data["cause"]["code"] == "config.invalid"
    assert "modles" in data["cause"]["message"]
    assert "models" in data["cause"]["hint"]


def test_a_client_that_mends_what_was_wrong_is_served_without_a_restart(
    project: OwnedProject,
) -> None:
    settings = project.root / "llmspell.toml"
    settings.write_text("[modles]\n", encoding="utf-8")
    with project.bridge() as client:
        assert "error" in client.request("ping", {}, 1)
        settings.write_text("", encoding="utf-8")
        assert client.request("ping", {}, 2)["result"] == {}


def test_an_owner_of_another_version_is_named_in_every_answer(project: OwnedProject) -> None:
    project.state.mkdir()
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(project.state / "s.sock"))
        listener.listen()

        def greet() -> None:
            while not over.is_set():
                if select.select([listener], [], [], 0.1)[0]:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b'{"protocol":99,"build":"9.9","pid":1}\n')

        greeter = threading.Thread(target=greet)
        greeter.start()
        try:
            with project.bridge() as client:
                for number in (1, 2):
                    data = client.request("ping", {}, number)["error"]["data"]
                    assert data["code"] == "owner.version"
                    assert "restart this client" in data["hint"]
        finally:
            over.set()
            greeter.join()


def test_a_state_directory_of_any_depth_has_an_owner(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    with owned_project(tmp_path / "p", state=deep) as project:
        with project.bridge() as client:
            client.initialize()
            assert client.cast("hello", {}, 1) == "Hello, world!"
        link = deep / "s.sock"
        assert link.is_symlink()
        bound = link.resolve()
        assert bound.stat().st_mode & 0o777 == 0o600
        assert project.run("run", "hello").stdout == "Hello, world!\n"
        assert project.owners_begun == 1
        assert project.run("stop").returncode == 0
        assert not bound.exists()
        assert not link.is_symlink()


def test_two_projects_have_two_owners(tmp_path: Path) -> None:
    with (
        owned_project(tmp_path / "one") as one,
        owned_project(tmp_path / "two") as two,
        one.bridge() as first,
        two.bridge() as second,
    ):
        first.initialize()
        second.initialize()
        assert first.cast("hello", {"name": "1"}, 1) == "Hello, 1!"
        assert second.cast("hello", {"name": "2"}, 1) == "Hello, 2!"
        assert one.owner != two.owner
        assert one.owners_begun == two.owners_begun == 1


def test_an_owner_that_nobody_needs_ends_and_leaves_no_socket(tmp_path: Path) -> None:
    environ = {"LLMSPELL_OWNER__IDLE_SECONDS": "0.5"}
    with owned_project(tmp_path / "p", environ=environ) as project:
        assert project.run("run", "hello").returncode == 0
        wait_until(lambda: project.owner is None, "the idle owner has ended")
        assert not (project.state / "s.sock").exists()
        assert "nobody for 0.5 s" in project.log


def test_only_this_user_can_reach_the_owner(shared: OwnedProject) -> None:
    assert shared.run("run", "hello").returncode == 0
    assert (shared.state / "s.sock").stat().st_mode & 0o777 == 0o600
    assert shared.state.stat().st_mode & 0o777 == 0o700
    assert (shared.state / "log" / "owner.log").stat().st_mode & 0o777 == 0o600


def test_the_owner_holds_nothing_of_the_client_that_started_it(project: OwnedProject) -> None:
    inherited, write_end = os.pipe()
    process = subprocess.Popen(
        project.command("run", "hello"),
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[write_end],
    )
    os.close(write_end)
    assert process.wait(WAIT_SECONDS) == 0
    with os.fdopen(inherited, "rb") as end:
        ready, _, _ = select.select([end], [], [], WAIT_SECONDS)
        assert ready, "the owner keeps the pipe open"
        assert end.read() == b""
    assert project.owner is not None


def test_a_bridge_of_a_bundle_serves_its_spells_alone_whoever_owns(project: OwnedProject) -> None:
    settings = '[mcp.bundles]\nsleepy = ["n*"]\n'
    with (project.root / "llmspell.toml").open("a", encoding="utf-8") as file:
        file.write(settings)

    def names(client: BridgeClient) -> list[str]:
        listed = client.request("tools/list", {}, "list")["result"]["tools"]
        return [tool["name"] for tool in listed if not tool["name"].startswith(("cast", "run_"))]

    with (
        project.bridge("--bundle", "sleepy") as sleepy,
        project.bridge("--bundle=none") as none,
        project.bridge() as everything,
    ):
        for client in (sleepy, none, everything):
            client.initialize()
        assert names(sleepy) == ["nap"]
        assert names(none) == []
        assert names(everything) == ["hello", "nap"]
        kept = project.state / "catalogue-sleepy.json"
        wait_until(kept.exists, "the answers are kept")
        assert not (project.state / "catalogue-none.json").exists()
        project.kill_owner()
        assert names(sleepy) == ["nap"]
        assert project.owners_begun == 2


def test_a_standalone_server_of_a_bundle_serves_its_spells_alone(project: OwnedProject) -> None:
    with (project.root / "llmspell.toml").open("a", encoding="utf-8") as file:
        file.write('[mcp.bundles]\nsleepy = ["n*"]\n')
    with project.bridge("--standalone", "--bundle", "sleepy") as client:
        client.initialize()
        listed = client.request("tools/list", {}, 1)["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["cast", "nap", "run_cancel", "run_result"]
