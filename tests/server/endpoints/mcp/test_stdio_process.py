"""MCP on a process's own stdin and stdout: nothing else gets onto the wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mcp import ENVELOPE
from tests.support.servers import ROOT, environment

SERVE = """
import asyncio, os, sys
from pathlib import Path
from llmspell.endpoints.mcp.stdio import serve_stdio
from tests.support.mcp import open_host

async def main():
    async with open_host(Path(sys.argv[1])) as host:
        asyncio.get_running_loop().call_soon(lambda: os.system("echo a stray child"))
        await serve_stdio(host)
        print("a stray print after", flush=True)

asyncio.run(main())
"""

REQUESTS = b"".join(
    json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
    + b"\n"
    for number, (method, params) in enumerate(
        [
            ("server/discover", {"_meta": ENVELOPE}),
            ("tools/call", {"name": "echo", "arguments": {"text": "hi"}, "_meta": ENVELOPE}),
        ]
    )
)


@pytest.mark.parametrize("redirected", [False, True], ids=["pipes", "files"])
def test_on_the_processes_own_streams_nothing_but_messages_is_written(
    tmp_path: Path, redirected: bool
) -> None:
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(ROOT)])
    if redirected:
        asked, answered = tmp_path / "in", tmp_path / "out"
        asked.write_bytes(REQUESTS)
        with asked.open("rb") as source, answered.open("wb") as sink:
            done = subprocess.run(
                command, env=env, stdin=source, stdout=sink, stderr=subprocess.PIPE, timeout=60
            )
        output = answered.read_bytes()
    else:
        done = subprocess.run(command, env=env, input=REQUESTS, capture_output=True, timeout=60)
        output = done.stdout
    assert done.returncode == 0, done.stderr.decode()
    messages = [json.loads(line) for line in output.splitlines()]
    assert sorted(message["id"] for message in messages) == [0, 1]
    assert all(message["jsonrpc"] == "2.0" and "result" in message for message in messages)
    assert b"a stray child" in done.stderr
    assert b"a stray print after" in done.stderr
