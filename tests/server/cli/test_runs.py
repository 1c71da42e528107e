"""`llmspell runs` as a person types it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.owners import WAIT_SECONDS, OwnedProject, owned_project, wait_until

ASKING = """
return Spell.create {
  name = "order",
  run = function(input, ctx)
    local price = ctx:step("price", function() return 12 end)
    local answer = ctx:ask {
      message = "Buy it for " .. price .. "?",
      schema = {
        ok = Schema.boolean "Whether to buy",
        note = Schema.string("Why", { optional = true }),
      },
    }
    return answer.ok and "bought" or "left"
  end,
}
"""

LEAKING = """
return Spell.create {
  name = "leak",
  run = function() return { text = "the key is sk-abcdefgh12345678", word = "open-sesame" } end,
}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnedProject]:
    directory = tmp_path_factory.mktemp("runs") / "project"
    with owned_project(directory, environ={"DOOR_SECRET": "open-sesame"}) as made:
        (made.root / "spells" / "order.lua").write_text(ASKING, encoding="utf-8")
        (made.root / "spells" / "leak.lua").write_text(LEAKING, encoding="utf-8")
        yield made


def cast(project: OwnedProject, *arguments: str) -> dict[str, Any]:
    """Cast something and return its outcome."""
    return json.loads(project.run("run", *arguments, "--json").stdout)


def listed(project: OwnedProject, *arguments: str) -> list[dict[str, Any]]:
    done = project.run("runs", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(project: OwnedProject) -> str:
    """Cast the spell that asks, and return the id of its run."""
    done = project.run("run", "order", "--json")
    assert done.returncode == 3, done.stderr
    return json.loads(done.stdout)["run_id"]


def typed(project: OwnedProject, *arguments: str, lines: dict[bytes, bytes]) -> tuple[int, bytes]:
    """Run a command on a terminal, type a line whenever its prompt is seen, and return all of it.

    Returns:
        The exit status, and what was on the terminal.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        project.command(*arguments),
        cwd=project.root,
        env={**project.environment(), "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen, since = b"", 0
    end = time.monotonic() + WAIT_SECONDS
    waiting = dict(lines)
    try:
        while True:
            ready, _, _ = select.select([ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"not in time: {seen!r}"
            try:
                data = os.read(ours, 65536)
            except OSError:  # what Linux says once nobody holds the other end
                data = b""
            if not data:
                return process.wait(WAIT_SECONDS), seen
            seen += data
            for prompt, line in list(waiting.items()):
                if prompt in seen[since:]:
                    del waiting[prompt]
                    since = len(seen)
                    os.write(ours, line)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_runs_are_listed_last_changed_first_and_filtered(runs: OwnedProject) -> None:
    first = cast(runs, "hello")["run_id"]
    failed = json.loads(runs.run("exec", "error('boom')", "--json").stdout)["run_id"]
    last = cast(runs, "hello", "--input", "Ann")["run_id"]
    ids = [run["id"] for run in listed(runs, "--all")]
    assert [ids.index(last), ids.index(failed), ids.index(first)] == sorted(
        [ids.index(last), ids.index(failed), ids.index(first)]
    )
    assert {run["spell"] for run in listed(runs, "--spell", "hello")} == {"hello"}
    assert failed in [run["id"] for run in listed(runs, "--state", "failed")]
    assert first not in [run["id"] for run in listed(runs, "--state", "failed")]
    assert listed(runs, "--session", "nobody's") == []
    assert len(listed(runs, "--limit", "1")) == 1


def test_a_list_is_a_table_of_plain_columns_where_it_is_piped(runs: OwnedProject) -> None:
    run_id = cast(runs, "hello")["run_id"]
    cast(runs, "hello")
    done = runs.run("runs", "list", "--limit", "2")
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["ID", "SPELL", "STATE", "DOOR", "SESSION", "BEGUN", "CHANGED"]
    assert len(rows) == 2
    assert rows[1].startswith(run_id)
    assert "there are more" in done.stderr
    assert "\x1b" not in done.stdout


def test_a_list_is_drawn_on_a_terminal_with_whole_ids(runs: OwnedProject) -> None:
    run_id = cast(runs, "hello")["run_id"]
    status, seen = typed(runs, "runs", "list", "--limit", "1", lines={})
    assert status == 0
    assert run_id.encode() in seen
    assert "─".encode() in seen


def test_a_run_is_named_by_how_its_id_begins(runs: OwnedProject) -> None:
    run_id = cast(runs, "hello")["run_id"]
    cast(runs, "hello")
    assert runs.run("runs", "result", run_id[:20]).stdout == "Hello, world!\n"
    several = runs.run("runs", "result", run_id[:2])
    assert several.returncode == 2
    assert "give more of the id" in several.stderr
    none = runs.run("runs", "result", "zzz")
    assert none.returncode == 1
    assert "run.not_found" in none.stderr


def test_a_run_is_shown_with_its_error_and_hint(runs: OwnedProject) -> None:
    failed = json.loads(runs.run("exec", "return +", "--json").stdout)["run_id"]
    shown = runs.run("runs", "show", failed).stdout
    assert failed in shown
    assert "state    failed" in shown
    assert "spec.syntax" in shown
    done = cast(runs, "hello", "--input", "Ann")["run_id"]
    shown = runs.run("runs", "show", done).stdout
    assert 'input    {"name":"Ann"}' in shown
    assert "output   Hello, Ann!" in shown
    record = json.loads(runs.run("runs", "show", done, "--json").stdout)
    assert record["run"]["id"] == done
    assert record["journal"] == []


def test_a_run_is_watched_to_its_end_one_event_a_line(runs: OwnedProject) -> None:
    run_id = cast(runs, "nap", "--arg", "seconds=0")["run_id"]
    lines = runs.run("runs", "watch", run_id).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(n + 1) for n in range(len(lines))]
    assert any("progress" in line and "1/2 asleep" in line for line in lines)
    assert "completed" in lines[-1]
    events = [
        json.loads(line) for line in runs.run("runs", "watch", run_id, "--json").stdout.splitlines()
    ]
    assert [event["number"] for event in events] == list(range(1, len(lines) + 1))
    assert (
        len(runs.run("runs", "watch", run_id, "--after", "1").stdout.splitlines()) == len(lines) - 1
    )


def test_ctrl_c_leaves_a_watched_run_alone(project: OwnedProject) -> None:
    project.own()
    casting = project.start("run", "nap", "--arg", "seconds=600")
    assert casting.stderr.readline() == b"1/2 asleep\n"
    [run] = listed(project)
    watching = project.start("runs", "watch", run["id"])
    while b"asleep" not in watching.stdout.readline():
        pass
    watching.send_signal(signal.SIGINT)
    said = watching.communicate(timeout=WAIT_SECONDS)[1]
    assert watching.returncode == 130
    assert b"goes on" in said
    assert [run["state"] for run in listed(project)] == ["working"]
    assert project.run("runs", "cancel", run["id"]).returncode == 0
    casting.communicate(timeout=WAIT_SECONDS)
    assert [run["state"] for run in listed(project)] == ["canceled"]
    assert project.run("runs", "cancel", run["id"]).returncode == 0


def test_a_result_is_printed_as_run_prints_it_with_its_exit_status(runs: OwnedProject) -> None:
    done = cast(runs, "hello")["run_id"]
    printed = runs.run("runs", "result", done)
    assert (printed.stdout, printed.returncode) == ("Hello, world!\n", 0)
    failed = json.loads(runs.run("exec", "error('boom')", "--json").stdout)["run_id"]
    refused = runs.run("runs", "result", failed)
    assert (refused.stdout, refused.returncode) == ("", 1)
    assert "boom" in refused.stderr
    assert json.loads(runs.run("runs", "result", failed, "--json").stdout)["state"] == "failed"


def test_a_run_that_has_ended_is_not_cancelled(runs: OwnedProject) -> None:
    done = runs.run("runs", "cancel", cast(runs, "hello")["run_id"])
    assert done.returncode == 1
    assert "run.not_cancelable" in done.stderr


def test_an_export_is_one_document_without_secrets(runs: OwnedProject, tmp_path: Path) -> None:
    run_id = cast(runs, "leak")["run_id"]
    text = runs.run("runs", "export", run_id).stdout
    document = json.loads(text)
    assert document["run"]["id"] == run_id
    assert [event["number"] for event in document["events"]] == list(
        range(1, document["run"]["generation"] + 1)
    )
    assert document["journal"] == []
    assert "sk-abcdefgh" not in text
    assert "open-sesame" not in text
    assert "the key is ***" in text
    file = tmp_path / "run.json"
    assert runs.run("runs", "export", run_id, "--output", str(file)).stdout == ""
    assert json.loads(file.read_text(encoding="utf-8")) == document
    again = runs.run("runs", "export", run_id, "--output", str(file))
    assert again.returncode == 2


def test_a_question_without_a_terminal_ends_run_with_3_and_says_how_to_answer(
    runs: OwnedProject,
) -> None:
    done = runs.run("run", "order")
    assert (done.stdout, done.returncode) == ("", 3)
    assert "Buy it for 12?" in done.stderr
    run_id = done.stderr.split("llmspell runs answer ")[1].split()[0]
    shown = runs.run("runs", "show", run_id).stdout
    assert "input_required" in shown
    assert "Buy it for 12?" in shown
    assert f"llmspell runs answer {run_id}" in shown
    assert runs.run("runs", "result", run_id).returncode == 3
    answered = runs.run("runs", "answer", run_id, "--field", "ok=yes")
    assert (answered.stdout, answered.stderr, answered.returncode) == ("", "answered\n", 0)
    assert runs.run("runs", "result", run_id).stdout == "bought\n"
    steps = json.loads(runs.run("runs", "show", run_id, "--json").stdout)["journal"]
    assert [step["kind"] for step in steps] == ["step", "ask"]
    assert "price" in runs.run("runs", "show", run_id).stdout


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (('{"ok": true}',), "bought\n"),
        (("--field", "ok=false"), "left\n"),
        (("--field", "ok=true", "--field", "note=42"), "bought\n"),
    ],
)
def test_an_answer_is_an_object_or_its_fields(
    runs: OwnedProject, arguments: tuple[str, ...], printed: str
) -> None:
    run_id = asked(runs)
    assert runs.run("runs", "answer", run_id, *arguments).returncode == 0
    assert runs.run("runs", "result", run_id).stdout == printed


def test_an_answer_that_does_not_fit_changes_nothing(runs: OwnedProject) -> None:
    run_id = asked(runs)
    wrong = runs.run("runs", "answer", run_id, '{"ok": "perhaps"}')
    assert wrong.returncode == 1
    assert "ask.invalid" in wrong.stderr
    none = runs.run("runs", "answer", run_id)
    assert none.returncode == 2
    assert "Buy it for 12?" in none.stderr
    other = runs.run("runs", "answer", run_id, "--question", "nosuch", "--field", "ok=yes")
    assert other.returncode == 1
    assert "run.not_waiting" in other.stderr
    both = runs.run("runs", "answer", run_id, "--decline", "--field", "ok=yes")
    assert both.returncode == 2
    assert runs.run("runs", "answer", run_id, "--field", "ok=no").returncode == 0
    late = runs.run("runs", "answer", run_id, "--field", "ok=no")
    assert late.returncode == 1
    assert "run.not_waiting" in late.stderr


def test_a_declined_question_fails_the_run_that_asked(runs: OwnedProject) -> None:
    run_id = asked(runs)
    assert runs.run("runs", "answer", run_id, "--decline").stderr == "declined\n"
    ended = runs.run("runs", "result", run_id)
    assert ended.returncode == 1
    assert "ask.declined" in ended.stderr


def test_run_asks_on_a_terminal_and_goes_on(runs: OwnedProject) -> None:
    lines = {b"Whether to buy (yes or no): ": b"yes\n", b"Why (may be left empty): ": b"\n"}
    status, seen = typed(runs, "run", "order", lines=lines)
    assert status == 0, seen
    assert seen.count(b"Buy it for 12?") == 1
    assert seen.endswith(b"bought\r\n")


def test_answer_asks_on_a_terminal_where_nothing_is_given(runs: OwnedProject) -> None:
    run_id = asked(runs)
    lines = {b"Whether to buy (yes or no): ": b"no\n", b"Why (may be left empty): ": b"dear\n"}
    status, seen = typed(runs, "runs", "answer", run_id, lines=lines)
    assert status == 0, seen
    assert runs.run("runs", "result", run_id).stdout == "left\n"


def test_a_person_who_leaves_the_terminal_leaves_the_question_open(runs: OwnedProject) -> None:
    status, seen = typed(runs, "run", "order", lines={b"Whether to buy (yes or no): ": b"\x04"})
    assert status == 3, seen
    run_id = seen.decode().split("llmspell runs answer ")[1].split()[0]
    assert runs.run("runs", "answer", run_id, "--field", "ok=yes").returncode == 0


def test_a_fork_goes_on_from_a_step(runs: OwnedProject) -> None:
    run_id = asked(runs)
    runs.run("runs", "answer", run_id, "--field", "ok=yes")
    runs.run("runs", "result", run_id)
    steps = json.loads(runs.run("runs", "show", run_id, "--json").stdout)["journal"]
    made = runs.run("runs", "fork", run_id, "--step", str(steps[1]["number"]))
    assert made.returncode == 0, made.stderr
    fork = made.stdout.strip()
    assert runs.run("runs", "result", fork).returncode == 3  # it asks again
    assert runs.run("runs", "answer", fork, "--field", "ok=no").returncode == 0
    assert runs.run("runs", "result", fork).stdout == "left\n"
    assert runs.run("runs", "result", run_id).stdout == "bought\n"
    assert run_id in runs.run("runs", "show", fork).stdout


def test_pruned_runs_are_gone_and_a_dry_run_only_counts(project: OwnedProject) -> None:
    project.own()
    run_id = cast(project, "hello")["run_id"]
    dry = project.run("runs", "prune", "--before", "0s", "--dry-run", "--json")
    assert json.loads(dry.stdout)["runs"] == 1
    assert len(listed(project)) == 1
    done = project.run("runs", "prune", "--before", "0s")
    assert "deleted 1 run" in done.stderr
    assert listed(project) == []
    gone = project.run("runs", "result", run_id)
    assert gone.returncode == 1
    assert "run.collected" in gone.stderr
    assert project.run("runs", "prune").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--state", "wroking"),
        ("list", "--limit", "0"),
        ("prune", "--before", "yesterday"),
        ("watch",),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    runs: OwnedProject, arguments: tuple[str, ...]
) -> None:
    done = runs.run("runs", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_run_that_asks_survives_its_owner(project: OwnedProject) -> None:
    (project.root / "spells" / "order.lua").write_text(ASKING, encoding="utf-8")
    run_id = asked(project)
    project.kill_owner()
    assert project.run("runs", "answer", run_id, "--field", "ok=yes").returncode == 0
    assert project.run("runs", "result", run_id).stdout == "bought\n"
    wait_until(lambda: project.runs("completed") == 1, "the run has ended")
