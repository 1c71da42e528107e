"""`llmspell run` and `llmspell exec` as a person types them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.support.owners import WAIT_SECONDS, OwnedProject, wait_until


def test_a_text_is_printed_as_it_is_and_alone(shared: OwnedProject) -> None:
    done = shared.run("run", "hello", "--arg", "name=you")
    assert (done.stdout, done.stderr, done.returncode) == ("Hello, you!\n", "", 0)


def test_anything_else_is_printed_as_json(shared: OwnedProject) -> None:
    done = shared.run("run", "word_count", "--input", '{"text": "a b\\nc"}')
    assert json.loads(done.stdout) == {"words": 3, "lines": 2, "characters": 5}


@pytest.mark.parametrize("given", ["three plain words", '"three plain words"'])
def test_a_text_fills_the_only_string_field(shared: OwnedProject, given: str) -> None:
    assert json.loads(shared.run("run", "word_count", "--input", given).stdout)["words"] == 3


def test_the_input_can_come_from_stdin(shared: OwnedProject) -> None:
    done = shared.run("run", "word_count", "--input", "-", input="one two\n")
    assert json.loads(done.stdout) == {"words": 2, "lines": 1, "characters": 7}


def test_a_file_of_the_project_is_the_spell_it_publishes(shared: OwnedProject) -> None:
    done = shared.run("run", "spells/hello.lua", "--input", "Ann", "--json")
    outcome = json.loads(done.stdout)
    assert outcome["spell"] == "hello"
    assert outcome["output"] == "Hello, Ann!"
    assert outcome["state"] == "completed"
    assert outcome["run_id"]


def test_a_file_elsewhere_is_cast_too(shared: OwnedProject, tmp_path: Path) -> None:
    file = tmp_path / "twice.lua"
    file.write_text(
        'return Spell.create { input = { n = Schema.integer "n" }, '
        "run = function(input) return { n = 2 * input.n } end }",
        encoding="utf-8",
    )
    done = shared.run("run", str(file), "--arg", "n=21")
    assert json.loads(done.stdout) == {"n": 42}


def test_a_file_that_returns_nothing_prints_its_last_cast(
    shared: OwnedProject, tmp_path: Path
) -> None:
    file = tmp_path / "script.lua"
    file.write_text('local hello = Spell.get "hello"\nhello:cast { name = "Lua" }\n', "utf-8")
    assert shared.run("run", str(file)).stdout == "Hello, Lua!\n"


def test_a_file_of_the_project_that_publishes_nothing_is_not_cast_as_a_script(
    project: OwnedProject,
) -> None:
    file = project.root / "spells" / "broken.lua"
    for source, problem in [
        ("Spell.create { run = function() end }", "the file returns nothing"),
        ("return function() end", "the file returns no spell"),
        ("State.set('n', 1) return Spell.create { run = print }", "cannot call State.set while"),
        ("return Spell.create { runn = print }", "unknown key 'runn'"),
    ]:
        file.write_text(source, encoding="utf-8")
        wait_until(lambda text=problem: text in project.run("spells").stderr, "it is read")
        done = project.run("run", "spells/broken.lua")
        assert (done.stdout, done.returncode) == ("", 1)
        assert done.stderr.startswith("spells/broken.lua:")
        assert problem in done.stderr


def test_a_file_that_declares_a_spell_and_returns_nothing_is_told_so(
    shared: OwnedProject, tmp_path: Path
) -> None:
    file = tmp_path / "forgotten.lua"
    file.write_text("Spell.create { run = function() return 1 end }\n", "utf-8")
    done = shared.run("run", str(file))
    assert done.stdout == "null\n"
    assert "returned nothing; to cast what it declares, end the file with: return" in done.stderr


def test_what_is_no_lua_is_explained_by_exec(shared: OwnedProject) -> None:
    done = shared.run("exec", "1 + 1")
    assert "hint: a value is printed when it is returned: return 1 + 1\n" in done.stderr
    assert "hint: Lua writes ~=" in shared.run("exec", "return 1 != 2").stderr
    assert "hint" not in shared.run("exec", "local a = = 2\nreturn a").stderr


def test_progress_and_log_go_to_stderr(shared: OwnedProject) -> None:
    done = shared.run("run", "nap", "--arg", "seconds=0")
    assert (done.stdout, done.stderr) == ("awake\n", "1/2 asleep\n")


def test_a_file_given_along_is_a_part_of_the_message(shared: OwnedProject, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes", encoding="utf-8")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    (shared.root / "spells" / "parts.lua").write_text(
        'return Spell.create { name = "parts", '
        "run = function(_, ctx) return { parts = ctx.message.parts } end }",
        encoding="utf-8",
    )
    wait_until(lambda: "parts" in shared.run("spells").stdout, "the spell is published")
    given = ("--file", str(tmp_path / "notes.md"), "--file", str(tmp_path / "image.png"))
    text, image = json.loads(shared.run("run", "parts", *given).stdout)["parts"]
    assert text["name"] == "notes.md"
    assert text["text"] == "# Notes"
    assert image["media_type"] == "image/png"
    assert image["bytes"] == "iVBOR/8="


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "helo"), "spell.not_found", "did you mean 'hello'"),
        (("run", "hello", "--arg", "nmae=x"), "input.invalid", "nmae"),
        (("run", "nap", "--arg", "seconds=9", "--timeout", "100ms"), "limit", "nap"),
        (("exec", "error('boom')"), "spell.raised", "boom"),
        (("exec", "return +"), "spec.syntax", "exec:1"),
    ],
)
def test_a_cast_that_fails_says_why_and_ends_with_1(
    shared: OwnedProject, arguments: tuple[str, ...], code: str, said: str
) -> None:
    done = shared.run(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{{code: {code}" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "hello", "--arg", "name"),
        ("run", "missing.lua"),
        ("run", "nap", "--input", "a text for no field"),
        ("run", "hello", "--file", "missing"),
        ("run", "hello", "--timeout", "-1"),
        ("run", "hello", "--timeout", "0"),
        ("exec", "return 1", "--timeout", "soon"),
        ("stop", "--timeout", "soon"),
    ],
)
def test_an_input_that_makes_no_sense_is_a_usage_error(
    shared: OwnedProject, arguments: tuple[str, ...]
) -> None:
    done = shared.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("target", "message", "hint"),
    [
        ("hello.lua", "hello.lua: No such file", "is cast by its name: llmspell run hello"),
        ("spells/hello_test.lua", "holds tests", "llmspell test spells/hello_test.lua"),
    ],
)
def test_a_file_that_is_no_spell_leads_to_what_was_meant(
    shared: OwnedProject, target: str, message: str, hint: str
) -> None:
    done = shared.run("run", target)
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr


def test_a_failed_cast_in_json_is_the_whole_outcome(shared: OwnedProject) -> None:
    done = shared.run("exec", "error('boom')", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "spell.raised"
    assert done.returncode == 1


def test_a_chunk_is_cast_and_its_value_printed(shared: OwnedProject) -> None:
    assert shared.run("exec", "return 1 + 1").stdout == "2\n"
    assert shared.run("exec", "return 'text'").stdout == "text\n"
    assert json.loads(shared.run("exec", "return { list = { 1, 2 } }").stdout) == {"list": [1, 2]}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_cast_ends_with_the_command_that_waits_for_it(
    project: OwnedProject, how: signal.Signals
) -> None:
    process = project.start("run", "nap", "--arg", "seconds=600")
    assert process.stderr.readline() == b"1/2 asleep\n"
    process.send_signal(how)
    process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert project.runs("canceled") == 1


def test_a_state_directory_keeps_what_spells_store_between_owners(project: OwnedProject) -> None:
    (project.root / "spells" / "count.lua").write_text(
        'return Spell.create { name = "count", run = function() return State.increment("n") end }',
        encoding="utf-8",
    )
    assert project.run("run", "count").stdout == "1\n"
    assert project.run("stop").returncode == 0
    assert project.run("run", "count").stdout == "2\n"
