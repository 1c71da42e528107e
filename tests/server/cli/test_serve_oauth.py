"""`llmspell serve --auth oauth`: the tokens of an issuer that the settings name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2

from tests.support.authorization_server import serving_issuer
from tests.support.owners import WAIT_SECONDS, owned_project

A2A: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}


async def test_the_command_serves_an_issuers_tokens_under_its_real_address(tmp_path: Path) -> None:
    async with asyncio.timeout(3 * WAIT_SECONDS), serving_issuer() as issuer:
        environ = {
            "LLMSPELL_SERVER__OAUTH__ISSUER": issuer.url,
            "LLMSPELL_SERVER__OAUTH__TENANT_CLAIM": "org",
        }
        with owned_project(tmp_path / "project", environ=environ) as project:
            process = project.start("serve", "--auth", "oauth", "--port", "0")
            try:
                url = ""
                while not url:
                    line = (await asyncio.to_thread(process.stdout.readline)).decode()
                    assert line, process.communicate()[1].decode()
                    label, _, rest = line.strip().partition(" ")
                    url = rest.strip().removesuffix("/mcp") if label == "MCP" else ""
                async with httpx2.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
                    where = "/.well-known/oauth-protected-resource/a2a"
                    resource = (await client.get(where)).json()["resource"]
                    assert resource == f"{url}/a2a"
                    token = issuer.token(resource, org="acme")
                    headers = {"authorization": f"Bearer {token}", "a2a-version": "1.0"}
                    answer = await client.post("/a2a", json=A2A, headers=headers)
                    assert answer.json()["result"]["tasks"] == []
                    refused = await client.post("/a2a", json=A2A)
                    assert refused.status_code == 401
                assert not (project.state / "token").exists()
            finally:
                process.terminate()
                await asyncio.to_thread(process.communicate, timeout=WAIT_SECONDS)


async def test_on_every_address_the_mode_needs_the_url_that_tokens_are_for(tmp_path: Path) -> None:
    environ = {"LLMSPELL_SERVER__OAUTH__ISSUER": "https://issuer.example"}
    with owned_project(tmp_path / "project", environ=environ) as project:
        done = await asyncio.to_thread(
            project.run, "serve", "--auth", "oauth", "--host", "0.0.0.0", "--port", "0"
        )
    assert done.returncode == 1
    assert "server.public_url" in done.stderr
