"""Runs as tasks: what a log reads as, and that all of it is A2A by the SDK's own types."""

from __future__ import annotations

from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from llmspell.endpoints.a2a.mapping import TaskView, history_of, part_of, timestamp
from llmspell.errors import RunCanceled, SpellRaised
from llmspell.runs.record import Event, Run
from llmspell.values import JSON


def run_of(**more: Any) -> Run:
    fields: dict[str, Any] = {"spell": "brief", **more}
    return Run(id="r1", tenant="t", principal="p", session="c1", created_at=1_700_000_000, **fields)


def state(name: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "state", {"state": name, **more}


def feed(view: TaskView, run: Run, *events: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Feed events in order, and return every item, each checked by the SDK's types."""
    items: list[dict[str, Any]] = []
    for kind, data in events:
        number = view.generation + 1
        items += view.apply(Event(number=number, at=1_700_000_000.5, kind=kind, data=data), run)
    for item in items:
        ParseDict(item, pb.StreamResponse())
    ParseDict(view.task([]), pb.Task())
    return items


def ended(output: JSON, *events: tuple[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the task of a run that completed with this output after these events."""
    run = run_of(state="completed", output=output, **more)
    view = TaskView(run)
    feed(view, run, state("working"), *events, state("completed"))
    return view.task([])


def delta(text: str, *, answer: bool = True, source: str = "editor") -> tuple[str, dict[str, Any]]:
    data: dict[str, Any] = {"text": text, "source": source}
    return "model.delta", {**data, "answer": True} if answer else data


def test_a_task_begins_as_submitted_at_the_time_of_its_run():
    task = TaskView(run_of()).task([])
    assert task["status"] == {
        "state": "TASK_STATE_SUBMITTED",
        "timestamp": "2023-11-14T22:13:20.000000Z",
    }
    assert (task["id"], task["contextId"]) == ("r1", "c1")
    assert "artifacts" not in task


def test_times_are_rfc_3339_in_utc_to_the_microsecond():
    assert timestamp(1_700_000_000.000001) == "2023-11-14T22:13:20.000001Z"


def test_a_text_output_is_a_text_part_and_anything_else_is_data():
    assert ended("hello")["artifacts"] == [
        {"artifactId": "result", "name": "result"} | _parts("hello")
    ]
    for output in ({"n": 3}, [1], 0, False):
        parts = ended(output)["artifacts"][0]["parts"]
        assert parts == [{"data": output, "mediaType": "application/json"}]
    assert "artifacts" not in ended(None)


def _parts(*texts: str) -> dict[str, Any]:
    return {"parts": [{"text": text} for text in texts]}


def test_numbers_and_the_order_of_keys_are_kept():
    data = ended({"b": 3, "a": 2**60})["artifacts"][0]["parts"][0]["data"]
    assert list(data.items()) == [("b", 3), ("a", 2**60)]
    assert isinstance(data["b"], int)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"type": "text", "text": "x"}, {"text": "x"}),
        ({"type": "image", "data": "aGk="}, {"raw": "aGk=", "mediaType": "image/png"}),
        (
            {"type": "audio", "data": "aGk=", "media_type": "audio/ogg", "name": "a.ogg"},
            {"raw": "aGk=", "mediaType": "audio/ogg", "filename": "a.ogg"},
        ),
        ({"type": "resource", "uri": "https://x/y"}, {"url": "https://x/y"}),
        ({"type": "resource", "uri": "u", "text": "t"}, {"text": "t"}),
        ({"type": "odd"}, {"data": {"type": "odd"}, "mediaType": "application/json"}),
    ],
)
def test_typed_content_becomes_parts(content: dict[str, Any], part: dict[str, Any]):
    assert part_of(content) == part
    task = ended(None, content=[content])
    assert task["artifacts"][0]["parts"] == [part]


def test_emitted_pieces_without_a_name_are_chunks_of_one_artifact():
    run = run_of()
    view = TaskView(run)
    first, second = feed(view, run, ("part", {"text": "a"}), ("part", {"text": "b", "last": True}))
    assert "append" not in first["artifactUpdate"]
    assert second["artifactUpdate"]["append"] is True
    assert second["artifactUpdate"]["lastChunk"] is True
    assert view.task([])["artifacts"] == [{"artifactId": "part"} | _parts("ab")]


def test_texts_are_joined_around_other_parts():
    run = run_of()
    view = TaskView(run)
    feed(view, run, *(("part", part) for part in ({"text": "a"}, {"text": "b"}, {"data": 1})))
    assert view.task([])["artifacts"][0]["parts"] == [{"text": "ab"}, {"data": 1}]


def test_a_named_piece_replaces_unless_it_says_append():
    run = run_of()
    view = TaskView(run)
    draft = {"name": "draft", "data": {"n": 1}, "media_type": "application/json"}
    items = feed(
        view,
        run,
        ("part", draft),
        ("part", {"name": "draft", "text": "x"}),
        ("part", {"name": "draft", "text": "y", "append": True}),
        ("part", {"name": "new", "text": "z", "append": True}),
    )
    assert [item["artifactUpdate"].get("append", False) for item in items] == [
        False,
        False,
        True,
        False,
    ]
    assert [each["name"] for each in view.task([])["artifacts"]] == ["draft", "new"]
    assert view.task([])["artifacts"][0]["parts"] == [{"text": "xy"}]


def test_streamed_text_of_the_answer_is_an_artifact_that_is_closed_when_the_model_ends():
    run = run_of()
    view = TaskView(run)
    one, two, end = feed(
        view, run, delta("He"), delta("llo"), ("model.ended", {"source": "editor"})
    )
    assert one["artifactUpdate"]["artifact"] == {
        "artifactId": "text-1",
        "name": "editor",
        "parts": [{"text": "He"}],
    }
    assert two["artifactUpdate"]["append"] is True
    assert end["artifactUpdate"]["lastChunk"] is True
    assert view.task([])["artifacts"][0]["parts"] == [{"text": "Hello"}]


def test_each_model_call_streams_into_an_artifact_of_its_own():
    call = (delta("a"), ("model.ended", {"source": "editor"}))
    artifacts = ended({"n": 1}, *call, *call)["artifacts"]
    assert [each["artifactId"] for each in artifacts] == ["text-1", "text-2", "result"]


def test_an_output_that_was_streamed_already_is_not_sent_twice():
    streamed = (delta("Hel"), delta("lo"), ("model.ended", {"source": "editor"}))
    assert [each["artifactId"] for each in ended("Hello", *streamed)["artifacts"]] == ["text-1"]
    assert [each["artifactId"] for each in ended("Other", *streamed)["artifacts"]] == [
        "text-1",
        "result",
    ]
    spoken = (("part", {"data": 1}), ("part", {"text": "Hello"}))
    assert len(ended("Hello", *spoken)["artifacts"]) == 2


def test_text_that_is_not_the_answer_is_a_status_and_no_output():
    run = run_of()
    view = TaskView(run)
    working, said = feed(view, run, state("working"), delta("draft", answer=False))
    assert working["statusUpdate"]["status"]["state"] == "TASK_STATE_WORKING"
    message = said["statusUpdate"]["status"]["message"]
    assert message["parts"] == [{"text": "draft"}]
    assert message["metadata"] == {"llmspell/source": "editor"}
    assert "artifacts" not in view.task([])
    assert "message" not in view.task([])["status"]
    assert feed(view, run, ("model.ended", {"source": "editor"})) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"done": 1}, "1"),
        ({"done": 1, "total": 4}, "1/4"),
        ({"done": 0.5, "total": 2, "message": "reading"}, "reading (0.5/2)"),
    ],
)
def test_progress_is_the_message_of_a_working_task(data: dict[str, Any], text: str):
    run = run_of()
    view = TaskView(run)
    feed(view, run, state("working"), ("progress", data))
    assert view.task([])["status"]["message"]["parts"] == [{"text": text}]


def test_events_that_mean_nothing_to_a_client_only_move_the_generation():
    run = run_of()
    view = TaskView(run)
    assert feed(view, run, ("log", {"level": "info", "message": "x"}), ("step.started", {})) == []
    assert view.task([])["metadata"]["llmspell/generation"] == 2


def test_every_update_carries_the_generation_it_stands_at():
    run = run_of(output="x")
    items = feed(TaskView(run), run, state("working"), ("part", {"text": "y"}), state("completed"))
    generations = [next(iter(item.values()))["metadata"] for item in items]
    assert generations == [{"llmspell/generation": number} for number in (1, 2, 3, 3)]


def test_a_failed_task_says_what_went_wrong_with_code_hint_and_run():
    error = SpellRaised("no luck", hint="try again").with_run("r1").to_value()
    run = run_of(state="failed", error=error)
    view = TaskView(run)
    feed(view, run, state("working"), state("failed", error=error))
    message = view.task([])["status"]["message"]
    assert message["parts"][0]["text"].splitlines() == [
        "no luck {code: spell.raised}",
        "  hint: try again",
        "  run: r1",
    ]
    assert message["metadata"]["llmspell/error"] == error


def test_a_canceled_task_has_no_result():
    run = run_of(state="canceled", output=None)
    view = TaskView(run)
    error = RunCanceled("stopped").to_value()
    items = feed(view, run, state("working"), state("canceled", error=error))
    assert items[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
    assert "artifacts" not in view.task([])


def test_a_question_is_text_with_the_choices_as_data():
    choices = {"skills": [{"id": "a", "description": ""}]}
    run = run_of(spell="", state="input_required", input=choices)
    view = TaskView(run)
    feed(view, run, state("input_required", message="Which?"))
    parts = view.task([])["status"]["message"]["parts"]
    assert parts == [{"text": "Which?"}, {"data": choices, "mediaType": "application/json"}]


def test_a_question_of_a_spell_shows_no_input():
    run = run_of(state="input_required", input={"secret": 1})
    view = TaskView(run)
    feed(view, run, state("input_required", message="Go on?"))
    assert view.task([])["status"]["message"]["parts"] == [{"text": "Go on?"}]


def message(id: str, **more: Any) -> dict[str, Any]:
    return {"messageId": id, "role": "ROLE_USER", "parts": [{"text": id}], **more}


def test_history_is_in_order_ends_with_the_latest_and_names_its_task():
    run = run_of(message=message("m2", history=[message("m1")]))
    history = history_of(run, None)
    assert [each["messageId"] for each in history] == ["m1", "m2"]
    assert all((each["taskId"], each["contextId"]) == ("r1", "c1") for each in history)
    assert "history" not in history[1]
    ParseDict(TaskView(run).task(history), pb.Task())


@pytest.mark.parametrize(
    ("length", "ids"), [(0, []), (1, ["m2"]), (2, ["m1", "m2"]), (9, ["m1", "m2"])]
)
def test_history_is_cut_to_the_length_asked_for(length: int, ids: list[str]):
    run = run_of(message=message("m2", history=[message("m1")]))
    assert [each["messageId"] for each in history_of(run, length)] == ids


@pytest.mark.parametrize("said", [None, {"client": {"name": "x"}}])
def test_a_run_of_another_door_has_no_history(said: dict[str, Any] | None):
    assert history_of(run_of(message=said), None) == []
