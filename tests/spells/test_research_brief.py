"""The bundled spell `research_brief`, with a model that follows a script."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.support.hosts import open_host
from tests.support.servers import ROOT

SOURCE = (ROOT / "spells" / "research_brief.lua").read_text(encoding="utf-8")

MODEL = [
    {"system": "literature", "when": "about (\\w+)", "text": "Papers on {{1}} agree."},
    {"system": "markets", "when": "uses (\\w+)", "text": "Millions drink {{1}}."},
    {"system": "briefs", "when": "Papers on tea agree", "text": "Tea: a brief."},
]


async def test_two_researchers_work_side_by_side_and_the_editor_gets_both(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")
    async with (
        open_host(
            tmp_path, {"research_brief": SOURCE}, models__default="scripted/model.json"
        ) as host,
        asyncio.timeout(10),
    ):
        handle = await host.start("research_brief", {"topic": "tea"})
        events = [event async for event in handle.events()]
        outcome = await handle.result()
    assert outcome.output == "Tea: a brief."
    assert outcome.usage.calls == 3
    started = [event.data["source"] for event in events if event.kind == "model.started"]
    assert sorted(started[:2]) == ["analyst", "scholar"]
    assert started[2] == "editor"
    first_end = next(event.number for event in events if event.kind == "model.ended")
    begun = [event.number for event in events if event.kind == "model.started"]
    assert begun[1] < first_end, "the second researcher waited for the first"
    said = {
        source: "".join(
            event.data["text"]
            for event in events
            if event.kind == "model.delta" and event.data["source"] == source
        )
        for source in ("scholar", "analyst", "editor")
    }
    assert said == {
        "scholar": "Papers on tea agree.",
        "analyst": "Millions drink tea.",
        "editor": "Tea: a brief.",
    }


async def test_a_researcher_that_fails_ends_the_brief_with_the_step_that_failed(
    tmp_path: Path,
) -> None:
    model = [{"system": "literature", "text": "Pap", "error": "unavailable"}, *MODEL[1:]]
    (tmp_path / "model.json").write_text(json.dumps(model), encoding="utf-8")
    async with open_host(
        tmp_path, {"research_brief": SOURCE}, models__default="scripted/model.json"
    ) as host:
        outcome = await host.cast("research_brief", {"topic": "tea"})
    assert outcome.error is not None
    assert outcome.error["code"] == "model.unavailable"
    assert outcome.error["data"]["step"] == "research.papers"
    assert outcome.error["run_id"] == outcome.run_id


async def test_a_model_that_does_not_exist_is_named_in_the_error(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"research_brief": SOURCE}, models__default="nonsense") as host:
        outcome = await host.cast("research_brief", {"topic": "tea"})
    assert outcome.error is not None
    assert outcome.error["code"] == "model.unknown"
    assert "'nonsense'" in outcome.error["message"]
