"""An error of a spell is told in the same words at every edge: `LlmspellError.report()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmspell.endpoints.a2a.mapping import TaskView
from llmspell.endpoints.mcp.results import outcome_result
from llmspell.errors import LlmspellError
from llmspell.host.catalogue import Published
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (
            "State.sett(1, 2)",
            [
                "spells/fails.lua:4: attempt to call a nil value (field 'sett') "
                "{code: spell.raised}",
                "  hint: did you mean 'set'?",
                "  spells/fails.lua:4: in helper",
                "  spells/fails.lua:7: in the function of line 6",
            ],
        ),
        (
            "State.get {}",
            [
                "spells/fails.lua:4: State.get: the key must be a text, got a table "
                "{code: spell.raised}",
                "  hint: write State.get(key, default)",
                "  spells/fails.lua:4: in helper",
                "  spells/fails.lua:7: in the function of line 6",
            ],
        ),
        (
            "Spell.get('other'):cast {}",
            [
                "spells/fails.lua:4: 'fails' casts 'other', which it does not declare "
                "{code: need.undeclared}",
                '  hint: declare it: needs = { tools = { "other" } }',
                "  spells/fails.lua:4: in helper",
                "  spells/fails.lua:7: in the function of line 6",
            ],
        ),
    ],
)
async def test_file_line_hint_and_the_authors_frames_are_the_same_in_mcp_and_a2a(
    tmp_path: Path, body: str, lines: list[str]
) -> None:
    source = f"""-- Fails.
local function helper()
  local a = 1
  {body}
end
return Spell.create {{ run = function()
  helper()
end }}"""
    async with open_host(tmp_path, {"fails": source}) as host:
        outcome = await host.cast("fails", {}, caller=local_caller())
        assert outcome.error is not None
        report = LlmspellError.from_value(outcome.error).report()
        assert report.splitlines() == [*lines, f"  run: {outcome.run_id}"]

        (published,) = host.catalogue().spells
        assert _mcp_text(outcome, published) == report

        handle = await host.run(outcome.run_id, caller=local_caller())
        run = await handle.record()
        view = TaskView(run)
        async for event in handle.events():
            view.apply(event, run)
        status: Any = view.task([])["status"]
        assert status["message"]["parts"][0]["text"] == report


def _mcp_text(outcome: Any, spell: Published) -> str:
    (block,) = outcome_result(outcome, spell, is_modern=False)["content"]
    assert block["type"] == "text"
    return block["text"]
