from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import (
    InputInvalid,
    LimitError,
    LlmspellError,
    SpecEffect,
    SpecError,
    SpecSyntax,
    SpecUnstable,
    StateConflict,
)
from llmspell.runtime.engine import (
    Canceled,
    Finished,
    Loaded,
    Requested,
    ScriptContext,
    ScriptLimits,
)
from llmspell.runtime.lua import sources
from llmspell.runtime.lua.engine import LuaEngine
from llmspell.values import FunctionRef, content_hash
from tests.support.lua_scripts import Answer, Bench, drive, program, refuse_all

pytestmark = pytest.mark.asyncio(loop_scope="module")


def answering(**results: object | Callable[[Any], object]) -> Answer:
    """Answer operations by name, dots as underscores; an error is raised."""

    def answer(operation: str, arguments: Any) -> Any:
        result: Any = results[operation.replace(".", "_")]
        if isinstance(result, LlmspellError):
            raise result
        return result(arguments) if callable(result) else result

    return answer


class TestDeclarations:
    async def test_each_constructor_marks_its_table_with_kind_and_line(self, lua: Bench) -> None:
        declaration = await lua.load("""
            local helper = Tool.create { name = "t", run = function() end }
            local agent = Agent.create {
              name = "a",
              tools = { helper, "web", Spell.get "other" },
            }

            return Spell.create {
              agent = agent,
            }
        """)
        assert declaration["$kind"] == "spell"
        assert declaration["$line"] == 7
        agent = declaration["agent"]
        assert (agent["$kind"], agent["$line"], agent["name"]) == ("agent", 2, "a")
        tool, web, other = agent["tools"]
        assert tool == {"$kind": "tool", "$line": 1, "name": "t", "run": FunctionRef(1)}
        assert web == "web"
        assert other == {"$kind": "ref", "kind": "spell", "name": "other"}

    async def test_the_line_is_the_main_files_when_a_module_constructs(self, lua: Bench) -> None:
        declaration = await lua.load(
            'local make = require "make"\n\nreturn make()',
            modules={"make": "return function() return Spell.create {} end"},
        )
        assert declaration["$line"] == 3

    async def test_functions_are_numbered_in_the_order_of_sorted_keys(self, lua: Bench) -> None:
        source = """
            local shared = function() end
            return Spell.create { z = function() end, b = shared, a = { function() end, shared } }
        """
        for _ in range(2):
            declaration = await lua.load(source)
            assert declaration["a"] == [FunctionRef(1), FunctionRef(2)]
            assert (declaration["b"], declaration["z"]) == (FunctionRef(2), FunctionRef(3))

    async def test_schemas_become_json_schema_with_the_order_of_writing(self, lua: Bench) -> None:
        declaration = await lua.load("""
            return Spell.create { input = {
              text = Schema.string("The text", { min = 1, max = 9, pattern = "x" }),
              count = Schema.integer("How many", { default = 3, min = 0, optional = true }),
              ratio = Schema.number { max = 1.5 },
              flag = Schema.boolean "",
              kind = Schema.enum({ "a", "b" }, "Which"),
              mixed = Schema.enum { 1, "b" },
              list = Schema.list(Schema.string "item", "Many", { max = 4 }),
              object = Schema.object({ inner = Schema.any "whatever" }, "One"),
            } }
        """)
        fields = declaration["input"]
        assert fields["text"] == {
            "$schema": {
                "type": "string",
                "description": "The text",
                "minLength": 1,
                "maxLength": 9,
                "pattern": "x",
            },
            "$seq": 1,
        }
        assert fields["count"] == {
            "$schema": {
                "type": "integer",
                "description": "How many",
                "default": 3,
                "minimum": 0,
            },
            "$seq": 2,
            "$optional": True,
        }
        assert fields["ratio"]["$schema"] == {"type": "number", "maximum": 1.5}
        assert fields["flag"]["$schema"] == {"type": "boolean"}
        assert fields["kind"]["$schema"] == {
            "type": "string",
            "enum": ["a", "b"],
            "description": "Which",
        }
        assert fields["mixed"]["$schema"] == {"enum": [1, "b"]}
        assert fields["list"]["$schema"] == {
            "type": "array",
            "description": "Many",
            "maxItems": 4,
            "items": {"$schema": {"type": "string", "description": "item"}, "$seq": 7},
        }
        assert fields["object"]["$schema"] == {
            "type": "object",
            "description": "One",
            "properties": {"inner": {"$schema": {"description": "whatever"}, "$seq": 9}},
        }

    async def test_a_sequential_workflow_lists_its_steps(self, lua: Bench) -> None:
        declaration = await lua.load("""
            return Workflow.sequential { name = "w", { agent = "a", prompt = "p" }, Spell.get "s" }
        """)
        assert declaration == {
            "$kind": "workflow",
            "$line": 1,
            "type": "sequential",
            "name": "w",
            "steps": [
                {"agent": "a", "prompt": "p"},
                {"$kind": "ref", "kind": "spell", "name": "s"},
            ],
        }

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ('{ branches = { x = { agent = "a" } }, limit = 2 }', {"branches", "limit"}),
            ('{ x = { agent = "a" }, limit = 2, name = "n" }', {"branches", "limit", "name"}),
            ('{ { agent = "a" }, limit = 2 }', {"steps", "limit"}),
            ('{ branches = { { agent = "a" } } }', {"steps"}),
        ],
    )
    async def test_a_parallel_workflow_takes_branches_sugar_and_lists(
        self, lua: Bench, source: str, expected: set[str]
    ) -> None:
        declaration = await lua.load(f"return Workflow.parallel {source}")
        assert set(declaration) == expected | {"$kind", "$line", "type"}
        steps = declaration.get("branches", {"x": declaration.get("steps", [None])[0]})
        assert steps == {"x": {"agent": "a"}}

    async def test_a_function_beside_the_options_of_a_parallel_workflow_is_a_branch(
        self, lua: Bench
    ) -> None:
        declaration = await lua.load("return Workflow.parallel { x = function() end, nmae = 'y' }")
        assert isinstance(declaration["branches"]["x"], FunctionRef)
        assert declaration["nmae"] == "y"

    async def test_unknown_keys_pass_through_to_whoever_reads_the_declaration(
        self, lua: Bench
    ) -> None:
        declaration = await lua.load("return Spell.create { tols = { 1 }, nmae = 'x' }")
        assert declaration["tols"] == [1]
        assert declaration["nmae"] == "x"

    async def test_names_mentioned_while_loading_are_told_even_from_locals(
        self, lua: Bench
    ) -> None:
        source = """
            local agent = Agent.create { name = "own", tools = { "listed", Tool.get "found" } }
            local inner = Workflow.sequential { "bare", { agent = "stepped", tools = { "given" } } }
            local flow = Workflow.parallel { branches = { a = { spell = "branch" }, b = inner } }
            local sugar = Workflow.parallel { x = { workflow = "sugared" } }
            local helper = Spell.create {
              needs = { tools = { "needed" } },
              agent = { tools = { "deep" } },
              run = function() return Spell.get "late" end,
            }
            require "lib"
            return Tool.create { description = "no name of anything", run = helper.run }
        """
        loaded = await lua.engine.load(
            program(source, modules={"lib": 'return Agent.get "in_module"'}), lua.limits
        )
        assert loaded.names == {
            *("listed", "found", "bare", "stepped", "given", "branch", "sugared", "needed"),
            *("deep", "in_module"),
        }

    async def test_a_declaration_that_holds_itself_still_tells_its_names(self, lua: Bench) -> None:
        source = """
            local steps = { "one" }
            steps[2] = { steps = steps, tools = steps }
            local flow = Workflow.sequential(steps)
        """
        assert (await lua.engine.load(program(source), lua.limits)).names == {"one"}

    async def test_a_load_for_a_cast_tells_no_names(self, lua: Bench) -> None:
        source = 'Spell.get "x" return Spell.create { run = function() Spell.get "y" end }'
        declaration = await lua.load(source)
        script = await lua.open(source)
        script.load(expected=declaration)
        task = script.call(FunctionRef(1), [], with_context=False)
        events = await script.exchange()
        assert events == [Loaded(declaration, frozenset()), Finished(task, True, None)]
        await script.close()

    async def test_a_declaration_equal_to_the_expected_one_is_accepted(self, lua: Bench) -> None:
        source = (
            "return Spell.create { b = 1, a = { 1.5, 'x', {} }, run = function() return 1 end }"
        )
        declaration = await lua.load(source)
        for expected in (declaration, dict(reversed(declaration.items()))):
            script = await lua.open(source)
            script.load(expected=expected)
            assert await script.exchange() == [Loaded(expected)]
            await script.close()

    async def test_an_unexpected_declaration_ends_the_script_before_the_call(
        self, lua: Bench
    ) -> None:
        script = await lua.open("return Spell.create { run = function() Log.info 'x' end }")
        script.load(expected={"$kind": "spell"})
        script.call(FunctionRef(1), [None], with_context=False)
        with pytest.raises(SpecUnstable):
            await script.exchange()
        await script.close()


class TestLoading:
    @pytest.mark.parametrize(
        "effect",
        [
            "State.get 'k'",
            "Spell.get('x'):cast {}",
            "Agent.create({}):ask 'x'",
            "now()",
            "random()",
            "uuid()",
            "math.random(3)",
            "os.time()",
            "os.clock()",
            "os.date()",
            "sleep(1)",
            "print 'x'",
            "Log.info 'x'",
            "parallel { function() end }",
            "template('x', {})",
            "coroutine.wrap(function() State.get 'k' end)()",
        ],
    )
    async def test_an_effect_at_the_top_level_is_refused_at_its_line(
        self, lua: Bench, effect: str
    ) -> None:
        with pytest.raises(SpecEffect, match="while the file is loading: return the spell") as got:
            await lua.load(f"local a = 1\n{effect}\nreturn Spell.create {{}}")
        assert got.value.where == "spells/t.lua:2"

    async def test_broken_lua_names_file_and_line(self, lua: Bench) -> None:
        with pytest.raises(SpecSyntax) as got:
            await lua.load("local a = 1\n\nlocal b = = 2")
        assert got.value.where == "spells/t.lua:3"
        assert "spells" not in got.value.message

    async def test_broken_lua_in_a_module_names_the_module(self, lua: Bench) -> None:
        with pytest.raises(SpecSyntax) as got:
            await lua.load('return require "lib.util"', modules={"lib.util": "x = = 1"})
        assert got.value.where == "spells/lib/util.lua:1"

    async def test_an_error_at_the_top_level_is_a_spec_error(self, lua: Bench) -> None:
        with pytest.raises(SpecError, match="nil value") as got:
            await lua.load("local x\nreturn x.y.z")
        assert got.value.where == "spells/t.lua:2"
        assert got.value.code == "spec.invalid"

    @pytest.mark.parametrize(
        "source",
        [
            "Spell.create 'name'",
            "Agent.create()",
            "Tool.get(5)",
            "Workflow.parallel(1)",
            "Schema.string(5)",
            "Schema.list 'about'",
            "Schema.enum {}",
            "Schema.object()",
        ],
    )
    async def test_basic_misuse_of_a_constructor_is_named_at_its_line(
        self, lua: Bench, source: str
    ) -> None:
        with pytest.raises(SpecError) as got:
            await lua.load(f"\n\nreturn {source}")
        assert got.value.code == "spec.invalid"
        assert got.value.where == "spells/t.lua:1"  # the helper strips the blank lines
        assert source.split("(")[0].split()[0] in got.value.message

    async def test_a_file_may_return_nothing(self, lua: Bench) -> None:
        assert await lua.load("local x = 1") is None

    async def test_a_return_value_that_cannot_be_declared_is_named(self, lua: Bench) -> None:
        with pytest.raises(SpecError, match=r"examples\[1\]\.ratio"):
            await lua.load("return Spell.create { examples = { { ratio = 0/0 } } }")


class TestModules:
    async def test_a_module_is_run_once_and_shared(self, lua: Bench) -> None:
        outcome = await lua.call(
            """
            local a, b = require "counter", require "counter"
            a.n = a.n + 1
            return function() return { b.n, a == b, require "lib.deep" } end
            """,
            modules={"counter": "return { n = 1 }", "lib.deep": "return ..."},
        )
        assert outcome.value == [2, True, "lib.deep"]

    async def test_modules_that_need_each_other_are_named_in_a_circle(self, lua: Bench) -> None:
        with pytest.raises(SpecError, match="a -> b -> a"):
            await lua.load('return require "a"', modules={"a": 'require "b"', "b": 'require "a"'})

    async def test_a_missing_module_is_named_at_the_line(self, lua: Bench) -> None:
        with pytest.raises(SpecError, match="no module 'nope'") as got:
            await lua.load('local x = 1\nlocal y = require "nope"')
        assert got.value.where == "spells/t.lua:2"

    async def test_a_module_may_not_act_when_it_is_first_needed_in_a_run(self, lua: Bench) -> None:
        outcome = await lua.call(
            "return function() return require 'late' end",
            modules={"late": "return State.get 'k'"},
        )
        assert "cannot be called inside the top level of module 'late'" in outcome.value["message"]


class TestCalls:
    async def test_the_context_is_what_the_host_gave(self, lua: Bench) -> None:
        lua.context = ScriptContext(
            run_id="r1",
            session="s",
            user="u",
            tenant="t",
            deadline=5.5,
            message={"id": "m", "parts": [{"n": 1}]},
        )
        value = await lua.value("""
            return { ctx.run_id, ctx.session, ctx.user, ctx.tenant, ctx.deadline,
                     ctx.message.parts[1].n }
        """)
        assert value == ["r1", "s", "u", "t", 5.5, 1]

    async def test_without_context_a_function_gets_its_arguments_only(self, lua: Bench) -> None:
        script = await lua.open("return function(...) return { n = select('#', ...), ... } end")
        script.load()
        task = script.call(FunctionRef(1), [], with_context=False)
        outcome = await drive(script, task, refuse_all)
        await script.close()
        assert outcome.value == {"n": 0}

    async def test_several_calls_of_one_script_wait_at_the_same_time(self, lua: Bench) -> None:
        script = await lua.open("return function(key) return (State.get(key)) end")
        script.load()
        tasks = [script.call(FunctionRef(1), [key], with_context=False) for key in ("a", "b")]
        _, *requests = await script.exchange()
        calls = {event.task: event.call for event in requests if isinstance(event, Requested)}
        assert sorted(calls) == sorted(tasks)
        script.answer(calls[tasks[1]], ok=True, value=["second", "1"], now=1.0)
        assert await script.exchange() == [Finished(tasks[1], True, "second")]
        script.answer(calls[tasks[0]], ok=True, value=["first", "1"], now=1.0)
        assert await script.exchange() == [Finished(tasks[0], True, "first")]
        await script.close()

    async def test_a_number_that_names_no_function_fails_the_call(self, lua: Bench) -> None:
        script = await lua.open("return Spell.create {}")
        script.load()
        task = script.call(FunctionRef(9), [], with_context=False)
        outcome = await drive(script, task, refuse_all)
        await script.close()
        assert outcome.value["code"] == "internal"

    async def test_a_script_that_asks_for_too_much_is_ended_where_it_asks(self, lua: Bench) -> None:
        lua.limits = ScriptLimits(host_calls=3)
        source = """
            for i = 1, 5 do
              pcall(State.get, i == 4 and "last" or "k")
            end
        """
        with pytest.raises(LimitError, match="more than 3 effects") as got:
            await lua.body(source, answer=answering(state_get=[1, "1"]))
        assert got.value.code == "limit.exceeded"
        assert got.value.where == "spells/t.lua:3"
        assert got.value.data == {"limit": "limits.host_calls"}
        branches = (
            "local f = {} for i = 1, 4 do f[i] = function() State.get 'k' end end parallel(f)"
        )
        with pytest.raises(LimitError, match="more than 3 effects"):
            await lua.body(branches, answer=answering(state_get=[1, "1"]))

    @pytest.mark.parametrize("value", [{"n": 2**64}, {"t": "\ud800"}])
    async def test_arguments_that_cannot_be_passed_on_are_refused(
        self, lua: Bench, value: Any
    ) -> None:
        script = await lua.open("return function() end")
        with pytest.raises(InputInvalid):
            script.call(FunctionRef(1), [value], with_context=False)
        await script.close()

    async def test_content_values_arrive_as_parts_with_base64(self, lua: Bench) -> None:
        value = await lua.value(r"""
            return Content.list {
              "plain", Content.text "text", Content.image("\255\0", "image/png"),
              Content.audio("a", "audio/wav"),
              Content.resource { uri = "x:1", text = "t" },
              Content.resource { uri = "x:2", data = "\1", media_type = "a/b" },
            }
        """)
        assert value == {
            "$content": [
                {"type": "text", "text": "plain"},
                {"type": "text", "text": "text"},
                {"type": "image", "data": "/wA=", "media_type": "image/png"},
                {"type": "audio", "data": "YQ==", "media_type": "audio/wav"},
                {"type": "resource", "uri": "x:1", "text": "t"},
                {"type": "resource", "uri": "x:2", "data": "AQ==", "media_type": "a/b"},
            ]
        }


class TestMain:
    async def test_the_top_level_acts_and_its_last_cast_is_told(self, lua: Bench) -> None:
        script = await lua.open("""
            local input = ...
            local spell = Spell.create { name = "s", run = function(i) return i.x + 1 end }
            spell:cast { x = input }
            spell:cast { x = 2 }
        """)
        script.main(1)
        outcome = await drive(script, 0, answering(cast=lambda a: a["input"]["x"] * 10))
        await script.close()
        assert outcome.value == {"returned": None, "has_returned": False, "last": 20}
        assert outcome.requests[0][1]["target"]["run"] == FunctionRef(1)

    async def test_what_a_file_returns_can_be_driven_in_the_same_script(self, lua: Bench) -> None:
        script = await lua.open("return Spell.create { run = function(i) return i + 1 end }")
        script.main(None)
        outcome = await drive(script, 0, answering())
        assert outcome.value["has_returned"] is True
        assert outcome.value["returned"]["$kind"] == "spell"
        task = script.call(outcome.value["returned"]["run"], [41], with_context=False)
        assert (await drive(script, task, answering())).value == 42
        await script.close()

    async def test_broken_lua_is_a_syntax_error_here_too(self, lua: Bench) -> None:
        script = await lua.open("return return")
        script.main(None)
        with pytest.raises(SpecSyntax):
            await script.exchange()
        await script.close()


class TestEffects:
    async def test_each_operation_gets_its_arguments(self, lua: Bench) -> None:
        outcome = await lua.body(
            """
            Spell.get("a"):cast { n = 1 }
            Tool.get("b"):cast()
            local agent = Agent.create { name = "c" }
            agent:ask "who"
            agent:run "what"
            agent:run { prompt = "p", stream = true, messages = {} }
            State.set("k", { 1 }, { if_version = "7" })
            State.session.get("k")
            State.user.delete("k")
            State.shared.increment("n", 2)
            State.scan("p", { limit = 3, reverse = true, after = "q" })
            sleep "500ms"
            sleep(2)
            sleep "1.5h"
            print("a", nil, { }, 1)
            Log.warn("w", { x = 1 })
            ctx:log("info", "l")
            ctx:progress(1, 2, "half")
            ctx:emit "text"
            ctx:emit { data = { 1 }, last = true }
            template("{{x}}", { x = 1 })
            """,
            answer=answering(
                cast=None,
                agent_run={"text": "t"},
                state_set="8",
                state_get=[None, None],
                state_delete=True,
                state_increment=3,
                state_scan={"items": [], "next": None},
                sleep=None,
                log=None,
                progress=None,
                emit=None,
                template="1",
            ),
        )
        assert outcome.ok, outcome.value
        agent = {"$kind": "agent", "$line": 4, "name": "c"}
        assert outcome.requests == [
            ("cast", {"target": "a", "input": {"n": 1}}),
            ("cast", {"target": "b", "input": {}}),
            ("agent.run", {"agent": agent, "prompt": "who"}),
            ("agent.run", {"agent": agent, "prompt": "what"}),
            ("agent.run", {"agent": agent, "prompt": "p", "stream": True, "messages": {}}),
            ("state.set", {"scope": "spell", "key": "k", "value": [1], "if_version": "7"}),
            ("state.get", {"scope": "session", "key": "k"}),
            ("state.delete", {"scope": "user", "key": "k"}),
            ("state.increment", {"scope": "shared", "key": "n", "by": 2}),
            (
                "state.scan",
                {"scope": "spell", "prefix": "p", "limit": 3, "reverse": True, "after": "q"},
            ),
            ("sleep", {"seconds": 0.5}),
            ("sleep", {"seconds": 2}),
            ("sleep", {"seconds": 5400.0}),
            ("log", {"level": "info", "message": "a\tnil\ttable\t1"}),
            ("log", {"level": "warn", "message": "w", "fields": {"x": 1}}),
            ("log", {"level": "info", "message": "l"}),
            ("progress", {"done": 1, "total": 2, "message": "half"}),
            ("emit", {"part": {"text": "text"}}),
            ("emit", {"part": {"data": [1], "last": True}}),
            ("template", {"text": "{{x}}", "data": {"x": 1}}),
        ]

    @pytest.mark.parametrize("call", ["State.shared.increment('n')", "State.shared:increment 'n'"])
    async def test_state_is_called_with_a_dot_or_a_colon(self, lua: Bench, call: str) -> None:
        outcome = await lua.body(f"return {call}", answer=answering(state_increment=1))
        assert outcome.requests == [("state.increment", {"scope": "shared", "key": "n", "by": 1})]

    async def test_results_come_back_as_lua_values(self, lua: Bench) -> None:
        value = await lua.value(
            """
            local value, version = State.get "k"
            local absent, none = State.get "none"
            local default = State.get("none", 7)
            local items, after = State.scan()
            return { value.n, version, absent == nil, none == nil, default, items[1].key, after,
                     Agent.get("a"):ask "x" }
            """,
            answer=answering(
                state_get=lambda a: [{"n": 1}, "v1"] if a["key"] == "k" else [None, None],
                state_scan={"items": [{"key": "x", "value": 1, "version": "1"}], "next": "x"},
                agent_run={"text": "hello"},
            ),
        )
        assert value == [1, "v1", True, True, 7, "x", "x", "hello"]

    async def test_effects_wait_inside_pcall_generators_metamethods_and_iterators(
        self, lua: Bench
    ) -> None:
        value = await lua.value(
            """
            local function get(key) return (State.get(key)) end
            local ok, caught = pcall(function() return get "pcall" end)
            local generator = coroutine.wrap(function()
              for i = 1, 2 do coroutine.yield(get("generator" .. i)) end
            end)
            local proxy = setmetatable({}, { __index = function(_, key) return get(key) end,
                                             __eq = function() return get "eq" == "EQ" end })
            local collected = {}
            for item in coroutine.wrap(function() coroutine.yield(get "for") end) do
              collected[#collected + 1] = item
            end
            local closed
            do
              local closing = { __close = function() closed = get "close" end }
              local handle <close> = setmetatable({}, closing)
            end
            local nested = coroutine.wrap(function()
              return coroutine.wrap(function() return get "nested" end)()
            end)()
            local _, handled = xpcall(function() return get "xpcall" end, tostring)
            local equal = proxy == setmetatable({}, getmetatable(proxy))
            return { caught, generator(), generator(), proxy.index, equal, collected[1], closed,
                     nested, handled }
            """,
            answer=answering(state_get=lambda a: [a["key"].upper(), "1"]),
        )
        assert value == [
            "PCALL",
            "GENERATOR1",
            "GENERATOR2",
            "INDEX",
            True,
            "FOR",
            "CLOSE",
            "NESTED",
            "XPCALL",
        ]

    async def test_parallel_requests_everything_at_once_and_keeps_order(self, lua: Bench) -> None:
        script = await lua.open("""
            return function()
              local got = parallel {
                function() return (State.get "a") end,
                function() return parallel { function() return (State.get "b") end }[1] end,
                function() end,
                function() return "now" end,
              }
              return { got, got[3] == json.null }
            end
        """)
        script.load()
        task = script.call(FunctionRef(1), [None], with_context=False)
        events = await script.exchange()
        requests = [event for event in events if isinstance(event, Requested)]
        assert [request.arguments["key"] for request in requests] == ["a", "b"]
        assert {request.task for request in requests} == {task}
        for request in reversed(requests):
            value = [request.arguments["key"], "1"]
            script.answer(request.call, ok=True, value=value, now=1.0)
        assert await script.exchange() == [Finished(task, True, [["a", "b", None, "now"], True])]
        await script.close()

    async def test_a_failure_in_parallel_cancels_what_the_others_wait_for(self, lua: Bench) -> None:
        script = await lua.open("""
            return function()
              local closed, went_on = {}, 0
              local ok, problem = pcall(parallel, {
                function() State.get "a" went_on = went_on + 1 end,
                function() State.get "b" error { code = "mine", message = "second" } end,
                function()
                  local function close() closed[1] = "inner" end
                  local handle <close> = setmetatable({}, { __close = close })
                  parallel { function() State.get "c" went_on = went_on + 1 end,
                             function() sleep(1) went_on = went_on + 1 end }
                end,
                function() State.get "d" error "later" end,
              })
              return { ok, problem.code, closed, went_on }
            end
        """)
        script.load()
        task = script.call(FunctionRef(1), [None], with_context=False)
        _, *requests = await script.exchange()
        calls = {
            request.arguments.get("key", "sleep"): request.call
            for request in requests
            if isinstance(request, Requested)
        }
        assert list(calls) == ["a", "b", "d", "c", "sleep"]
        script.answer(calls["b"], ok=True, value=[1, "1"], now=1.0)
        assert await script.exchange() == [
            Canceled(calls["a"]),
            Canceled(calls["c"]),
            Canceled(calls["sleep"]),
            Canceled(calls["d"]),
        ]
        # It goes on only when nothing of it is under way any more, whatever the answers are.
        script.answer(calls["a"], ok=True, value=[1, "1"], now=2.0)
        script.answer(calls["c"], ok=False, value={"code": "run.canceled"}, now=3.0)
        script.answer(calls["sleep"], ok=False, value={"code": "run.canceled"}, now=4.0)
        assert await script.exchange() == []
        script.answer(calls["d"], ok=True, value=[1, "1"], now=5.0)
        assert await script.exchange() == [Finished(task, True, [False, "mine", ["inner"], 0])]
        await script.close()

    async def test_branches_that_have_not_begun_when_another_fails_never_do(
        self, lua: Bench
    ) -> None:
        value = await lua.value("""
            local begun = {}
            local ok, problem = pcall(parallel, {
              function() begun[#begun + 1] = 1 end,
              function() begun[#begun + 1] = 2 error("now", 0) end,
              function() begun[#begun + 1] = 3 end,
            })
            return { problem, begun }
        """)
        assert value == ["now", [1, 2]]

    async def test_parallel_can_be_tried_again_after_a_failure(self, lua: Bench) -> None:
        value = await lua.value(
            """
            local attempts = 0
            local function flaky()
              attempts = attempts + 1
              if attempts == 1 then error "first" end
              return (State.get "k")
            end
            local function steady() return (State.get "s") end
            local ok, got = pcall(parallel, { steady, flaky })
            if not ok then got = parallel { steady, flaky, function() return false end } end
            return got
            """,
            answer=answering(state_get=lambda a: [a["key"], "1"]),
        )
        assert value == ["s", "k", False]

    async def test_coroutines_work_while_the_file_is_loading(self, lua: Bench) -> None:
        outcome = await lua.call(
            """
            local squares = {}
            for n in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i * i) end end) do
              squares[#squares + 1] = n
            end
            return function() return squares end
            """
        )
        assert outcome.value == [1, 4, 9]

    async def test_a_coroutine_that_waits_cannot_be_resumed_by_another_task(
        self, lua: Bench
    ) -> None:
        value = await lua.value(
            """
            local shared = coroutine.create(function() return (State.get "k") end)
            local got = parallel {
              function() return select(2, coroutine.resume(shared)) end,
              function() local ok, why = pcall(coroutine.resume, shared) return why end,
              function() local ok, why = pcall(coroutine.close, shared) return why end,
            }
            return got
            """,
            answer=answering(state_get=["right", "1"]),
        )
        assert value[0] == "right"
        assert "waits for an effect" in value[1]
        assert "waits for an effect" in value[2]

    @pytest.mark.parametrize(
        ("body", "callback"),
        [
            (
                "string.gsub('x', 'x', setmetatable({}, { __index = uses }))",
                "the __index of a table that string.gsub looks in",
            ),
            ("error(select(2, xpcall(error, uses)))", "the handler of xpcall"),
            (
                "tostring(setmetatable({}, { __tostring = function() State.get 'k' end }))",
                "__tostring",
            ),
            (
                "coroutine.wrap(function() error(select(2, xpcall(error, uses))) end)()",
                "the handler of xpcall",
            ),
            (
                "local function wait() coroutine.wrap(uses)() end"
                " tostring(setmetatable({}, { __tostring = wait }))",
                "__tostring",
            ),
            ("State.update('n', function() State.get 'k' end)", "the function of State.update"),
            ("State.update('n', function() parallel { print } end)", "the function of"),
        ],
    )
    async def test_an_effect_in_a_callback_that_cannot_wait_is_explained(
        self, lua: Bench, body: str, callback: str
    ) -> None:
        error = await lua.error(
            f"local function uses() State.get 'k' return true end {body}",
            answer=answering(state_get=[1, "1"]),
        )
        assert "cannot be called inside" in error["message"]
        assert callback in error["message"]
        assert error["where"] == "spells/t.lua:2"

    async def test_update_retries_until_nobody_wrote_in_between(self, lua: Bench) -> None:
        versions = iter(["1", "2", "3"])
        writes: list[Any] = []

        def write(arguments: Any) -> str:
            writes.append((arguments["value"], arguments["if_version"]))
            if len(writes) < 3:
                raise StateConflict("someone else wrote")
            return "9"

        value = await lua.value(
            'return { State.update("n", function(n) return n + 1 end) }',
            answer=answering(
                state_get=lambda a: [10 * len(writes), next(versions)], state_set=write
            ),
        )
        assert value == [21, "9"]
        assert writes == [(1, "1"), (11, "2"), (21, "3")]

    async def test_update_of_an_absent_key_writes_only_while_it_is_absent(self, lua: Bench) -> None:
        outcome = await lua.body(
            'State.update("n", function(n) return n == nil end)',
            answer=answering(state_get=[None, None], state_set="1"),
        )
        assert outcome.requests[1][1] == {
            "scope": "spell",
            "key": "n",
            "value": True,
            "if_version": "",
        }

    async def test_update_gives_up_after_20_conflicts(self, lua: Bench) -> None:
        outcome = await lua.body(
            'State.update("n", function(n) return 1 end)',
            answer=answering(state_get=[0, "1"], state_set=StateConflict("no")),
        )
        assert outcome.value["code"] == "state.conflict"
        assert len(outcome.requests) == 40

    @pytest.mark.parametrize(
        ("call", "text"),
        [
            ("State.get()", "State.get: the key must be a text, got nothing"),
            ("State.set('k')", "State.set: no value; remove a key with State.delete"),
            ("State.user.update('k', 1)", "State.user.update takes a key and a function"),
            ("sleep 'soon'", "sleep takes seconds"),
            ("sleep(-1)", "sleep takes seconds"),
            ("State.set('k', print)", "State.set: cannot pass on value: a function"),
            ("Spell.get('s'):cast({ x = print })", "cast: cannot pass on input.x: a function"),
            ("Spell.get('s').cast { x = 1 }", "call it with a colon"),
            ("parallel(print)", "parallel takes a list"),
            ("parallel { a = print }", "parallel takes a list"),
        ],
    )
    async def test_wrong_arguments_are_named_before_anything_is_asked(
        self, lua: Bench, call: str, text: str
    ) -> None:
        outcome = await lua.body(f"\n{call}")
        assert not outcome.ok
        assert text in outcome.value["message"]
        assert outcome.value["where"] == "spells/t.lua:2"
        assert outcome.requests == []


class TestErrors:
    async def test_an_error_text_keeps_its_place_apart_from_its_message(self, lua: Bench) -> None:
        error = await lua.error("""
            local function helper() error("kaput") end
            helper()
            return 1
        """)
        assert error == {
            "code": "spell.raised",
            "message": "kaput",
            "where": "spells/t.lua:2",
            "traceback": "spells/t.lua:2: in helper\nspells/t.lua:3: in the function of line 1",
        }

    async def test_an_error_table_keeps_the_authors_code_in_data(self, lua: Bench) -> None:
        error = await lua.error('error { code = "too_late", message = "m", hint = "h" }')
        assert error["code"] == "spell.raised"
        assert (error["message"], error["hint"], error["where"]) == ("m", "h", "spells/t.lua:2")
        assert error["data"] == {"code": "too_late"}

    async def test_a_fault_of_the_code_names_its_line(self, lua: Bench) -> None:
        error = await lua.error("local x\n\nreturn x.field")
        assert error["where"] == "spells/t.lua:4"
        assert error["message"] == "attempt to index a nil value (local 'x')"

    async def test_a_host_failure_can_be_caught_and_read(self, lua: Bench) -> None:
        value = await lua.value(
            """
            local ok, e = pcall(State.get, "k")
            local here, message = pcall(function() return (State.get "k") end)
            return { ok, e.code, e.message, e.hint, e.data.pid, tostring(message),
                     "got " .. message }
            """,
            answer=answering(state_get=StateConflict("changed", hint="again", data={"pid": 3})),
        )
        text = "spells/t.lua:3: changed {code: state.conflict}"
        assert value == [False, "state.conflict", "changed", "again", 3, text, "got " + text]

    async def test_an_uncaught_host_failure_keeps_its_code_and_gets_a_place(
        self, lua: Bench
    ) -> None:
        answer = answering(state_get=StateConflict("changed"))
        error = await lua.error('local x = State.get "k"\nreturn x', answer=answer)
        assert (error["code"], error["message"]) == ("state.conflict", "changed")
        assert error["where"] == "spells/t.lua:2"

    async def test_a_tail_call_still_points_at_its_line(self, lua: Bench) -> None:
        answer = answering(state_get=StateConflict("changed"))
        error = await lua.error('return State.get "k"', answer=answer)
        assert error["where"] == "spells/t.lua:2"

    async def test_the_catalogue_code_of_a_host_failure_cannot_be_changed(self, lua: Bench) -> None:
        error = await lua.error(
            'local ok, e = pcall(State.get, "k")\ne.code = "mine"\nerror(e)',
            answer=answering(state_get=StateConflict("changed")),
        )
        assert error["code"] == "state.conflict"

    @pytest.mark.parametrize(
        ("raised", "message"),
        [
            ("nil", "the error is a nil, not a message"),
            ("42", "42"),
            ("{}", "an error table without a message"),
            ("print", "the error is a function, not a message"),
            (r"'\255bad', 0", "?bad"),
        ],
    )
    async def test_odd_errors_are_put_into_words(
        self, lua: Bench, raised: str, message: str
    ) -> None:
        error = await lua.error(f"error({raised})")
        assert error["code"] == "spell.raised"
        assert error["message"] == message

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("{ a = { print } }", "a[1]: a function"),
            ("{ a = 0/0 }", "a: a number that is not finite"),
            ("{ 1, 2, x = 3 }", "a table that mixes list items and named fields"),
            ("{ a = { 1, nil, 3 } }", "a: a list with holes"),
            ("{ [5] = 1 }", "holes, or a table with numbers as names"),
            ("{ [true] = 1 }", "a table with a boolean as a name"),
            (r"{ t = '\255' }", "t: text that is not valid UTF-8"),
            ("(function() local t = {} t.t = t return t end)()", "inside itself"),
            ("coroutine.create(print)", "a thread"),
        ],
    )
    async def test_a_result_that_cannot_be_passed_on_is_named_by_its_path(
        self, lua: Bench, value: str, text: str
    ) -> None:
        error = await lua.error(f"return {value}")
        assert error["code"] == "output.invalid"
        assert text in error["message"]

    async def test_metamethods_never_run_while_a_result_is_written(self, lua: Bench) -> None:
        value = await lua.value("""
            local trap = function() error "ran" end
            return setmetatable({ 1, 2 }, { __index = trap, __len = trap, __pairs = trap })
        """)
        assert value == [1, 2]

    async def test_an_answer_that_cannot_be_passed_on_is_an_error_in_lua(self, lua: Bench) -> None:
        for value in (2**63, 2**64):
            caught = await lua.value(
                "local ok, e = pcall(State.get, 'k') return e.code",
                answer=answering(state_get=[value, "1"]),
            )
            assert caught == "output.invalid"


class TestDeterminism:
    BODY = """
        local function draw()
          return { random(), random(6), random(-5, 5), uuid(), math.random(100) }
        end
        local branches = parallel { draw, draw }
        State.get "k"
        return { draw(), branches, now(), os.time(), os.date("!%Y-%m-%d"), os.clock() }
    """

    async def test_the_same_seed_gives_the_same_numbers_in_every_process(self, lua: Bench) -> None:
        answer = answering(state_get=[1, "1"])
        first = await lua.value(self.BODY, answer=answer)
        second = await lua.value(self.BODY, answer=answer)
        assert first == second
        draws, (left, right), *_ = first
        assert len({str(part) for part in (draws, left, right)}) == 3

        lua.context = ScriptContext(run_id="run", now=1000.5, seed=b"other")
        assert (await lua.value(self.BODY, answer=answer))[0] != draws

    async def test_now_is_the_time_of_the_last_answer(self, lua: Bench) -> None:
        value = await lua.value(
            "local a = now() State.get 'k' local b = now() State.get 'k' return { a, b, now() }",
            answer=answering(state_get=[1, "1"]),
        )
        assert value == [1000.5, 2000.0, 2001.0]

    async def test_random_stays_in_its_interval_and_uuid_has_its_form(self, lua: Bench) -> None:
        value = await lua.value("""
            local seen, low, high = {}, 1, 0
            for i = 1, 1000 do
              seen[random(3)] = true
              local r = random()
              low, high = math.min(low, r), math.max(high, r)
              assert(random(math.mininteger, math.maxinteger))
            end
            return { #seen, low >= 0 and low < 0.1, high < 1 and high > 0.9,
                     uuid():match "^%x+%-%x+%-4%x%x%x%-[89ab]%x%x%x%-%x+$" ~= nil, #uuid() }
        """)
        assert value == [3, True, True, True, 36]

    async def test_pairs_and_next_go_in_the_same_order_everywhere(self, lua: Bench) -> None:
        value = await lua.value("""
            local t = { 10, 20, z = 1, a = 2, ["é"] = 3, [2.5] = 4, [-1] = 5 }
            t[true], t[false] = 6, 7
            local order, walked, key = {}, {}, nil
            for k in pairs(t) do order[#order + 1] = tostring(k) end
            repeat
              key = next(t, key)
              walked[#walked + 1] = key ~= nil and tostring(key) or nil
            until key == nil
            return { order, walked, next({}) == nil }
        """)
        expected = ["-1", "1", "2", "2.5", "a", "z", "é", "false", "true"]
        assert value == [expected, expected, True]

    ORDER = """
        local t, seen = {}, {}
        for i = 40, 1, -1 do t["key" .. i * 7919 % 101], t[i * 1.5] = i, i end
        for key, value in pairs(t) do seen[#seen + 1] = key .. "=" .. value end
        local key, value = next(t)
        while key ~= nil do
          seen[#seen + 1] = key .. "=" .. value
          key, value = next(t, key)
        end
        seen[#seen + 1] = json.encode { t = { b = 1, a = { 2, { z = 1, y = 2 } } }, s = "x" }
        seen[#seen + 1] = tostring(print) .. tostring({})
        seen[#seen + 1] = string.format("%s", coroutine.create(print))
        local times = { os.time(), os.clock(), os.date "!%c" }
        return { seen, random(1 << 40), uuid(), math.random(), times }
    """

    async def test_order_numbers_time_and_text_are_the_same_in_another_process(
        self, lua: Bench
    ) -> None:
        first = await lua.value(self.ORDER)
        other = LuaEngine(idle_workers=0)
        try:
            assert await Bench(other).value(self.ORDER) == first
        finally:
            await other.close()

    async def test_fields_may_be_changed_and_added_while_pairs_runs(self, lua: Bench) -> None:
        value = await lua.value("""
            local t, seen = { a = 1, b = 2, c = 3 }, {}
            for k, v in pairs(t) do
              seen[#seen + 1] = k .. v
              t.b, t.c, t["new" .. k] = nil, 30, 1
            end
            return seen
        """)
        assert value == ["a1", "c30"]

    async def test_pairs_honours_its_metamethod(self, lua: Bench) -> None:
        value = await lua.value("""
            local got
            local function once(_, k) if not k then return 1, 2 end end
            local t = setmetatable({}, { __pairs = function(t) return once, t end })
            for k, v in pairs(t) do got = k + v end
            return got
        """)
        assert value == 3


async def test_the_version_is_a_hash_over_every_kernel_file(lua: Bench) -> None:
    directory = Path(sources.__file__).parent
    assert {sources.KERNEL, *sources.PARTS} == {path.name for path in directory.glob("*.lua")}
    texts = [sources.read(name) for name in (sources.KERNEL, *sources.PARTS)]
    assert content_hash(*texts).startswith(lua.engine.version)
    assert content_hash(*texts[:-1], texts[-1] + b" ")[:16] != lua.engine.version
