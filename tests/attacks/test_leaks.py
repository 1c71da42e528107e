"""After many attacks no process, no descriptor and no byte of anybody else's cast is left over."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.attacks.house import (
    ATTACKER,
    MARK,
    SECONDS,
    SECRET,
    SOAKS,
    STRANGER,
    Attacked,
    children,
    memory_holds,
    open_house,
    zygotes,
)
from tests.attacks.programs import Program, read_programs
from tests.support.lacking import lacking

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.hypothesis]

ROUNDS, ATTACKS = (10, 100) if SOAKS else (1, 150)
"""How many attacks; `make soak` makes more of them."""

AT_A_TIME = 3
MARKS = {
    "alice": (MARK, SECRET),
    "mallory": ("mark-of-mallory-0c51",),
    "stranger": ("mark-of-a-stranger-e3a9",),
}
"""What stands in the inputs of each."""

QUICK = read_programs(
    "bomb_error_message",
    "bomb_log_flood",
    "bomb_nested_coroutines",
    "bomb_output",
    "bomb_state_value",
    "bomb_table_growth",
    "bomb_wide_children",
    "escape_coroutine_misuse",
    "escape_environment",
    "escape_kernel_tables",
    "escape_poisoned_library",
    "escape_reachable",
    "escape_waiting_coroutine",
    "forge_cycle",
    "forge_declarations",
    "forge_texts",
    "leak_after_error",
    "leak_into_library",
    "leak_into_module",
    "leak_through_kernel",
    "need_by_inner_declaration",
    "steal_by_keys",
)
KILLED = read_programs("bomb_endless_loop", "bomb_pattern_find", "bomb_sleeping_for_ever")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Attacked]:
    root = tmp_path_factory.mktemp("leaks") / "house"
    async with open_house(root, [*QUICK, *KILLED]) as house:
        yield house


async def attack(house: Attacked, program: Program, number: int) -> None:
    caller, owner = ((ATTACKER, "mallory"), (STRANGER, "stranger"))[number % 2]
    end = await house.attack(program, {"mark": MARKS[owner][0]}, caller=caller)
    assert end.is_one_of(program.must), f"{program.name}: {end}"


@pytest.mark.parametrize("start", range(ROUNDS))
async def test_many_attacks_leave_nothing_behind(house: Attacked, start: int) -> None:
    programs = itertools.cycle([*QUICK, KILLED[0], *QUICK, KILLED[1], *QUICK, KILLED[2]])
    first = start * ATTACKS
    numbered = enumerate(itertools.islice(programs, first, first + ATTACKS), first)
    while batch := list(itertools.islice(numbered, AT_A_TIME)):
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(attack(house, each, number) for number, each in batch))
        await house.is_unharmed()
    await house.holds_no_leak()


async def test_no_process_holds_the_data_of_two(house: Attacked) -> None:
    for number, program in enumerate(QUICK):
        await attack(house, program, number)
    await house.is_unharmed()
    await house.holds_no_leak()
    (zygote,) = zygotes()
    every = [mark for marks in MARKS.values() for mark in marks]
    try:
        assert memory_holds(os.getpid(), every) == set(every)  # the search finds what is there
        assert memory_holds(zygote, every) == set()
        for worker in children(zygote):
            found = memory_holds(worker, every)
            owners = {name for name, marks in MARKS.items() if found & set(marks)}
            assert len(owners) <= 1, f"a worker holds what belongs to {sorted(owners)}"
    except PermissionError:
        lacking("this system lets nobody look into another process's memory")
