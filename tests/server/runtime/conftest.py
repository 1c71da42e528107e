from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from llmspell.runtime.lua.engine import LuaEngine
from tests.support.lua_scripts import Bench


@pytest.fixture
async def lua() -> AsyncIterator[Bench]:
    engine = LuaEngine(idle_workers=1)
    yield Bench(engine)
    await engine.close()
