from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import pytest
import pytest_asyncio

from llmspell.runtime.lua.engine import LuaEngine
from tests.support.lua_scripts import Bench


@pytest.fixture(scope="module", params=["process", "inline"])
def isolation(request: pytest.FixtureRequest) -> Literal["process", "inline"]:
    """Where scripts run: everything a script can see is the same in both."""
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(isolation: Literal["process", "inline"]) -> AsyncIterator[LuaEngine]:
    """One engine for the tests of a module, which all run in one event loop."""
    engine = LuaEngine(isolation=isolation, idle_workers=1)
    yield engine
    await engine.close()


@pytest.fixture
def lua(engine: LuaEngine) -> Bench:
    return Bench(engine)
