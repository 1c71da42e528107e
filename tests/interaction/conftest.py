"""One server for every test here, and its doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import cast

import pytest
import pytest_asyncio

from tests.interaction.doors import Door, House, open_doors
from tests.interaction.spells import MODEL, SPELLS
from tests.support.servers import Server, make_project, running_server

SETTINGS = """
[limits]
slice_seconds = 0.3
load_seconds = 0.5
heap_bytes = 16_777_216

[models]
default = "scripted/model.json"
"""


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    bundled = ("hello", "notes", "research_brief", "word_count")
    project = make_project(tmp_path_factory.mktemp("house") / "project", bundled)
    (project / "llmspell.toml").write_text(SETTINGS, encoding="utf-8")
    (project / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")
    for name, source in SPELLS.items():
        (project / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
    with running_server(project) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def house(server: Server) -> AsyncGenerator[House]:
    # The official clients must be left by the task that entered them, and a fixture begins
    # and ends in two: so a task of their own holds them open.
    opened: asyncio.Future[House] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        async with open_doors(server) as doors:
            opened.set_result(doors)
            await done.wait()

    holding = asyncio.get_running_loop().create_task(hold())
    await asyncio.wait([holding, opened], return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        holding.result()
    yield opened.result()
    done.set()
    await holding


@pytest.fixture
def door(request: pytest.FixtureRequest, house: House) -> Door:
    """The door a test is run over; `requirement` names them."""
    return house.doors[cast("str", request.param)]
