"""What clients notice when their owner is killed, hangs or is of an older build: nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.support.mcp import ENVELOPE
from tests.support.owners import WAIT_SECONDS, BridgeClient, OwnedProject, wait_until

KILLS = int(os.environ.get("TEST_KILLS", "5"))
ROUNDS = int(os.environ.get("TEST_ROUNDS", "3"))
"""How often, which `make soak` raises."""

COUNTING = """
return Spell.create {
  name = "count_up",
  input = { by = Schema.string "Who counts" },
  run = function(input) return tostring(State.increment("count/" .. input.by)) end,
}
"""


def test_requests_under_way_when_the_owner_dies_are_answered_by_the_next(
    project: OwnedProject,
) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        call = {"name": "nap", "arguments": {"seconds": 1}, "_meta": {"progressToken": "t"}}
        client.send("tools/call", call, 1)
        assert client.read()["method"] == "notifications/progress"
        client.send("tools/call", {"name": "nap", "arguments": {"seconds": 0.5}}, "two")
        project.kill_owner()
        client.send("ping", {}, 3)
        answers = [client.answer_to_any() for _ in range(3)]
        assert {answer["id"] for answer in answers} == {1, "two", 3}
        assert all("result" in answer for answer in answers)


def test_a_modern_client_needs_no_handshake_with_the_next_owner(project: OwnedProject) -> None:
    project.own()
    with project.bridge() as client:
        call = {"name": "nap", "arguments": {"seconds": 0.5}, "_meta": ENVELOPE}
        client.send("tools/call", call, 1)
        assert client.request("tools/list", {"_meta": ENVELOPE}, 2)["result"]["tools"]
        project.kill_owner()
        assert client.answer(1)["result"]["content"][0]["text"] == "awake"


def test_a_client_that_listens_for_changes_goes_on_listening_with_the_next_owner(
    project: OwnedProject,
) -> None:
    project.own()
    with project.bridge() as client:
        wanted = {"notifications": {"toolsListChanged": True}, "_meta": ENVELOPE}
        client.send("subscriptions/listen", wanted, "stream")
        assert client.read()["method"] == "notifications/subscriptions/acknowledged"
        project.kill_owner()
        # The stream is asked for anew before this is, and its second acknowledgement is not shown.
        assert client.request("tools/list", {"_meta": ENVELOPE}, 2)["result"]["tools"]
        source = (project.root / "spells" / "hello.lua").read_text(encoding="utf-8")
        later = source.replace('"hello"', '"later"')
        (project.root / "spells" / "later.lua").write_text(later, encoding="utf-8")
        changed = client.read()
        assert changed["method"] == "notifications/tools/list_changed"


def test_a_client_that_subscribed_to_a_resource_is_subscribed_with_the_next_owner(
    project: OwnedProject,
) -> None:
    project.own()
    path = project.root / "spells" / "hello.lua"
    with project.bridge() as client:
        client.initialize()
        assert client.request("resources/subscribe", {"uri": "spell://hello"}, 1)["result"] == {}
        assert client.request("resources/subscribe", {"uri": "spell://nap"}, 2)["result"] == {}
        assert client.request("resources/unsubscribe", {"uri": "spell://nap"}, 3)["result"] == {}
        project.kill_owner()
        assert client.cast("hello", {}, 4) == "Hello, world!"
        path.write_text(path.read_text(encoding="utf-8") + "-- more\n", encoding="utf-8")
        told = client.read()
        assert told["method"] == "notifications/resources/updated"
        assert told["params"] == {"uri": "spell://hello"}


def test_a_cancelled_request_is_not_answered_by_the_next_owner(project: OwnedProject) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        call = {"name": "nap", "arguments": {"seconds": 60}, "_meta": {"progressToken": "t"}}
        client.send("tools/call", call, 1)
        assert client.read()["method"] == "notifications/progress"
        client.send("notifications/cancelled", {"requestId": 1})
        project.kill_owner()
        client.send("ping", {}, 2)
        assert client.answer_to_any()["id"] == 2


def test_an_owner_that_is_told_to_stop_says_so_to_whoever_waits(project: OwnedProject) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        call = {"name": "nap", "arguments": {"seconds": 60}, "_meta": {"progressToken": "t"}}
        client.send("tools/call", call, 1)
        assert client.read()["method"] == "notifications/progress"
        assert project.run("stop").returncode == 0
        error = client.answer(1)["error"]
        assert error["data"]["code"] == "owner.stopping"
        assert error["data"]["retryable"] is True
        assert project.owner is None
        assert client.cast("hello", {}, 2) == "Hello, world!"


def test_an_owner_that_hangs_is_ended_and_the_next_answers(project: OwnedProject) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
        assert client.cast("hello", {}, 1) == "Hello, world!"
        hung = project.owner
        assert hung
        os.kill(hung, signal.SIGSTOP)
        assert client.cast("hello", {"name": "b"}, 2) == "Hello, b!"
        assert project.owner not in (None, hung)


def test_an_owner_that_hangs_before_its_hello_is_ended_too(project: OwnedProject) -> None:
    project.own()
    with project.bridge() as client:
        client.initialize()
    hung = project.owner
    assert hung
    os.kill(hung, signal.SIGSTOP)
    with project.bridge() as client:
        client.initialize()
        assert client.cast("hello", {}, 1) == "Hello, world!"
        assert project.owner not in (None, hung)


def test_an_owner_without_its_keeper_is_replaced_by_the_bridges(project: OwnedProject) -> None:
    with project.bridge() as client:
        client.initialize()
        keeper = project.keeper
        assert keeper
        os.kill(keeper, signal.SIGKILL)
        project.kill_owner()
        assert client.cast("hello", {}, 1) == "Hello, world!"
        assert project.keeper not in (None, keeper)


def test_kills_under_load_lose_no_answer(project: OwnedProject) -> None:
    (project.root / "spells" / "count_up.lua").write_text(COUNTING, encoding="utf-8")
    over = threading.Event()
    counts = [0] * 4

    def load(client: BridgeClient, number: int) -> str:
        client.initialize()
        while not over.is_set():
            client.cast("count_up", {"by": str(number)}, counts[number] + 1)
            counts[number] += 1
        return client.cast("count_up", {"by": str(number)}, counts[number] + 1)

    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        clients = [stack.enter_context(project.bridge()) for _ in range(4)]
        loads = [pool.submit(load, client, number) for number, client in enumerate(clients)]
        try:
            for _ in range(KILLS):
                before = list(counts)

                def all_answered(before: list[int] = before) -> bool:
                    return all(now > then for now, then in zip(counts, before, strict=True))

                wait_until(all_answered, "every client has been answered since the last kill")
                project.kill_owner()
        finally:
            over.set()
        # None is lost, and none is performed twice.
        assert [int(done.result(WAIT_SECONDS)) for done in loads] == [n + 1 for n in counts]


def test_sixteen_bridges_at_once_never_have_two_owners(project: OwnedProject) -> None:
    def greet(client: BridgeClient) -> str:
        client.initialize()
        return client.cast("hello", {}, 1)

    with ThreadPoolExecutor(16) as pool:
        for number in range(ROUNDS):
            with ExitStack() as stack:
                clients = [stack.enter_context(project.bridge()) for _ in range(16)]
                assert list(pool.map(greet, clients)) == ["Hello, world!"] * 16
            assert project.owners_begun == number + 1
            assert project.run("stop").returncode == 0


def test_an_older_owner_is_asked_to_make_room(project: OwnedProject) -> None:
    """As an owner of a build before this one would be met: it hears `drain`, and ends."""
    project.state.mkdir()
    path = os.fspath(project.state / "s.sock")
    roles: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener, project.bridge() as client:
        listener.settimeout(WAIT_SECONDS)
        listener.bind(path)
        listener.listen()
        client.send("ping", {}, 1)
        while roles[-1:] != ["drain"]:
            connection, _ = listener.accept()
            with connection:
                roles.append(json.loads(connection.recv(4096))["role"])
                connection.sendall(b'{"protocol":2,"build":"0.0.1","pid":1}\n')
        os.unlink(path)
        listener.close()
        assert client.answer(1)["result"] == {}
        wait_until(lambda: project.owners_begun == 1, "this build's owner has begun")
    assert roles[0] == "mcp"
