"""What the tests of the bundled spells share: one host that has them all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llmspell.host.host import Host
from tests.support.hosts import open_host
from tests.support.servers import ROOT

SPELLS = ("follow_up", "hello", "notes", "research_brief", "word_count")


@pytest_asyncio.fixture
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    """A host of the bundled spells, with an empty memory."""
    sources = {
        name: (ROOT / "spells" / f"{name}.lua").read_text(encoding="utf-8") for name in SPELLS
    }
    async with open_host(tmp_path_factory.mktemp("project"), sources) as opened:
        yield opened
