"""What loading the A2A door costs: the SDK's types and errors, not its server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
HEAVY = ("a2a.server", "a2a.client", "opentelemetry", "sqlalchemy", "grpc", "httpx", "websockets")


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    paths = f"{ROOT / 'server'}:{ROOT / 'protocols'}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": paths, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_serving_a2a_loads_nothing_of_the_sdks_server_and_client():
    loaded = loaded_by("llmspell.endpoints.a2a.routes")
    assert "a2a.types" in loaded
    assert not loaded & set(HEAVY)


def test_calling_an_agent_loads_nothing_of_our_host():
    loaded = loaded_by("llmspell.endpoints.a2a.remote_call")
    assert not loaded & {"llmspell.host.host", "lupa", "rocksdict", "litellm", "mcp", "uvicorn"}


def test_the_codecs_load_nothing_of_ours_and_no_event_loop():
    loaded = loaded_by("llmspell_protocols.a2a.connection")
    assert not loaded & {"llmspell", "asyncio", "socket", "a2a", "starlette", "websockets"}
