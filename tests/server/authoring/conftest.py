from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from llmspell.runtime.lua.engine import LuaEngine
from tests.support.lua_scripts import Bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[LuaEngine]:
    """One engine for the tests of a module, which all run in one event loop."""
    engine = LuaEngine(idle_workers=1)
    yield engine
    await engine.close()


@pytest.fixture
def lua(engine: LuaEngine) -> Bench:
    return Bench(engine)
