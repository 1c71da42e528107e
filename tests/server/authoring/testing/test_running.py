"""Tests of spells: what passes, what fails, and what a failure says."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

from llmspell.authoring.testing.collecting import find_tests
from llmspell.authoring.testing.running import run_tests
from llmspell.authoring.testing.trial import Result
from llmspell.config import open_project
from tests.support.servers import ROOT

ECHO = """
return Spell.create {
  name = "echo",
  input = { text = Schema.string("What to say", { default = "hi" }) },
  output = { text = Schema.string "It", calls = Schema.integer "How often" },
  run = function(input, ctx)
    Log.warn("echoing", { who = ctx.user })
    return { text = input.text, calls = State.increment "calls" }
  end,
}
"""
ASKER = """
local helper = Agent.create {
  name = "helper", model = "some/model", system = "You help.", tools = { "lookup" },
}
return Spell.create {
  name = "asker",
  run = function(input) return helper:ask(input.question) end,
}
"""
NAPPER = """
return Spell.create {
  name = "napper",
  budget = { seconds = 10 },
  run = function(input)
    for _ = 1, input.times or 1 do sleep(input.seconds) end
    return now()
  end,
}
"""


async def run(root: Path, source: str, **spells: str) -> list[Result]:
    """Return the results of one test file in a project of these spells."""
    (root / "spells").mkdir(parents=True, exist_ok=True)
    (root / "llmspell.toml").touch()
    for name, text in {"echo": ECHO, "asker": ASKER, "napper": NAPPER, **spells}.items():
        (root / "spells" / f"{name}.lua").write_text(text, encoding="utf-8")
    (root / "spells" / "it_test.lua").write_text(textwrap.dedent(source).strip(), "utf-8")
    project = open_project(root, environ={})
    async with asyncio.timeout(30):
        return [result async for result in run_tests(project, find_tests(project))]


async def passed(root: Path, source: str, **spells: str) -> list[Result]:
    """Return the results, all of which passed."""
    results = await run(root, source, **spells)
    assert results
    for result in results:
        assert result.ok, (result.name, result.error and result.error.report())
    return results


async def failure(root: Path, body: str, **spells: str) -> tuple[str, str]:
    """Return where a test with this body, from line 2 on, failed, and its message."""
    [result] = await run(root, f'it("fails", function()\n{body}\nend)', **spells)
    assert result.error is not None
    return str(result.error.where), result.error.message


class TestDeclaring:
    async def test_groups_name_their_tests_and_share_what_runs_before(self, tmp_path: Path) -> None:
        results = await passed(
            tmp_path,
            """
            local order = {}
            before_each(function() order[#order + 1] = "file" end)
            describe("outer", function()
              before_each(function() order[#order + 1] = "outer" end)
              describe("inner", function()
                before_each(function() order[#order + 1] = "inner" end)
                it("first", function() expect(order).to_equal { "file", "outer", "inner" } end)
              end)
              it("second", function() expect(order).to_equal { "file", "outer" } end)
            end)
            it("third", function() expect(order).to_equal { "file" } end)
            """,
        )
        named = [(result.name, result.line) for result in results]
        assert named == [("outer inner first", 7), ("outer second", 9), ("third", 11)]

    async def test_each_test_has_a_state_a_store_and_a_time_of_its_own(
        self, tmp_path: Path
    ) -> None:
        body = """
          count = (count or 0) + 1
          expect(count).to_equal(1)
          expect(State.shared.increment "n").to_equal(1)
          expect(spell("echo"):cast {}.calls).to_equal(1)
          expect(now()).to_equal(1700000000)
          sleep "1h"
        """
        await passed(tmp_path, f"for i = 1, 3 do it('test ' .. i, function() {body} end) end")

    async def test_random_numbers_are_the_same_each_time(self, tmp_path: Path) -> None:
        source = "it('draws', function() print(random(1000000), uuid()) end)"
        [first] = await passed(tmp_path, source)
        [second] = await passed(tmp_path, source)
        assert first.log == second.log

    async def test_a_file_that_does_not_load_is_one_failure(self, tmp_path: Path) -> None:
        for source, place, message in (
            ("it('x', function()\n  local = 1\nend)", "spells/it_test.lua:2", "near '='"),
            ("local x = nil + 1", "spells/it_test.lua:1", "arithmetic on a nil value"),
            ("spell('echo'):cast {}", "spells/it_test.lua:1", "while the file is loading"),
            ("return 1", "spells/it_test.lua", "declares no tests"),
            ("it('x')", "spells/it_test.lua:1", "it takes a function, got a nil"),
        ):
            [result] = await run(tmp_path, source)
            assert result.error is not None
            assert (result.name, result.error.where) == ("", place)
            assert message in result.error.message

    async def test_a_test_is_not_declared_by_a_test(self, tmp_path: Path) -> None:
        where, message = await failure(tmp_path, "it('inner', function() end)")
        assert where == "spells/it_test.lua:2"
        assert message == "it stands at the top of the file or in describe"

    async def test_a_test_file_may_require_a_module_and_the_spell_itself(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "lib").mkdir(parents=True)
        (tmp_path / "lib" / "help.lua").write_text("return { two = 2 }", "utf-8")
        await passed(
            tmp_path,
            """
            local help, echo = require "help", require "echo"
            it("casts it", function()
              expect(help.two).to_equal(2)
              expect(echo:cast { text = "a" }).to_equal { text = "a", calls = 1 }
              expect(function() echo:cast { txt = "a" } end).to_fail "input.invalid"
            end)
            """,
        )


class TestExpecting:
    async def test_what_holds_passes(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("matches", function()
              expect({ a = { 1, json.null }, b = "x" }).to_equal { b = "x", a = { 1, json.null } }
              expect(1):to_equal(1.0)
              expect({ 1 }).not_to_equal { 1, 2 }
              expect("some text").to_contain "me te"
              expect({ { 1 }, { 2 } }).to_contain { 2 }
              expect({ 1 }).not_to_contain(2)
              expect("a1").to_match "^%a%d$"
              expect("a").not_to_match "%d"
              expect(nil).to_be_nil()
              expect(json.null).to_be_nil()
              expect(false).not_to_be_nil()
              expect({}).to_be_a "table"
              expect(0.1 + 0.2).to_be_near(0.3)
              expect(99).to_be_near(100, 1)
              local circle = {}
              circle.circle = circle
              expect(circle).to_equal(circle)
            end)
            """,
        )

    async def test_what_does_not_hold_says_how_and_where(self, tmp_path: Path) -> None:
        for body, message in (
            ("expect(1).to_equal(2)", "expected 2, got 1"),
            ('expect({ a = { "x" } }).to_equal { a = { "y" } }', 'a: 1: expected "y", got "x"'),
            ("expect({ 1, 2 }).to_equal { 1 }", "2: expected nothing, got 2"),
            ("expect({}).to_equal(json.null)", "expected json.null, got {}"),
            ("expect(1).not_to_equal(1)", "expected 1 not to equal 1"),
            ('expect("ab").to_contain "c"', 'expected "ab" to contain "c"'),
            ('expect("ab").not_to_match "^a"', 'expected "ab" not to match "^a"'),
            ("expect({ k = 1 }).to_be_nil()", "expected { k = 1 } to be nil"),
            ('expect(1).to_be_a "string"', "expected a string, got 1"),
            ("expect(1).to_be_near(2)", "expected about 2, got 1"),
            ("expect(print).to_fail()", "expected a failure, and it succeeded"),
            (
                "expect(function() error 'x' end).to_fail 'y'",
                "expected a failure with y, got none: spells/it_test.lua:2: x",
            ),
            ("expect(1).to_fail()", "to_fail takes a function that is to fail, got 1"),
        ):
            assert await failure(tmp_path, body) == ("spells/it_test.lua:2", message)

    async def test_a_failure_in_a_helper_names_the_helper_and_who_called_it(
        self, tmp_path: Path
    ) -> None:
        source = """
            local function check(x)
              expect(x).to_equal(2)
              return x
            end
            it("fails", function()
              local _ = check(1)
            end)
        """
        [result] = await run(tmp_path, source)
        assert result.error is not None
        assert result.error.where == "spells/it_test.lua:2"
        places = [line.partition(": ")[0] for line in str(result.error.traceback).splitlines()]
        assert places == ["spells/it_test.lua:2", "spells/it_test.lua:6"]

    async def test_a_matcher_that_does_not_exist_is_told(self, tmp_path: Path) -> None:
        where, message = await failure(tmp_path, "expect(1).to_eql(1)")
        assert where == "spells/it_test.lua:2"
        assert "expect has no 'to_eql'; it has not_to_be_nil" in message

    async def test_an_error_is_known_by_its_own_code_or_its_authors(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("fails", function()
              local problem = expect(function()
                spell("picky"):cast {}
              end).to_fail("picky.no", "dislike")
              expect(problem.code).to_equal "spell.raised"
              expect(function() spell("picky"):cast {} end).to_fail "spell.raised"
              expect(function() spell("picky"):cast {} end).to_fail(nil, "dislike")
              expect(function() error "plain" end).to_fail(nil, "plain")
            end)
            """,
            picky="return Spell.create { run = function() "
            'error { code = "picky.no", message = "I dislike it" } end }',
        )

    async def test_a_failed_expectation_is_not_the_failure_that_was_expected(
        self, tmp_path: Path
    ) -> None:
        body = "expect(function() expect(1).to_equal(2) end).to_fail()"
        assert (await failure(tmp_path, body))[1] == "expected 2, got 1"


class TestSpells:
    async def test_a_spell_is_cast_with_its_schemas_its_state_and_its_rights(
        self, tmp_path: Path
    ) -> None:
        await passed(
            tmp_path,
            """
            it("casts", function()
              local echo = spell "echo"
              expect(echo:cast()).to_equal { text = "hi", calls = 1 }
              expect(echo.cast { text = "b" }).to_equal { text = "b", calls = 2 }
              expect(function() echo:cast { txt = 1 } end).to_fail("input.invalid", "txt")
              expect((echo.state:get "calls")).to_equal(2)
              echo.state:set("calls", 10)
              expect(echo:cast().calls).to_equal(11)
              expect(echo.state.increment("calls", 4)).to_equal(15)
              expect((echo.state:update("calls", function(n) return n * 2 end))).to_equal(30)
              expect(echo.state:scan "c"[1].value).to_equal(30)
              expect(echo.state:delete "calls").to_equal(true)
              expect((echo.state:get("calls", 0))).to_equal(0)
              expect(function() spell("sly"):cast {} end).to_fail "need.undeclared"
              expect(function() spell("nosuch"):cast {} end).to_fail "spell.not_found"
              expect(function() spell("nosuch").state:get "x" end).to_fail "spell.not_found"
            end)
            """,
            sly="return Spell.create { run = function(input) "
            'return Spell.get("ec" .. "ho"):cast {} end }',
        )

    async def test_a_spell_is_cast_as_whom_the_test_says(self, tmp_path: Path) -> None:
        who = (
            "return Spell.create { run = function(_, ctx) return { user = ctx.user,"
            " session = ctx.session, kept = State.user.increment 'n', said = ctx.message } end }"
        )
        await passed(
            tmp_path,
            """
            it("is somebody", function()
              local ann = spell("who", { user = "ann", session = "s", message = { parts = {} } })
              local ben = spell("who", { user = "ben" })
              local said = { parts = {} }
              expect(ann:cast()).to_equal { user = "ann", session = "s", kept = 1, said = said }
              expect(ann:cast().kept).to_equal(2)
              expect(ben:cast()).to_equal { user = "ben", session = "test", kept = 1 }
              local odd = spell("who", { usr = "x" })
              expect(function() odd:cast() end).to_fail(nil, "unknown key 'usr'")
            end)
            """,
            who=who,
        )

    async def test_what_was_logged_is_told_with_the_result(self, tmp_path: Path) -> None:
        [result] = await passed(
            tmp_path, 'it("logs", function() print("a", 1) spell("echo"):cast() end)'
        )
        assert result.log == ["a\t1", "warn: echoing"]

    async def test_a_spell_that_computes_for_ever_fails_its_test_alone(
        self, tmp_path: Path
    ) -> None:
        loop = (
            "return Spell.create { limits = { slice_seconds = 0.1 },"
            " run = function() while true do end end }"
        )
        results = await run(
            tmp_path,
            """
            it("loops", function() spell("loop"):cast() end)
            it("goes on", function() expect(spell("echo"):cast().calls).to_equal(1) end)
            """,
            loop=loop,
        )
        assert [result.ok for result in results] == [False, True]
        assert results[0].error is not None
        assert results[0].error.code.startswith("limit.")


class TestMocks:
    async def test_a_model_follows_its_script_and_tells_what_it_was_asked(
        self, tmp_path: Path
    ) -> None:
        await passed(
            tmp_path,
            """
            it("asks", function()
              local model = mock.model {
                { calls = { { name = "lookup", arguments = { word = "owl" } } } },
                { text = "A bird." },
              }
              local lookup = mock.tool("lookup", function(input) return input.word .. "!" end)
              expect(spell("asker"):cast { question = "What is it?" }).to_equal "A bird."
              expect(lookup:calls()).to_equal { { word = "owl" } }
              local first, second = table.unpack(model:requests())
              expect(first.model).to_equal "some/model"
              expect(first.tools).to_equal { "lookup" }
              expect(first.messages[1].text).to_equal "You help."
              expect(second.messages[4].text).to_contain "owl!"
            end)
            it("asks one model by name", function()
              mock.model("other/model", { { text = "other" } })
              local named = mock.model("some/model", { { text = "mine" } })
              mock.tool("lookup", 1)
              expect(spell("asker"):cast { question = "?" }).to_equal "mine"
              expect(#named:requests()).to_equal(1)
            end)
            it("sees a model fail", function()
              mock.model { { error = "rate_limit" } }
              mock.tool("lookup", 1)
              local asker = spell "asker"
              expect(function() asker:cast { question = "?" } end).to_fail "model.rate_limit"
            end)
            """,
        )

    async def test_a_model_that_is_not_scripted_is_refused(self, tmp_path: Path) -> None:
        source = """
            it("asks", function()
              mock.tool("lookup", 1)
              spell("asker"):cast { question = "?" }
            end)
        """
        [result] = await run(tmp_path, source)
        assert result.error is not None
        assert result.error.code == "model.unavailable"
        assert result.error.message == "the test scripts no model, and 'some/model' was asked"
        assert "mock.model {" in result.error.hint

    async def test_a_tool_that_nothing_answers_is_refused(self, tmp_path: Path) -> None:
        source = """
            it("asks", function()
              mock.model { { text = "x" } }
              spell("asker"):cast { question = "?" }
            end)
        """
        [result] = await run(tmp_path, source)
        assert result.error is not None
        assert result.error.code == "spell.not_found"
        assert 'mock.tool("lookup", ...)' in result.error.hint

    async def test_a_mock_keeps_the_schemas_of_what_it_stands_for(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("mocks", function()
              local echo = mock.tool("echo", { text = "mocked", calls = 7 })
              expect(spell("echo"):cast {}).to_equal { text = "mocked", calls = 7 }
              expect(echo:calls()).to_equal { { text = "hi" } }
              expect(function() spell("echo"):cast { txt = 1 } end).to_fail "input.invalid"
              mock.tool("echo", "no table")
              expect(function() spell("echo"):cast {} end).to_fail "output.invalid"
              mock.tool("echo", function() error { code = "down", message = "it is down" } end)
              expect(function() spell("echo"):cast {} end).to_fail("down", "it is down")
              expect(function() mock.tool("no name", 1) end).to_fail(nil, "is no name")
            end)
            """,
        )

    async def test_an_agent_of_the_project_is_mocked_by_its_name(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("mocks", function()
              local expert = mock.tool("expert", "Sure.")
              expect(spell("flow"):cast { topic = "owls" }).to_equal "Sure."
              expect(Agent.get("expert"):ask "Why?").to_equal "Sure."
              expect(expert:calls()[2]).to_equal { prompt = "Why?" }
            end)
            """,
            expert='return Agent.create { name = "expert" }',
            flow='return Workflow.sequential { { agent = "expert", prompt = "{{input.topic}}" } }',
        )

    async def test_a_function_that_answers_may_act_itself(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("acts", function()
              mock.tool("slow", function(input) sleep(30) return State.shared.increment "n" end)
              mock.model { { calls = { { name = "lookup" } } }, { text = "done" } }
              mock.tool("lookup", function() return Tool.get("slow"):cast() end)
              spell("asker"):cast { question = "?" }
              expect((State.shared.get "n")).to_equal(1)
              expect(now()).to_equal(1700000030)
            end)
            """,
        )


class TestTime:
    async def test_sleep_takes_no_time_and_moves_it(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("sleeps", function()
              mock.now(1000)
              expect(now()).to_equal(1000)
              sleep "2h"
              expect(now()).to_equal(8200)
              expect(spell("napper"):cast { seconds = 5 }).to_equal(8205)
              mock.now(0)
              expect(now()).to_equal(0)
            end)
            """,
        )

    async def test_sleepers_wake_in_the_order_of_their_times(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("wakes", function()
              mock.now(0)
              local order = {}
              local function nap(name, ...)
                local times = { ... }
                return function()
                  for _, time in ipairs(times) do
                    sleep(time)
                    order[#order + 1] = name .. now()
                  end
                end
              end
              parallel { nap("a", 5, 5), nap("b", 1, 2, 3), nap("c", 9) }
              expect(order).to_equal { "b1.0", "b3.0", "a5.0", "b6.0", "c9.0", "a10.0" }
            end)
            """,
        )

    async def test_a_deadline_ends_what_sleeps_past_it(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("is stopped", function()
              local napper = spell "napper"
              expect(napper:cast { seconds = 4, times = 2 }).to_be_a "number"
              local function too_long() napper:cast { seconds = 4, times = 3 } end
              expect(too_long).to_fail "limit.wall_clock"
            end)
            """,
        )

    async def test_a_long_sleep_does_not_count_for_the_deadline(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            "it('sleeps', function() spell('napper'):cast { seconds = 300 * 86400 } "
            "expect(now()).to_equal(1700000000 + 300 * 86400) end)",
        )


async def test_the_tests_of_the_bundled_spells_pass(tmp_path: Path) -> None:
    files = sorted(ROOT.glob("spells/*_test.lua"))
    spells = {path.stem for path in ROOT.glob("spells/*.lua")} - {path.stem for path in files}
    assert {path.stem.removesuffix("_test") for path in files} == spells
    project = open_project(ROOT, state=tmp_path, environ={})
    async with asyncio.timeout(60):
        results = [result async for result in run_tests(project, files)]
    assert [result for result in results if not result.ok] == []
    assert len(results) >= 2 * len(files)


SENDER = """
return Spell.create {
  name = "sender",
  run = function(input, ctx)
    local draft = ctx:step("draft", function() return { text = "Dear " .. input.to } end)
    local ok, answer = pcall(ctx.ask, ctx, {
      message = "Send '" .. draft.text .. "'?",
      schema = { send = Schema.boolean "Whether to" },
      expires = "24h",
    })
    if not ok then return answer.code end
    return { sent = answer.send, at = now() }
  end,
}
"""


class TestQuestions:
    async def test_answers_are_given_in_their_order(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("asks", function()
              local person = mock.ask { { send = true }, "decline", "expire", { send = false } }
              local sender = spell "sender"
              expect(sender:cast { to = "Ann" }.sent).to_equal(true)
              expect(sender:cast { to = "Bob" }).to_equal "ask.declined"
              expect(sender:cast { to = "Cid" }).to_equal "ask.expired"
              expect(now()).to_equal(1700000000 + 24 * 3600)
              expect(sender:cast { to = "Dee" }.sent).to_equal(false)
              expect(#person.questions()).to_equal(4)
              expect(person.questions()[1].message).to_equal "Send 'Dear Ann'?"
            end)
            """,
            sender=SENDER,
        )

    async def test_a_function_answers_by_what_is_asked(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("asks", function()
              mock.ask(function(question)
                if question.message:find "Bob" then return "decline" end
                return { send = question.schema.required[1] == "send" }
              end)
              expect(spell("sender"):cast { to = "Ann" }.sent).to_equal(true)
              expect(spell("sender"):cast { to = "Bob" }).to_equal "ask.declined"
            end)
            """,
            sender=SENDER,
        )

    async def test_a_question_nobody_answers_fails_the_test(self, tmp_path: Path) -> None:
        where, message = await failure(tmp_path, 'spell("sender"):cast { to = "A" }', sender=SENDER)
        assert where == "spells/it_test.lua:2"
        assert message == "the test has no answer, and \"Send 'Dear A'?\" was asked"

    async def test_an_answer_that_does_not_fit_fails_the_test(self, tmp_path: Path) -> None:
        body = 'mock.ask { { sent = true } }\nspell("sender"):cast { to = "A" }'
        where, message = await failure(tmp_path, body, sender=SENDER)
        assert where == "spells/it_test.lua:3"
        assert "what does not fit" in message

    async def test_what_the_test_declares_itself_may_ask(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("asks", function(ctx)
              mock.ask { { ok = true }, "expire", "decline", { ok = false } }
              local own = Spell.create {
                name = "own",
                run = function(_, ctx) return ctx:ask { message = "May I?" } end,
              }
              expect(own:cast {}).to_equal { ok = true }
              expect(function() own:cast {} end).to_fail "ask.expired"
              expect(function() ctx:ask { message = "m" } end).to_fail "ask.declined"
              expect(ctx:ask { message = "And I?" }.ok).to_equal(false)
            end)
            """,
        )
        source = "it('asks', function(ctx) pcall(ctx.ask, ctx, { message = 'm' }) end)"
        [result] = await run(tmp_path, source)
        assert result.error is not None
        assert result.error.message == "the test has no answer, and 'm' was asked"


KEEPER = """
return Spell.create {
  name = "keeper",
  run = function(input)
    State.set("seen", true, { ttl = "1h" })
    return State.transaction(function()
      local left = State.get("left", 10) - input.take
      if left < 0 then error { code = "empty" } end
      State.set("left", left)
      return left
    end)
  end,
}
"""


class TestState:
    async def test_transactions_and_expiry_hold_in_the_store_of_the_test(
        self, tmp_path: Path
    ) -> None:
        await passed(
            tmp_path,
            """
            it("keeps", function()
              local keeper = spell "keeper"
              expect(keeper:cast { take = 7 }).to_equal(3)
              expect(function() keeper:cast { take = 4 } end).to_fail "empty"
              expect((keeper.state.get "left")).to_equal(3)
              expect((keeper.state.get "seen")).to_equal(true)
              sleep "2h"
              expect((keeper.state.get "seen")).to_be_nil()
              keeper.state.set("left", 1, { ttl = "30m" })
              sleep "30m"
              expect(keeper:cast { take = 2 }).to_equal(8)
            end)
            """,
            keeper=KEEPER,
        )

    async def test_a_change_is_seen_by_who_watches(self, tmp_path: Path) -> None:
        await passed(
            tmp_path,
            """
            it("watches", function()
              local keeper, seen = spell "keeper", {}
              local since = keeper.state.set("start", 1)
              keeper:cast { take = 1 }
              for change in keeper.state.watch("l", { since = since }) do
                seen[#seen + 1] = change.key .. "=" .. change.value
                if change.value == 8 then break end
                keeper:cast { take = 1 }
              end
              expect(seen).to_equal { "left=9", "left=8" }
            end)
            """,
            keeper=KEEPER,
        )
