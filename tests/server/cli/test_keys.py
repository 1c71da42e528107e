"""`llmspell keys` as a person types it, and the server that lets its keys in."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tests.support.owners import WAIT_SECONDS, OwnedProject

KEY = re.compile(r"lsk_[0-9a-z]{12}_[\w-]{43}\n")


@contextmanager
def serving(project: OwnedProject, *options: str) -> Generator[str]:
    """Run `serve --auth keys` on a free port, and yield its base URL."""
    process = project.start("serve", "--auth", "keys", "--port", "0", *options)
    try:
        address = ""
        while not address:
            line = process.stdout.readline().decode()
            assert line, process.communicate()[1].decode()
            label, _, rest = line.strip().partition(" ")
            address = rest.strip() if label == "MCP" else ""
        yield address.removesuffix("/mcp")
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)


def call(url: str, key: str, tool: str = "hello") -> tuple[int, Any]:
    """Call a tool as the bearer of a key; return the status and the answer."""
    body: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": tool,
            "arguments": {},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    request = urllib.request.Request(f"{url}/mcp", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_the_key_alone_is_on_stdout_and_what_it_is_on_stderr(project: OwnedProject) -> None:
    project.own()
    made = project.run("keys", "add", "laptop", "--scope", "cast:hello", "--expires", "90d")
    assert made.returncode == 0
    assert KEY.fullmatch(made.stdout)
    assert "cast:hello" in made.stderr
    assert made.stdout.strip() not in made.stderr
    listed = project.run("keys", "list")
    assert "laptop" in listed.stdout
    assert made.stdout.strip() not in listed.stdout
    again = json.loads(project.run("keys", "list", "--json").stdout)
    assert [(key["label"], key["scopes"], key["tenant"]) for key in again] == [
        ("laptop", ["cast:hello"], "default")
    ]


def test_a_key_survives_its_owner_and_a_revoked_one_is_gone(project: OwnedProject) -> None:
    project.own()
    made = json.loads(project.run("keys", "add", "ci", "--tenant", "acme", "--json").stdout)
    assert made["secret"].startswith(f"lsk_{made['id']}_")
    project.kill_owner()
    [listed] = json.loads(project.run("keys", "list", "--json").stdout)
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    revoked = project.run("keys", "revoke", made["id"])
    assert (revoked.returncode, revoked.stdout) == (0, "")
    assert "ci" in revoked.stderr
    again = project.run("keys", "revoke", made["id"])
    assert again.returncode == 1
    assert "key.not_found" in again.stderr
    empty = project.run("keys", "list")
    assert (empty.stdout, empty.returncode) == ("", 0)


def test_what_makes_no_sense_is_a_usage_error(project: OwnedProject) -> None:
    project.own()
    for wrong in (("--scope", "write"), ("--expires", "soon"), ("--tenant", "a b")):
        done = project.run("keys", "add", "x", *wrong)
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert "usage.invalid" in done.stderr


def test_a_server_that_would_let_nobody_in_is_not_started(project: OwnedProject) -> None:
    project.own()
    done = project.run("serve", "--auth", "keys", "--port", "0")
    assert done.returncode == 1
    assert "llmspell keys add" in done.stderr


def test_a_served_key_counts_until_the_moment_it_is_revoked(project: OwnedProject) -> None:
    made = json.loads(project.run("keys", "add", "ci", "--json").stdout)
    narrow = project.run("keys", "add", "narrow", "--scope", "cast:other").stdout.strip()
    token = (project.state / "token").read_text() if (project.state / "token").exists() else "x"
    with serving(project) as url:
        status, answer = call(url, made["secret"])
        assert (status, answer["result"]["content"][0]["text"]) == (200, "Hello, world!")
        status, answer = call(url, narrow)
        assert (status, answer["error"]["code"]) == (403, "access.forbidden")
        for wrong in (token, made["secret"][:-1], ""):
            assert call(url, wrong)[0] == 401
        used = json.loads(project.run("keys", "list", "--json").stdout)
        assert [key["last_used_at"] is not None for key in used] == [True, True]
        project.run("keys", "revoke", made["id"])
        status, answer = call(url, made["secret"])
        assert (status, answer["error"]["code"]) == (401, "access.unauthenticated")
