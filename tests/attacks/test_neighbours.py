"""While attacks are under way, everybody else is answered.

How fast is measured elsewhere (`benchmarks/attack_latency.py`); here it counts
that every honest cast is answered, and that none has to wait for the attack's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.attacks.house import HONEST, SECONDS, Attacked, open_house
from tests.attacks.programs import End, Program, read_programs

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPUTING = read_programs(
    "bomb_endless_loop",
    "bomb_pattern_find",
    "bomb_table_move",
    "bomb_swallowed_memory_errors",
    "bomb_endless_handler",
)
"""Each computes until it is ended."""

BUSY = read_programs(
    "bomb_state_flood",
    "bomb_many_children",
    "bomb_sleeping_for_ever",
    "bomb_hoard_then_wait",
    "bomb_metamethod_floods",
    "bomb_agent_turns",
    "bomb_wide_sleep",
)
"""Each keeps the server busy until its time is over."""

BUSY_ENDS = (End("failed", "limit.busy"), End("failed", "limit.wall_clock"))
"""How an attack may also end when there are many."""

ATTACKERS = 3
CASTS = 15


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Attacked]:
    programs = [*COMPUTING, *BUSY]
    async with open_house(tmp_path_factory.mktemp("neighbours") / "house", programs) as house:
        yield house


async def answered(house: Attacked) -> None:
    """Cast honestly, one after the other, and check every answer."""
    for number in range(CASTS):
        outcome = await house.host.cast("honest", {"value": number}, caller=HONEST)
        assert outcome.output == {"value": number}, outcome


@pytest.mark.parametrize("program", [*COMPUTING, *BUSY], ids=lambda program: program.name)
async def test_everybody_else_is_answered_during_an_attack(
    house: Attacked, program: Program
) -> None:
    attacks = [asyncio.ensure_future(house.attack(program)) for _ in range(ATTACKERS)]
    async with asyncio.timeout(SECONDS):
        await answered(house)
        for end in await asyncio.gather(*attacks):
            assert end.is_one_of(program.must), end
    await house.is_unharmed()
    await house.holds_no_leak()


async def test_all_attacks_at_the_same_time_are_survived(house: Attacked) -> None:
    programs = [*COMPUTING, *BUSY]
    attacks = [asyncio.ensure_future(house.attack(program)) for program in programs]
    async with asyncio.timeout(SECONDS):
        await answered(house)
        for program, end in zip(programs, await asyncio.gather(*attacks), strict=True):
            allowed = (*program.must, *BUSY_ENDS)
            assert end.is_one_of(allowed), f"{program.name}: {end}"
    await house.is_unharmed()
    await house.holds_no_leak()


async def test_an_attack_that_is_canceled_is_gone(house: Attacked) -> None:
    for program in COMPUTING:
        attack = asyncio.ensure_future(house.attack(program))
        await house.is_unharmed()
        attack.cancel()
        await asyncio.gather(attack, return_exceptions=True)
    await house.holds_no_leak()
