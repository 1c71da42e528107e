"""What stands in a table or a line, whoever wrote it."""

from __future__ import annotations

import pytest

from llmspell.cli.runs.events import line_of
from llmspell.cli.tables import clean, show_table
from llmspell.runs.record import Event
from llmspell.values import Object


def test_no_control_character_reaches_the_terminal() -> None:
    assert clean("a\x1b[2Jb\nc\td\x9be") == "a [2Jb c d e"


def test_piped_columns_are_as_wide_as_what_stands_in_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table(("id", "name"), [("1", "a\nb"), ("222", "")])
    assert capsys.readouterr().out == "ID   NAME\n1    a b\n222\n"


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("state", {"state": "failed", "error": {"message": "boom"}}, "failed boom"),
        ("progress", {"done": 1, "total": 2, "message": "half"}, "1/2 half"),
        ("progress", {"message": "on it"}, "on it"),
        ("log", {"level": "warn", "message": "hm", "fields": {"n": 1}}, "warn: hm n=1"),
        ("question", {"message": "ok?"}, "ok?  (llmspell runs answer r1)"),
        ("answer", {"action": "accept", "by": "local:0"}, "accept by local:0"),
        ("step.started", {"name": "pay"}, "pay"),
        ("resumed", {"reason": "restart"}, "restart"),
        ("model.ended", {"model": "scripted/echo"}, '{"model":"scripted/echo"}'),
    ],
)
def test_an_event_is_one_line_that_says_what_it_says(kind: str, data: Object, said: str) -> None:
    line = line_of("r1", Event(number=7, at=0.0, kind=kind, data=data))
    assert line.startswith("   7  ")
    assert line.endswith(said)
    assert kind in line
