"""What web pages of other origins may do: those the settings name, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.support.mcp_http import RawClient, Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "https://app.example"
ASKED = "authorization, content-type, mcp-protocol-version, mcp-param-region, x-evil"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with serving(tmp_path_factory.mktemp("project"), origins=(PAGE,)) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def client(site: Served) -> AsyncGenerator[RawClient]:
    async with site.client() as found:
        yield found


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": ASKED,
    }


async def test_a_browser_learns_what_a_page_may_send_without_a_token(client: RawClient) -> None:
    answer = await client.http.request("OPTIONS", "/mcp", headers=preflight(PAGE))
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == (
        "authorization, content-type, mcp-param-region, mcp-protocol-version"
    )
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_a_page_of_an_allowed_origin_reads_every_answer(client: RawClient) -> None:
    client.headers["origin"] = PAGE
    begun = await client.initialize()
    called = await client.call_modern("echo", {"text": "x"})
    client.headers["authorization"] = "Bearer wrong"
    refused = await client.call_modern("echo", {"text": "x"})
    for answer, status in ((begun, 200), (called, 200), (refused, 401)):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]


async def test_a_local_page_may_call_and_is_told_nothing_more(client: RawClient) -> None:
    local = "http://localhost:6274"
    client.headers["origin"] = local
    answer = await client.call_modern("echo", {"text": "x"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    asked = await client.http.request("OPTIONS", "/mcp", headers=preflight(local))
    assert asked.status_code == 401


async def test_a_page_of_another_origin_is_refused(client: RawClient) -> None:
    asked = await client.http.request("OPTIONS", "/mcp", headers=preflight("https://evil.example"))
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers
