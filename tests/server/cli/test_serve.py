"""`llmspell serve` and `llmspell stdio --standalone`: an owner in the foreground."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.support.owners import WAIT_SECONDS, BridgeClient, OwnedProject
from tests.support.warm import Command


@contextmanager
def serving(project: OwnedProject) -> Generator[tuple[Command, str]]:
    """Run `serve` on a free port, and yield it with its base URL."""
    process = project.start("serve", "--port", "0")
    try:
        address = ""
        while not address:
            line = process.stdout.readline().decode()
            assert line, process.communicate()[1].decode()
            label, _, rest = line.strip().partition(" ")
            address = rest.strip() if label == "MCP" else ""
        yield process, address.removesuffix("/mcp")
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)


def test_doctor_knows_the_port_of_its_own_server(project: OwnedProject) -> None:
    with serving(project) as (_, url):
        port = url.rpartition(":")[2]
        settings = project.root / "llmspell.toml"
        settings.write_text(f"[server]\nport = {port}\n", encoding="utf-8")
        found = json.loads(project.run("doctor", "--json").stdout)
        [told] = [finding for finding in found if finding["name"] == "HTTP port"]
        assert told["verdict"] == "ok"
        assert told["detail"] == f"127.0.0.1:{port} is served by this project's owner"


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.URLError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_is_the_owner_until_it_is_interrupted(
    project: OwnedProject, how: signal.Signals
) -> None:
    with serving(project) as (process, url):
        assert project.owner == process.pid
        assert ready(url)
        assert project.run("run", "hello").stdout == "Hello, world!\n"
        assert json.loads(project.run("info", "--json").stdout)["http"]["url"] == url
        process.send_signal(how)
        assert process.wait(WAIT_SECONDS) == 0
        assert not ready(url)
    assert project.owner is None
    assert project.owners_begun == 0


def test_serve_says_where_the_token_is_and_never_the_token(project: OwnedProject) -> None:
    with serving(project) as (process, _):
        process.terminate()
        # Its own reader: lines that came with the first are in it, where `communicate` loses them.
        printed = process.stdout.read()
        said = b"".join([printed, process.communicate(timeout=WAIT_SECONDS)[1]]).decode()
    token = project.state / "token"
    assert str(token) in said
    assert token.read_text(encoding="utf-8").strip() not in said
    assert token.stat().st_mode & 0o777 == 0o600


def test_serve_opens_http_at_an_owner_that_lives_and_closes_it_again(
    project: OwnedProject,
) -> None:
    project.own()
    owner = project.owner
    with serving(project) as (process, url):
        assert project.owner == owner != process.pid
        assert ready(url)
        second = project.run("serve", "--port", "0")
        assert second.returncode == 1
        assert url in second.stderr
        process.terminate()
        assert process.wait(WAIT_SECONDS) == 0
        assert not ready(url)
    assert project.owner == owner


def test_http_closes_when_the_serve_that_opened_it_is_killed(project: OwnedProject) -> None:
    project.own()
    with serving(project) as (process, url):
        process.kill()
        process.wait(WAIT_SECONDS)
        with serving(project) as (_, again):
            assert ready(again)
            assert not ready(url)


def test_serve_ends_with_an_error_when_its_owner_is_stopped(project: OwnedProject) -> None:
    project.own()
    with serving(project) as (process, _):
        assert project.run("stop").returncode == 0
        assert process.wait(WAIT_SECONDS) == 1


def test_nobody_may_serve_without_a_token_where_others_can_reach_it(
    project: OwnedProject,
) -> None:
    done = project.run("serve", "--auth", "none", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 1
    assert "config.invalid" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--auth", "magic")])
def test_an_option_with_a_wrong_value_is_refused(
    project: OwnedProject, arguments: tuple[str, ...]
) -> None:
    done = project.run("serve", *arguments)
    assert done.returncode == 1
    assert "config.invalid" in done.stderr


def test_standalone_serves_its_client_and_others_attach(project: OwnedProject) -> None:
    with BridgeClient(project.start("stdio", "--standalone")) as client:
        client.initialize()
        assert client.cast("hello", {}, 1) == "Hello, world!"
        assert project.owner == client.process.pid
        assert project.run("run", "hello").stdout == "Hello, world!\n"
        client.close_input()
        assert client.process.wait(WAIT_SECONDS) == 0
    assert project.owner is None


def test_standalone_on_an_owned_directory_ends_with_the_owners_pid(project: OwnedProject) -> None:
    project.own()
    done = project.run("stdio", "--standalone")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "state.owned" in done.stderr
    assert str(project.owner) in done.stderr
    assert "hint:" in done.stderr


def test_call_reaches_our_own_server_with_its_own_token(project: OwnedProject) -> None:
    with serving(project) as (_, url):
        done = project.run("call", url, "--skill", "hello", '{"name": "Ann"}')
        assert (done.stdout, done.returncode) == ("Hello, Ann!\n", 0)
        wrong = project.run("call", url, "--token", "wrong", "hi")
        assert (wrong.stdout, wrong.returncode) == ("", 1)
        asked = project.run("call", url, "hi")
        assert asked.returncode == 3
        assert "hello" in asked.stderr
    gone = project.run("call", url, "hi")
    assert gone.returncode == 1
    assert "remote.unreachable" in gone.stderr
