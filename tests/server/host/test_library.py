"""Parts of a file that are cast: what outlives a restart and a change of the file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmspell.host.host import Host
from llmspell.host.library_interface import PromptMessage
from llmspell.host.run_interface import WaitedHandle
from llmspell.security.principals import Caller, local_caller

CALLER = local_caller("mcp")

SOURCE = """
return Prompt.create {
  messages = function(_, ctx)
    State.set("asked", true)
    local answer = ctx:ask { message = "Who?", schema = { name = Schema.string "Name" } }
    return "Hello " .. answer.name
  end,
}
"""


def write(project: Path, name: str, source: str) -> None:
    (project / "spells").mkdir(parents=True, exist_ok=True)
    (project / "llmspell.toml").touch()
    (project / "spells" / f"{name}.lua").write_text(source)


async def asked(host: Host) -> str:
    """Have a prompt ask its question, and return its run."""
    waiting = await host.library.prompt("hello", {}, caller=CALLER)
    assert not isinstance(waiting, Sequence)
    outcome = await waiting.settled()
    assert outcome.state == "input_required"
    await waiting.let_go()
    return waiting.id


async def answered(host: Host, run_id: str) -> Sequence[PromptMessage]:
    waiting: WaitedHandle = await host.wait_for(run_id, caller=CALLER)
    await waiting.answer({"name": "Ann"})
    async with asyncio.timeout(20):
        outcome = await waiting.settled()
    await waiting.let_go()
    return host.library.messages(outcome)


@pytest.mark.parametrize("is_changed", [False, True])
async def test_a_prompt_that_asks_goes_on_after_a_restart_as_it_began(
    tmp_path: Path, is_changed: bool
) -> None:
    write(tmp_path, "hello", SOURCE)
    environ = {"HOME": str(tmp_path)}
    async with Host.open(tmp_path, watch=False, environ=environ) as host:
        run_id = await asked(host)
    if is_changed:
        write(tmp_path, "hello", SOURCE.replace("Hello", "Goodbye"))
    async with Host.open(tmp_path, watch=False, environ=environ) as host:
        messages = await answered(host, run_id)
    assert [message.part["text"] for message in messages] == ["Hello Ann"]


async def test_a_name_that_a_prompt_has_is_taken_for_spells(tmp_path: Path) -> None:
    write(tmp_path, "hello", SOURCE)
    write(tmp_path, "other", 'return Spell.create { name = "HELLO", run = function() end }')
    environ = {"HOME": str(tmp_path)}
    async with Host.open(tmp_path, state="memory", watch=False, environ=environ) as host:
        catalogue = host.catalogue()
        assert [problem["code"] for problem in catalogue.problems] == ["spec.duplicate_name"]
        assert catalogue.spells == ()
        assert [prompt.name for prompt in catalogue.prompts] == ["hello"]


async def test_a_file_that_loads_no_more_keeps_its_last_good_prompt(tmp_path: Path) -> None:
    write(tmp_path, "hello", 'return Prompt.create { messages = "one" }')
    environ = {"HOME": str(tmp_path)}
    async with Host.open(tmp_path, state="memory", watch=False, environ=environ) as host:
        generation = host.catalogue().generation
        write(tmp_path, "hello", 'return Prompt.create { messages = "two", colour = "red" }')
        catalogue = await host.reload()
        assert catalogue.problems[0]["code"] == "spec.unknown_key"
        assert await host.library.prompt("hello", {}, caller=CALLER)
        write(tmp_path, "hello", 'return Prompt.create { messages = "three" }')
        catalogue = await host.reload()
        assert not catalogue.problems
        assert catalogue.generation > generation
        [message] = _at_once(await host.library.prompt("hello", {}, caller=CALLER))
        assert message.part["text"] == "three"


async def test_a_resource_is_the_callers_own_view_of_state(tmp_path: Path) -> None:
    source = """
return Resource.create { uri = "mine://it", read = function(_, ctx)
  State.user.set("seen", (State.user.get("seen") or 0) + 1)
  return State.user.get "seen"
end }
"""
    write(tmp_path, "mine", source)
    environ = {"HOME": str(tmp_path)}
    async with Host.open(tmp_path, state="memory", watch=False, environ=environ) as host:

        async def seen(caller: Caller) -> str | None:
            waiting = await host.library.read("mine://it", caller=caller)
            assert not isinstance(waiting, Sequence)
            outcome = await waiting.settled()
            await waiting.let_go()
            return host.library.contents("mine://it", outcome)[0].text

        ann, bob = Caller(principal="ann"), Caller(principal="bob")
        assert [await seen(ann), await seen(ann), await seen(bob)] == ["1", "2", "1"]


def _at_once(made: Sequence[PromptMessage] | WaitedHandle) -> Sequence[PromptMessage]:
    assert isinstance(made, Sequence)
    return made
