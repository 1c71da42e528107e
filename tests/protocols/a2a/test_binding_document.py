"""Every frame in the document of the binding is one the codec takes as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from llmspell_protocols.a2a import connection
from llmspell_protocols.a2a.connection import (
    BINDING,
    BINDING_ALIASES,
    SUBPROTOCOL,
    Close,
    Connection,
    Send,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "a2a-websocket-binding.md"
TEXT = PAGE.read_text(encoding="utf-8")
FRAMES: list[dict[str, Any]] = [
    json.loads(line)
    for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_every_frame_of_the_document_is_taken_without_a_refusal():
    frames = [frame for frame in FRAMES if "jsonrpc" in frame]
    assert len(frames) == 10
    for frame in frames:
        receiver = Connection()
        if "method" not in frame:
            # An answer: to what it answers, the receiver asked.
            stream = "streamEnd" in frame or "result" in frame
            for _ in range(frame["id"]):
                receiver.request("SubscribeToTask" if stream else "GetTask", {})
        for event in receiver.receive(json.dumps(frame)):
            assert not isinstance(event, Send | Close)


def test_the_document_names_what_the_code_has():
    limits = Connection()
    assert all(f"`{name}`" in TEXT for name in BINDING_ALIASES)
    assert FRAMES[0]["protocolBinding"] == BINDING
    assert f"`{SUBPROTOCOL}`" in TEXT
    assert f"{limits.max_frame_bytes >> 20} MiB" in TEXT
    assert f"{connection.MAX_SERVICE_PARAMETER_BYTES >> 10} KiB" in TEXT
    for number in (
        limits.max_in_flight,
        limits.max_streams,
        connection.UNSUPPORTED_DATA,
        connection.MESSAGE_TOO_BIG,
        connection.ANSWER_TOO_LARGE,
        connection.EXHAUSTED,
    ):
        assert re.search(rf"\b{number}\b", TEXT)
