"""table.sort and string.gsub of spells: as Lua's own, except that their callbacks may wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa import lua54

from llmspell.runtime.lua import sources
from llmspell.runtime.lua.engine import LuaEngine
from tests.support.lua_scripts import Bench

IN_MODULE_LOOP = pytest.mark.asyncio(loop_scope="module")

COMPARE = rb"""
local callbacks = ...
local C = {}

local function outcome(gsub, ...)
  local calls = {}
  local text, pattern, keep, limit = ...
  local function replace(...)
    local captures = { ... }
    for i = 1, #captures do
      if math.type(captures[i]) then captures[i] = "@" .. captures[i] end
    end
    calls[#calls + 1] = table.concat(captures, ",")
    if keep > 0 and #calls % keep == 0 then return nil end
    return "<" .. calls[#calls] .. ">"
  end
  local ok, result, count = pcall(gsub, text, pattern, replace, limit)
  if not ok then return (result:gsub("^.-:%d+: ", ""):gsub("string%.gsub", "gsub")) end
  return table.concat({ result, count, table.concat(calls, ";") }, "|")
end

function C.gsub(...) return outcome(string.gsub, ...), outcome(callbacks.gsub, ...) end

-- Sorts { key, position } by key; returns the keys of Lua's own sort, and ours with positions.
function C.sort(keys)
  local list, native = {}, {}
  for key in keys:gmatch "%d+" do
    list[#list + 1] = { key = tonumber(key), position = #list }
    native[#native + 1] = tonumber(key)
  end
  table.sort(native)
  callbacks.sort(list, function(a, b) return a.key < b.key end)
  local positions = {}
  for i = 1, #list do list[i], positions[i] = list[i].key, list[i].position end
  return table.concat(native, " "), table.concat(list, " "), table.concat(positions, " ")
end

-- Sorts with a comparator that contradicts itself as `seed` has it.
function C.chaos(count, seed)
  local list, state = {}, seed
  for i = 1, count do list[i] = i end
  callbacks.sort(list, function()
    state = (state * 1103515245 + 12345) % 2147483648
    return state >= 1073741824
  end)
  return table.concat(list, " ")
end

function C.plain(...)
  local a, b = { ... }, { ... }
  table.sort(a) callbacks.sort(b)
  return table.concat(a, " "), table.concat(b, " ")
end
return C
"""


def kernel_part() -> Any:
    """Return the functions above, with the part of the kernel they compare."""
    new_runtime: Any = lua54.LuaRuntime  # lupa's stub lacks the parameters
    runtime = new_runtime(encoding=None, unpack_returned_tuples=True)
    callbacks = runtime.execute(sources.read("callbacks.lua"), name=b"=llmspell")
    return runtime.execute(COMPARE, callbacks)


@pytest.fixture(scope="module")
def lua_functions() -> Any:
    return kernel_part()


PIECES = st.sampled_from(
    [
        *"ab.x ()[%$^",
        "\0",
        *["%a", "%s", "%d", "[ab]", "[^a]", "%f[%a]", "%f[^%a]", "%b()", "%1", "%%"],
    ]
)


def pattern_of(anchor: str, parts: list[str]) -> str:
    return anchor + "".join(parts)


PATTERNS = st.builds(
    pattern_of,
    st.sampled_from(["", "", "", "^"]),
    st.lists(
        st.one_of(
            st.tuples(PIECES, st.sampled_from(["", *"*+-?"])).map("".join),
            PIECES.map("({})".format),
            st.just("()"),
        ),
        max_size=5,
    ),
)
TEXTS = st.text(alphabet="ab x1()%\0", max_size=12)


@given(text=TEXTS, pattern=PATTERNS, keep=st.integers(0, 3), limit=st.integers(-1, 5) | st.none())
def test_gsub_with_a_function_does_what_luas_own_does(
    lua_functions: Any, text: str, pattern: str, keep: int, limit: int | None
) -> None:
    native, ours = lua_functions.gsub(text.encode(), pattern.encode(), keep, limit)
    assert ours == native


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("hello", "o*", "<>h<>e<>l<>l<o>|5|;;;;o"),
        ("hello", "^h", "<h>ello|1|h"),
        ("hello", "()l", "he<@3><@4>o|2|@3;@4"),
        ("hello you", "%f[%a]%a+", "<hello> <you>|2|hello;you"),
        ("hello", "(l)(l)", "he<l,l>o|1|l,l"),
        ("", "", "<>|1|"),
    ],
)
def test_gsub_goes_on_after_a_match_as_luas_own_does(
    lua_functions: Any, text: str, pattern: str, expected: str
) -> None:
    native, ours = lua_functions.gsub(text.encode(), pattern.encode(), 0)
    assert ours.decode() == native.decode() == expected


@given(keys=st.lists(st.integers(0, 20), max_size=200))
def test_sort_with_a_comparator_is_right_and_keeps_equals_in_order(
    lua_functions: Any, keys: list[int]
) -> None:
    native, ours, positions = lua_functions.sort(" ".join(map(str, keys)).encode())
    assert ours == native
    order = sorted(range(len(keys)), key=lambda i: keys[i])
    assert positions == " ".join(map(str, order)).encode()


@given(count=st.integers(0, 300), seed=st.integers(0, 2**31 - 1))
def test_sort_with_a_comparator_that_contradicts_itself_loses_nothing_and_repeats(
    lua_functions: Any, count: int, seed: int
) -> None:
    first = lua_functions.chaos(count, seed)
    assert sorted(map(int, first.split())) == list(range(1, count + 1))
    assert lua_functions.chaos(count, seed) == first


@given(
    values=st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40),
        st.lists(st.binary(max_size=5), max_size=40),
        st.lists(st.integers(-5, 5) | st.sampled_from([0.5, -2.5, 1e300]), max_size=40),
    )
)
def test_sort_without_a_comparator_is_luas_own(lua_functions: Any, values: list[Any]) -> None:
    native, ours = lua_functions.plain(*values)
    assert ours == native


@IN_MODULE_LOOP
class TestWaiting:
    async def test_a_comparator_may_wait(self, lua: Bench) -> None:
        value = await lua.value(
            """
            local list = { "bb", "a", "ccc" }
            table.sort(list, function(a, b) return State.get(a) < State.get(b) end)
            return list
            """,
            answer=lambda _, arguments: [len(arguments["key"]), "1"],
        )
        assert value == ["a", "bb", "ccc"]

    async def test_a_metamethod_that_compares_may_wait(self, lua: Bench) -> None:
        value = await lua.value(
            """
            local order = { __lt = function(a, b) return State.get(a[1]) < State.get(b[1]) end }
            local list = {}
            for i, key in ipairs { "bb", "a", "ccc" } do list[i] = setmetatable({ key }, order) end
            table.sort(list)
            return { list[1][1], list[2][1], list[3][1] }
            """,
            answer=lambda _, arguments: [len(arguments["key"]), "1"],
        )
        assert value == ["a", "bb", "ccc"]

    async def test_a_replacement_may_wait_and_use_gsub_itself(self, lua: Bench) -> None:
        value = await lua.value(
            """
            local text = ("a-b"):gsub("%a", function(letter)
              local got = State.get(letter)
              return (got:gsub("x", function() return (State.get "x") end))
            end)
            return { text, select(2, ("aaa"):gsub("a", function() State.get "n" end, 2)) }
            """,
            answer=lambda _, arguments: [arguments["key"].upper() + "x", "1"],
        )
        assert value == ["AXx-BXx", 2]

    async def test_effects_inside_both_are_undone_by_nothing_when_one_fails(
        self, lua: Bench
    ) -> None:
        value = await lua.value("""
            local list = { 3, 1, 2 }
            local ok, problem = pcall(table.sort, list, function() error "stop" end)
            return { ok, problem, list }
        """)
        assert value == [False, "spells/t.lua:3: stop", [3, 1, 2]]


@IN_MODULE_LOOP
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("table.sort({ 1, 'x' })", "attempt to compare string with number"),
        ("table.sort({ {}, {} })", "attempt to compare two table values"),
        ("table.sort(5)", "bad argument #1 to 'table.sort' (table expected, got number)"),
        ("table.sort({ 2, 1 }, 5)", "bad argument #2 to 'table.sort' (function expected"),
        ("string.gsub({}, 'x', print)", "bad argument #1 to 'string.gsub' (string expected"),
        ("string.gsub('x', 'x', print, {})", "bad argument #4 to 'string.gsub' (number expected"),
        ("string.gsub('x', 'x', true)", "bad argument #3 to 'string.gsub' (string/function/table"),
        ("string.gsub('x', '%', print)", "malformed pattern (ends with '%')"),
        ("string.gsub('x', 'x', function() return {} end)", "invalid replacement value (a table)"),
        ("string.rep('x', {})", "bad argument #2 to 'string.rep' (number expected"),
        ("string.format('%d', 'x')", "bad argument #2 to 'string.format' (number expected"),
        ("os.date('%Ez', 0)", "bad argument #1 to 'os.date' (invalid conversion specifier"),
    ],
)
async def test_misuse_is_told_in_luas_words_at_the_authors_line(
    lua: Bench, statement: str, message: str
) -> None:
    caught = await lua.value(f"local ok, e = pcall(function()\n{statement}\nend)\nreturn e")
    assert caught.startswith("spells/t.lua:3: " + message)


@IN_MODULE_LOOP
async def test_an_error_in_a_callback_keeps_its_own_line_and_frames(lua: Bench) -> None:
    error = await lua.error("""
        table.sort({ 2, 1 }, function(a, b)
          return a.x < b.x
        end)
    """)
    assert error["where"] == "spells/t.lua:3"
    assert error["message"] == "attempt to index a number value (local 'a')"
    assert error["traceback"].splitlines()[-1].startswith("spells/t.lua:2: ")


@IN_MODULE_LOOP
async def test_sorting_is_the_same_in_every_process(lua: Bench) -> None:
    body = """
        local list = {}
        for i = 1, 2000 do list[i] = { i % 7, i } end
        table.sort(list, function(a, b) return a[1] < b[1] end)
        local order = {}
        for i, item in ipairs(list) do order[i] = item[2] end
        return order
    """
    other = LuaEngine(idle_workers=0)
    try:
        assert await lua.value(body) == await Bench(other).value(body)
    finally:
        await other.close()
