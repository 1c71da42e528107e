"""Every hostile program ends as its first line says, alone, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.attacks.house import Attacked, open_house
from tests.attacks.programs import Program, read_programs

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROGRAMS = read_programs()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Attacked]:
    async with open_house(tmp_path_factory.mktemp("attacked") / "house", PROGRAMS) as house:
        yield house


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
async def test_an_attack_ends_as_it_must_and_harms_nobody(
    house: Attacked, program: Program
) -> None:
    for _ in range(program.casts):
        end = await house.attack(program)
        assert end.is_one_of(program.must), f"{end}, but must be {program.must}"
    await house.is_unharmed()
    await house.holds_no_leak()
