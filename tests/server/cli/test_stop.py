"""`llmspell stop`: an owner ends and stays away, whatever it is doing."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.support.owners import BridgeClient, OwnedProject


def test_an_owner_under_load_stops_in_order(project: OwnedProject) -> None:
    project.own()
    over = threading.Event()

    def load(client: BridgeClient) -> bool:
        client.initialize()
        number = 0
        while not over.is_set():
            number += 1
            answer = client.request("tools/call", {"name": "hello", "arguments": {}}, number)
            if "error" in answer:
                return answer["error"]["data"]["code"] == "owner.stopping"
        return True

    with project.bridge() as one, project.bridge() as two, ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(load, client) for client in (one, two)]
        try:
            one_answered = project.run("run", "hello")
            assert one_answered.stdout == "Hello, world!\n"
            done = project.run("stop")
        finally:
            over.set()
        assert done.returncode == 0
        assert "stopped owner" in done.stderr
        assert all(each.result(20) for each in loads)


def test_an_owner_that_hangs_is_named_with_what_to_do_and_can_be_killed(
    project: OwnedProject,
) -> None:
    project.own()
    pid = project.owner
    assert pid
    os.kill(pid, signal.SIGSTOP)
    refused = project.run("stop", "--timeout", "0.1")
    assert refused.returncode == 1
    assert str(pid) in refused.stderr
    assert "llmspell stop --force" in refused.stderr
    assert project.owner == pid
    done = project.run("stop", "--force")
    assert done.returncode == 0
    assert str(pid) in done.stderr
    # Nor does its keeper put another one in its place.
    assert project.owner is None
    assert project.run("stop").stderr.startswith("no owner of")
