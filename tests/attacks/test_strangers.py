"""What belongs to somebody else is not there: runs, notes, and what their casts left behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
import pytest_asyncio

from llmspell.errors import RunNotFound, UsageError
from llmspell.security.principals import Caller
from tests.attacks.house import ATTACKER, HONEST, STRANGER, Attacked, open_house
from tests.attacks.programs import read_programs

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLERS = (HONEST, ATTACKER, STRANGER)
LEAKS = read_programs("leak_into_library", "leak_into_module", "leak_through_kernel")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Attacked]:
    async with open_house(tmp_path_factory.mktemp("strangers") / "house", LEAKS) as house:
        yield house


async def test_a_run_of_somebody_else_does_not_exist(house: Attacked) -> None:
    outcome = await house.host.cast("honest", {"value": 1}, caller=HONEST)
    assert (await house.host.run(outcome.run_id, caller=HONEST)).id == outcome.run_id
    for other in (ATTACKER, STRANGER, replace(HONEST, tenant="elsewhere")):
        with pytest.raises(RunNotFound) as got:
            await house.host.run(outcome.run_id, caller=other)
        with pytest.raises(RunNotFound) as never:
            await house.host.run("0" * 36, caller=other)
        assert got.value.message.replace(outcome.run_id, "0" * 36) == never.value.message


async def test_a_run_under_way_is_hidden_from_others_too(house: Attacked) -> None:
    handle = await house.host.start("notebook", {}, caller=HONEST)
    with pytest.raises(RunNotFound):
        await house.host.run(handle.id, caller=ATTACKER)
    question = await house.host.propose("which?", caller=HONEST)
    with pytest.raises(RunNotFound):
        await house.host.start("honest", {"value": 1}, caller=ATTACKER, proposal=question.id)
    assert (await question.record()).state == "input_required"
    assert (await handle.result()).ok


@pytest.mark.parametrize("run_id", ["", "/", "..", "\0", "%", "live", "run\0house", "x" * 100_000])
async def test_no_form_of_an_id_finds_a_run(house: Attacked, run_id: str) -> None:
    with pytest.raises(RunNotFound):
        await house.host.run(run_id, caller=ATTACKER)


async def test_a_list_of_runs_holds_ones_own_only(house: Attacked) -> None:
    for caller in CALLERS:
        await house.host.cast("honest", {"value": caller.principal}, caller=caller)
    for caller in CALLERS:
        page = await house.host.runs(caller=caller, limit=1000)
        assert page.runs
        assert {(run.tenant, run.principal) for run in page.runs} == {
            (caller.tenant, caller.principal)
        }


@pytest.mark.parametrize("cursor", ["", "0", "-", "9" * 400 + "-x", "1-\0", "x-y", "-1-0"])
async def test_a_forged_cursor_shows_nothing_of_others(house: Attacked, cursor: str) -> None:
    try:
        page = await house.host.runs(caller=ATTACKER, after=cursor, limit=1000)
    except UsageError:
        return
    assert {run.principal for run in page.runs} <= {ATTACKER.principal}


async def test_notes_are_seen_in_their_scope_only(house: Attacked) -> None:
    async def notes(caller: Caller, put: str | None = None) -> dict[str, str]:
        outcome = await house.host.cast("notebook", {"put": put} if put else {}, caller=caller)
        assert outcome.ok, outcome
        return outcome.output

    await notes(HONEST, "hers")
    # By design a spell's own state and the shared state are the tenant's.
    assert await notes(ATTACKER) == {"spell": "hers", "shared": "hers"}
    assert await notes(STRANGER) in ({}, [])
    other_session = replace(HONEST, session="another")
    assert await notes(other_session) == {"spell": "hers", "shared": "hers", "user": "hers"}


@pytest.mark.parametrize(
    "caller",
    [
        Caller(principal='alice","hers', tenant="house", session=""),
        Caller(principal="alice", tenant="house", session='hers"]'),
        Caller(principal='alice","hers"]', tenant="house", session="hers"),
        Caller(principal="alice\0", tenant="house", session="hers"),
        Caller(principal="Alice", tenant="house", session="hers"),
        Caller(principal="alice", tenant="house\0", session="hers"),
        Caller(principal="", tenant="house\0session\0alice", session="hers"),
    ],
)
async def test_no_name_of_a_principal_runs_into_another(house: Attacked, caller: Caller) -> None:
    await house.host.cast("notebook", {"put": "hers"}, caller=HONEST)
    outcome = await house.host.cast("notebook", {}, caller=caller)
    found = outcome.output
    assert isinstance(found, dict | list)
    assert "session" not in found
    if caller.principal != HONEST.principal or caller.tenant != HONEST.tenant:
        assert "user" not in found


async def test_what_a_cast_leaves_is_found_by_nobody(house: Attacked) -> None:
    for caller in (*CALLERS, *CALLERS):
        for program in LEAKS:
            end = await house.attack(program, caller=caller)
            assert end.is_one_of(program.must), f"{program.name} as {caller.principal}: {end}"
    await house.is_unharmed()
