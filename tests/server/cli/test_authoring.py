"""`llmspell check`, `llmspell test` and `llmspell repl` as a person types them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.support.owners import WAIT_SECONDS, OwnedProject
from tests.support.servers import LLMSPELL, environment

WRONG = 'it("is wrong", function()\n  expect(spell("hello"):cast {}).to_equal "Bye"\nend)\n'
RAISING = 'it("raises", function()\n  print "before"\n  local _ = nil .. "x"\nend)\n'


def test_check_tells_findings_on_stderr_and_as_json(project: OwnedProject) -> None:
    spell = project.root / "spells" / "odd.lua"
    spell.write_text("local function f() prnt(1) end\nreturn Spell.create { run = f }", "utf-8")
    done = project.run("check")
    assert (done.stdout, done.returncode) == ("", 1)
    assert done.stderr.count("spells/odd.lua:1: unknown name 'prnt' {code: spec.unknown_name}") == 1
    assert "hint: did you mean 'print'?" in done.stderr
    report = json.loads(project.run("check", "--json").stdout)
    assert report["ok"] is False
    [finding] = report["findings"]
    assert finding["severity"] == "error"
    assert finding["where"] == "spells/odd.lua:1"
    assert project.run("check", "--json", "spells/odd.lua").returncode == 1


def test_check_says_each_thing_once_and_counts_them(project: OwnedProject) -> None:
    spells = project.root / "spells"
    (spells / "odd.lua").write_text("return Spell.create {", "utf-8")
    (spells / "none.lua").write_text("counter = 0", "utf-8")
    done = project.run("check")
    assert done.stderr.count("spells/odd.lua") == 1
    assert done.stderr.count("spells/none.lua: the file returns nothing") == 1
    assert done.stderr.splitlines()[-1] == "4 files: 2 errors, 1 warning"


def test_check_says_where_it_found_nothing(project: OwnedProject) -> None:
    for file in (project.root / "spells").iterdir():
        file.unlink()
    done = project.run("check")
    assert done.returncode == 0
    assert done.stderr == f"there is nothing to check in {project.root / 'spells'}\n"


def test_check_ends_with_0_when_there_are_warnings_only(project: OwnedProject) -> None:
    spell = project.root / "spells" / "odd.lua"
    spell.write_text("return Agent.create { tools = { 'nosuch' } }", "utf-8")
    done = project.run("check")
    assert done.returncode == 0
    assert "warning: spells/odd.lua:1: nothing here publishes 'nosuch'" in done.stderr


def test_test_runs_the_tests_of_the_project_and_needs_no_owner(project: OwnedProject) -> None:
    tests = project.root / "tests"
    tests.mkdir()
    (tests / "more_test.lua").write_text(
        'it("greets", function() expect(spell("hello"):cast {}).to_contain "world" end)', "utf-8"
    )
    done = project.run("test")
    assert (done.stdout, done.stderr, done.returncode) == ("1 passed, 0 failed\n", "", 0)
    assert project.owner is None


def test_test_tells_the_lines_that_ran_when_it_is_asked(project: OwnedProject) -> None:
    spells = project.root / "spells"
    (spells / "half.lua").write_text(
        "return Spell.create { run = function(input)\n  if input.x then\n    return 1\n  end\n"
        "  return 2\nend }\n",
        "utf-8",
    )
    (spells / "half_test.lua").write_text(
        'it("runs", function() expect(spell("half"):cast {}).to_equal(2) end)\n', "utf-8"
    )
    done = project.run("test", "--coverage", "spells/half_test.lua")
    assert re.search(r"^spells/half\.lua +\d+ +\d+% +3$", done.stdout, re.MULTILINE), done.stdout
    told = json.loads(project.run("test", "--coverage", "--json", "spells/half_test.lua").stdout)
    [half] = [item for item in told["coverage"] if item["file"] == "spells/half.lua"]
    assert half["missing"] == [3]


def test_test_says_where_and_why_a_test_failed(project: OwnedProject) -> None:
    (project.root / "spells" / "a_test.lua").write_text(WRONG, "utf-8")
    (project.root / "spells" / "b_test.lua").write_text(RAISING, "utf-8")
    done = project.run("test")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "FAIL spells/a_test.lua:1 is wrong",
        '  spells/a_test.lua:2: expected "Bye", got "Hello, world!"',
        "FAIL spells/b_test.lua:1 raises",
        "  spells/b_test.lua:3: attempt to concatenate a nil value {code: spell.raised}",
    ]
    assert lines[-2:] == ["  | before", "0 passed, 2 failed"]
    assert project.run("test", "spells/a_test.lua").stdout.endswith("0 passed, 1 failed\n")
    report = json.loads(project.run("test", "--json", "spells").stdout)
    assert (report["passed"], report["failed"]) == (0, 2)
    assert report["tests"][1]["error"]["where"] == "spells/b_test.lua:3"
    assert report["tests"][1]["log"] == ["before"]


def test_test_without_tests_is_a_mistake_of_usage(project: OwnedProject) -> None:
    done = project.run("test")
    assert (done.stdout, done.returncode) == ("", 2)
    assert "there is no *_test.lua" in done.stderr
    assert project.run("test", "nosuch").returncode == 2


def test_repl_evaluates_what_is_piped_to_it(project: OwnedProject) -> None:
    project.own()
    lines = """\
x = 20

function twice(n)

  return n * 2
end
twice(x) + 2
Spell.get("hello"):cast { name = "Ada" }
State.shared.increment "n"
print("said", 1)
"""
    done = project.run("repl", input=lines)
    assert (done.stdout, done.stderr) == ('42\n"Hello, Ada!"\n1\nsaid\t1\n', "")
    assert done.returncode == 0
    # The state is the project's own, and outlives the cell.
    assert project.run("repl", input='State.shared.increment "n"').stdout == "2\n"


def test_repl_goes_on_after_an_error_and_ends_with_1(project: OwnedProject) -> None:
    project.own()
    done = project.run(
        "repl", input="x = 1\nerror 'boom'\nLog.warn('w', { a = 1 })\nx\nif x then\n"
    )
    assert done.returncode == 1
    assert done.stdout == "1\n"
    assert "repl:2: boom {code: spell.raised}" in done.stderr
    assert "warn: w a=1" in done.stderr
    assert "ends in the middle" in done.stderr


class Terminal:
    """A person at `llmspell repl`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def see(self, pattern: str) -> str:
        """Return what is shown up to a pattern, and pass over it."""
        end = time.monotonic() + WAIT_SECONDS
        while (match := re.search(pattern, self._seen)) is None:
            ready, _, _ = select.select([self._descriptor], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern!r} is not in {self._seen!r}"
            self._seen += os.read(self._descriptor, 1 << 16).decode("utf-8", "replace")
        before, self._seen = self._seen[: match.end()], self._seen[match.end() :]
        return before


@contextmanager
def terminal(project: OwnedProject) -> Generator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*LLMSPELL, "repl"],
        cwd=project.root,
        env={**environment(), "TERM": "dumb", "INPUTRC": "/dev/null"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    person = Terminal(ours)
    try:
        person.see("1> ")
        yield person
        person.type("\x04")
        assert process.wait(WAIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_repl_prompts_with_the_line_that_errors_name(project: OwnedProject) -> None:
    project.own()
    with terminal(project) as person:
        person.type("x = 3\r")
        person.see("2> ")
        person.type("for i = 1, 2 do\r")
        person.see(r"\. ")
        person.type("print('line', i)\r")
        person.see(r"\. ")
        person.type("end\r")
        assert "line\t2" in person.see("5> ").expandtabs(1).replace("line 2", "line\t2")
        person.type("error 'boom'\r")
        assert "repl:5: boom" in person.see("6> ")
        person.type("f(\r")
        person.see(r"\. ")
        person.type("\r")
        assert "ends in the middle" in person.see("6> ")


def test_repl_completes_names_and_keeps_its_history(project: OwnedProject) -> None:
    project.own()
    with terminal(project) as person:
        person.type("State.incr\t 'n'\r")
        assert "State.increment 'n'" in person.see("2> ")
    with terminal(project) as person:
        person.type("\x1b[A\r")
        assert "2" in person.see("2> ")
    history = project.state / "repl_history"
    assert history.read_text(encoding="utf-8").splitlines()[0] == "State.increment 'n'"
    assert history.stat().st_mode & 0o077 == 0
