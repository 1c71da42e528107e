from __future__ import annotations

import pytest

from llmspell.errors import SpecSyntax
from llmspell.runtime.engine import Program, ScriptLimits
from tests.support.lua_scripts import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

GLOBALS = """
    Agent Content Log Prompt Resource Schema Spell State Tool Workflow _G _VERSION assert coroutine
    error
    getmetatable ipairs json math next now os pairs parallel pcall print random rawequal rawget
    rawlen rawset require select setmetatable sleep string table template tonumber tostring type
    utf8 uuid xpcall
"""
TABLES = {
    "Agent": "create get",
    "Content": "audio image list resource text",
    "Log": "debug error info warn",
    "Prompt": "create",
    "Resource": "create",
    "Schema": "any boolean enum integer list number object string",
    "Spell": "create get",
    "State": "delete get increment run scan session set shared transaction update user watch",
    "State.session": "delete get increment scan set update watch",
    "Tool": "create get",
    "Workflow": "parallel sequential",
    "coroutine": "close create isyieldable resume running status wrap yield",
    "json": "array decode encode null object",
    "math": "abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min"
    " mininteger modf pi rad random sin sqrt tan tointeger type ult",
    "os": "clock date difftime time",
    "string": "byte char find format gmatch gsub len lower match pack packsize rep reverse sub"
    " unpack upper",
    "table": "concat insert move pack remove sort unpack",
    "utf8": "char charpattern codepoint codes len offset",
}
NAMES = "local names = {} for name in pairs(%s) do names[#names + 1] = name end return names"


async def test_a_spell_sees_exactly_these_globals(lua: Bench) -> None:
    assert await lua.value(NAMES % "_G") == sorted(GLOBALS.split())


@pytest.mark.parametrize("table", sorted(TABLES))
async def test_a_library_holds_exactly_these_names(lua: Bench, table: str) -> None:
    assert await lua.value(NAMES % table) == sorted(TABLES[table].split())


@pytest.mark.parametrize(
    "name",
    [
        "io",
        "debug",
        "package",
        "python",
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "collectgarbage",
        "warn",
        "os.execute",
        "os.getenv",
        "os.remove",
        "os.exit",
        "string.dump",
        "math.randomseed",
        "coroutine.token",
    ],
)
async def test_what_reaches_outside_does_not_exist(lua: Bench, name: str) -> None:
    assert await lua.value(f"return {name} == nil") is True


async def test_no_userdata_can_be_reached_from_anything(lua: Bench) -> None:
    kinds = await lua.value("""
        local seen, kinds = {}, {}
        local function visit(value)
          kinds[type(value)] = true
          if type(value) ~= "table" or seen[value] then return end
          seen[value] = true
          for k, v in pairs(value) do visit(k) visit(v) end
          local metatable = getmetatable(value)
          if metatable ~= nil then visit(metatable) end
        end
        visit(_G) visit(ctx) visit(getmetatable "")
        return kinds
    """)
    assert set(kinds) <= {"table", "function", "string", "number", "boolean"}


@pytest.mark.parametrize("source", [b"\x1bLua\x54\x00", b"\x1b"])
async def test_bytecode_is_refused_by_name(lua: Bench, source: bytes) -> None:
    with pytest.raises(SpecSyntax, match="bytecode"):
        await lua.engine.load(Program("spells/t.lua", source), ScriptLimits())
    program = Program("spells/t.lua", b"return require 'm'", {"m": source})
    with pytest.raises(SpecSyntax, match="bytecode"):
        await lua.engine.load(program, ScriptLimits())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("getmetatable('')", "string"),
        ("getmetatable(json.null)", "null"),
        ("getmetatable(input)", "object"),
        ("getmetatable(Spell.get 'x')", "spell"),
        ("getmetatable(select(2, pcall(State.get)))", "error"),
        ("tostring(print)", "function"),
        ("tostring({})", "table"),
        ("tostring(coroutine.create(print))", "thread"),
        ("string.format('%s %d %5.1f %q', {}, 3, 2.25, 'x')", 'table 3   2.2 "x"'),
        ("('ab'):rep(2, '-')", "ab-ab"),
        ("#string.rep('', 1 << 60)", 0),
        ("math.type(1) .. math.type(1.0)", "integerfloat"),
        ("os.date('!%Y', 0)", "1970"),
        ("os.time { year = 2026, month = 1, day = 1, hour = 0 }", 1767225600),
        ("select('#', table.unpack({ 1, nil, 3 }, 1, 3))", 3),
        (
            "json.encode { b = { 1, 2.5, json.null }, a = json.array() }",
            '{"a":[],"b":[1,2.5,null]}',
        ),
        ("#json.decode '[1,null,3]'", 3),
        ("coroutine.isyieldable()", False),
    ],
)
async def test_the_library_behaves_as_documented(
    lua: Bench, expression: str, expected: object
) -> None:
    assert await lua.value(f"return {expression}", {}) == expected


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("setmetatable({}, { __gc = print })", "__gc is not available"),
        ("setmetatable(json.null, {})", "protected metatable"),
        ("string.format('%p', {})", "'%p' is not available"),
        ("string.format('%d', 'x')", "bad argument #2 to 'string.format'"),
        ("string.rep('x', 1 << 60)", "larger than 16 MiB"),
        ("os.date('%Ez', 0)", "invalid conversion specifier"),
        ("coroutine.yield(1)", "coroutine.yield outside a coroutine"),
        ("coroutine.resume(1)", "a coroutine was expected"),
        ("coroutine.resume((coroutine.running()))", "a coroutine was expected"),
        ("coroutine.close((coroutine.running()))", "a coroutine was expected"),
        ("json.null.x = 1", "json.null is read-only"),
        ("json.decode '{'", "json.decode: byte 2"),
        ("json.decode '9223372036854775808'", "64 bits"),
        ("json.encode(print)", "json.encode: cannot encode a function"),
        ("random(2, 1)", "the interval is empty"),
        ("random(1.5)", "whole numbers"),
        ("pairs(nil)", "a table was expected"),
        ("for i, v in ipairs(nil) do end", "ipairs: a table was expected, got nil"),
        ("next({ a = 1 }, 'b')", "not in the table"),
    ],
)
async def test_misuse_is_told_with_the_authors_line(
    lua: Bench, statement: str, message: str
) -> None:
    error = await lua.error(f"local _\n{statement}")
    assert message in error["message"]
    assert error["where"] == "spells/t.lua:3"
    assert "llmspell" not in error["message"]


def _fine(operation: str, arguments: object) -> str:
    return "fine"


async def test_poisoned_libraries_hurt_the_spell_only(lua: Bench) -> None:
    outcome = await lua.body(
        """
        local bad = function() error "poisoned" end
        for _, library in ipairs { string, table, math, utf8, coroutine, json, State, os } do
          for name in pairs(library) do library[name] = bad end
        end
        local keep = Spell.get("x")
        for name in pairs(_G) do if name ~= "_G" then _G[name] = nil end end
        return { keep:cast { a = 1 } }
        """,
        answer=_fine,
    )
    assert outcome.value == ["fine"]


async def test_an_author_cannot_forge_a_request_of_the_host(lua: Bench) -> None:
    value = await lua.value("""
        local forged = coroutine.wrap(function()
          coroutine.yield({}, "state.get", "x")
          coroutine.yield("request", 1)
          return "end"
        end)
        return { type(forged()), forged(), forged() }
    """)
    assert value == ["table", "request", "end"]


async def test_globals_do_not_travel_from_cast_to_cast(lua: Bench) -> None:
    for _ in range(2):
        assert await lua.value("count = (count or 0) + 1 string.x = 1 return count") == 1
