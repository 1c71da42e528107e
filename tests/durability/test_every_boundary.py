"""A run that is killed at every step goes on as if nothing had been, and asks no model twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import write_spells
from tests.support.servers import ROOT, environment

WORK = """
local writer = Agent.create { name = "writer", model = "counting/a" }
local function ask(n) return writer:ask("line " .. n) end

return Spell.create {
  name = "work",
  input = { topic = Schema.string "What about" },
  needs = { tools = { "count", "shout" } },
  run = function(input, ctx)
    local seen = {}
    local function did(what) seen[#seen + 1] = what end
    did(ask(1))                                                     -- 1: a model
    did(State.shared:increment("total"))                            -- 2: state
    did(Spell.get("shout"):cast { text = input.topic }.text)        -- 3: a tool
    did(ctx:step("roll", function() return 6 end))                  -- 4: a step
    State.set("luck", random(1000000))                              -- 5: a random number, kept
    did(ask(2))                                                     -- 6
    did(State.transaction(function()                                -- 7: a transaction
      local n = (State.get "n" or 0) + 1
      State.set("n", n)
      State.shared:set("n", n)
      return n
    end))
    did(tostring(ctx:ask { message = "Go on?" }.ok))                -- 8: a person
    sleep(8)                                                        -- 9: long enough to be parked
    did(Spell.get("count"):cast {})                                 -- 10: a tool with effects
    did(ctx:step("think", function() return ask(3) end))            -- 11: a model in a step
    local before = now()
    sleep(0.2)                                                      -- 12
    did(now() >= before)
    local shared = {}
    parallel {                                                      -- 13, 14, 15: side by side
      function() sleep(0.4) local line = ask "a" shared[#shared + 1] = line end,
      function() local line = ask "b" shared[#shared + 1] = line end,
      function() sleep(0.2) local n = State.shared:increment("total") shared[#shared + 1] = n end,
    }
    State.set("order", json.encode(shared))                         -- 16: their order, kept
    did(ask(4))                                                     -- 17
    did(Spell.get("count"):cast {})                                 -- 18
    did(State.delete("n"))                                          -- 19
    did(ask(5))                                                     -- 20
    return {
      seen = seen,
      same_order = State.get("order") == json.encode(shared),
      same_luck = State.get("luck") ~= nil,
      total = State.shared:get("total"),
      shared = #shared,
    }
  end,
}
"""

COUNT = """
return Spell.create { run = function()
  State.increment("casts")
  sleep(0.1)
  return State.shared:increment("total")
end }
"""

SHOUT = """
return Spell.create {
  input = { text = Schema.string "Text" },
  run = function(input) return { text = input.text:upper() } end,
}
"""

PROVIDER = """
import os
from llmspell.effects.messages import ModelReply, TextDelta, Usage

class Counting:
    name = "counting"

    async def stream(self, request, *, model, idempotency_key=""):
        line = f"{idempotency_key}\\n".encode()
        handle = os.open(os.environ["COUNTING_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line)
        os.close(handle)
        text = "<" + request.messages[-1].text + ">"
        yield TextDelta(text)
        yield ModelReply(text=text, usage=Usage(input_tokens=1, output_tokens=1, calls=1))

    async def close(self):
        pass
"""

CALLS = 7
"""Model calls of one run."""


class Project:
    """A project on disk, and the runs of its `work` in processes that may be killed."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.calls_file = root / "calls"
        write_spells(self.root, {"work": WORK, "count": COUNT, "shout": SHOUT})
        plugin = root / "plugin"
        (plugin / "counting-1.dist-info").mkdir(parents=True)
        (plugin / "counting.py").write_text(PROVIDER)
        (plugin / "counting-1.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: counting\nVersion: 1\n"
        )
        (plugin / "counting-1.dist-info" / "entry_points.txt").write_text(
            "[llmspell.providers]\ncounting = counting:Counting\n"
        )
        self.environment = environment() | {
            "COUNTING_FILE": str(self.calls_file),
            "LLMSPELL_ALLOW_NETWORK": "1",
            "HOME": str(root),
        }
        self.environment["PYTHONPATH"] += os.pathsep + os.pathsep.join((str(plugin), str(ROOT)))

    def perform(self, run_id: str, failpoint: str) -> tuple[str, dict[str, Any] | None]:
        """Perform the run until it ends or its process is killed; return its id and outcome."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.durability.performer", str(self.root), run_id],
            env=self.environment | {"LLMSPELL_FAILPOINT": failpoint},
            capture_output=True,
            text=True,
            timeout=30,
            cwd=ROOT,
        )
        lines = done.stdout.splitlines()
        if done.returncode == -signal.SIGKILL:
            return (lines[0] if lines else run_id), None
        assert done.returncode == 0, done.stderr
        return lines[0], json.loads(lines[-1])

    def calls(self) -> Counter[str]:
        """Return how often each model call was made, by its idempotency key."""
        return (
            Counter(self.calls_file.read_text().split()) if self.calls_file.exists() else Counter()
        )


def to_the_end(project: Project, failpoint: str, *, only_first: int | None = None) -> int:
    """Perform a run to its end, each process armed anew; return how many were killed."""
    run_id, kills = "", 0
    while True:
        armed = only_first is None or kills < only_first
        run_id, outcome = project.perform(run_id, failpoint if armed else "")
        if outcome is not None:
            check(outcome)
            return kills
        kills += 1
        assert kills < 200


def check(outcome: dict[str, Any]) -> None:
    assert outcome["state"] == "completed", outcome
    output = outcome["output"]
    assert output["seen"] == [
        "<line 1>",
        1,
        "OWLS",
        6,
        "<line 2>",
        1,
        "true",
        2,
        "<line 3>",
        True,
        "<line 4>",
        4,
        True,
        "<line 5>",
    ]
    assert output["total"] == 4
    assert output["same_order"]
    assert output["same_luck"]
    assert output["shared"] == 3


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_run_that_is_killed_after_every_record_asks_no_model_twice(project: Project) -> None:
    kills = to_the_end(project, "run.after_journal:kill")
    assert kills >= 12
    assert project.calls().total() == CALLS
    assert max(project.calls().values()) == 1


def test_a_run_that_is_killed_after_every_few_commits_goes_on(project: Project) -> None:
    kills = to_the_end(project, "state.after_write:kill@4")
    assert kills >= 5
    assert max(project.calls().values()) <= 2


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_kill_between_reply_and_record_repeats_that_call_under_its_key_alone(
    project: Project, number: int
) -> None:
    assert to_the_end(project, f"run.after_reply:kill@{number}", only_first=1) == 1
    calls = project.calls()
    assert calls.total() == CALLS + 1
    assert sorted(calls.values()) == [1] * (CALLS - 1) + [2]


def test_a_run_that_is_not_killed_gives_the_same(project: Project) -> None:
    assert to_the_end(project, "") == 0
    assert project.calls().total() == CALLS
