"""The bundled spell `notes`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell.errors import InputInvalid
from llmspell.host.host import Host
from llmspell.security.principals import Caller


async def notes(host: Host, caller: Caller | None = None, **fields: Any) -> list[dict[str, Any]]:
    outcome = await host.cast("notes", fields, caller=caller)
    assert outcome.error is None, outcome.error
    return outcome.output["notes"]


async def test_a_note_is_added_listed_and_found(host: Host) -> None:
    (added,) = await notes(host, action="add", text="Buy milk", author="Ada")
    assert (added["id"], added["text"], added["author"]) == (1, "Buy milk", "Ada")
    assert added["at"] > 1_600_000_000
    await notes(host, action="add", text="Call Bea")
    assert [note["text"] for note in await notes(host, action="list")] == ["Buy milk", "Call Bea"]
    assert [note["id"] for note in await notes(host, action="search", text="MILK")] == [1]


async def test_without_notes_there_is_an_empty_list(host: Host) -> None:
    assert await notes(host, action="list") == []
    assert await notes(host, action="search", text="x") == []


async def test_notes_are_shared_by_everybody_of_the_server(host: Host) -> None:
    ada, bea = Caller(principal="ada", session="1"), Caller(principal="bea", session="2")
    await notes(host, ada, action="add", text="for all")
    assert [note["text"] for note in await notes(host, bea, action="list")] == ["for all"]


async def test_notes_written_at_once_all_get_a_number_and_keep_their_order(host: Host) -> None:
    texts = [f"note {number}" for number in range(12)]
    async with asyncio.timeout(20):
        added = await asyncio.gather(*(notes(host, action="add", text=text) for text in texts))
    assert sorted(note["id"] for (note,) in added) == list(range(1, 13))
    listed = await notes(host, action="list")
    assert [note["id"] for note in listed] == list(range(1, 13))
    assert sorted(note["text"] for note in listed) == sorted(texts)


async def test_search_takes_its_words_as_they_are(host: Host) -> None:
    await notes(host, action="add", text="100% sure (almost)")
    assert len(await notes(host, action="search", text="% sure (")) == 1
    assert await notes(host, action="search", text=".*") == []


@pytest.mark.parametrize("text", [None, ""])
async def test_a_note_needs_a_text(host: Host, text: str | None) -> None:
    outcome = await host.cast("notes", {"action": "add", **({} if text is None else {"text": ""})})
    assert outcome.error is not None
    assert outcome.error["code"] == "spell.raised"
    assert outcome.error["data"]["code"] == "notes.empty"
    assert outcome.error["hint"] == "pass text"


async def test_what_it_cannot_do_is_refused_by_the_schema(host: Host) -> None:
    with pytest.raises(InputInvalid, match="action"):
        await host.cast("notes", {"action": "burn"})
