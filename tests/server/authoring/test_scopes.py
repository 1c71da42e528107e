"""Names are global where Lua says so."""

from __future__ import annotations

import pytest
from hypothesis import given

from llmspell.authoring.scopes import Names, find_names
from llmspell.authoring.syntax import parse
from tests.server.authoring.lua_texts import NEARLY


def found(source: str) -> Names:
    tree = parse(source.encode())
    assert tree is not None
    return find_names(tree)


@pytest.mark.parametrize(
    ("source", "reads", "writes"),
    [
        ("return x", ["x"], []),
        ("local x = 1 return x", [], []),
        ("local x = x", ["x"], []),
        ("local x <const>, y <close> = 1, z return x, y", ["z"], []),
        ("do local x end return x", ["x"], []),
        ("local function f() return f end", [], []),
        ("local f = function() return f end", ["f"], []),
        ("function f() return f end", ["f"], ["f"]),
        ("local t function t.f(a) return a, t end", [], []),
        ("function t.f() end", ["t"], []),
        ("local t function t:f() return self end return self", ["self"], []),
        ("local function f(a, ...) return a, ... end return a", ["a"], []),
        ("for i = i, n do use(i) end", ["i", "n", "use"], []),
        ("for k, v in pairs(k) do use(k, v) end return v", ["pairs", "k", "use", "v"], []),
        ("repeat local ok = 1 until ok", [], []),
        ("while x do local x end return x", ["x", "x"], []),
        ("if a then local b elseif b then local c else return c end", ["a", "b", "c"], []),
        ("x = 1", [], ["x"]),
        ("local x x = 1", [], []),
        ("x, y.z, w[i] = a, b", ["a", "b", "y", "w", "i"], ["x"]),
        ("return { k = v, [e] = f, g }", ["v", "e", "f", "g"], []),
        ("return a.b.c, a:m(b), a['x']", ["a", "a", "b", "a"], []),
        ("goto out ::out::", [], []),
        ("f'x' f{} f()", ["f", "f", "f"], []),
    ],
)
def test_what_is_read_and_written_is_found_in_order(
    source: str, reads: list[str], writes: list[str]
) -> None:
    names = found(source)
    assert [node.text for node in names.reads] == reads
    assert [node.text for node in names.writes] == writes


def test_a_path_begins_at_a_global() -> None:
    tree = parse(b"return State.session.get, State:get(), local_one.x, f().x, (a).b")
    assert tree is not None
    names = find_names(tree)
    paths = {
        names.path(node) for node in tree.all("dot_index_expression", "method_index_expression")
    }
    assert paths == {"State.session", "State.session.get", "State.get", "local_one.x", None}
    shadowed = parse(b"local State return State.x")
    assert shadowed is not None
    [node] = shadowed.all("dot_index_expression")
    assert find_names(shadowed).path(node) is None


@given(NEARLY)
def test_any_text_has_globals(source: bytes) -> None:
    tree = parse(source)
    assert tree is not None
    find_names(tree)


def test_depth_costs_no_stack() -> None:
    source = b"do " * 20_000 + b"b = a" + b" + f(a)" * 5_000 + b" end" * 20_000
    tree = parse(source)
    assert tree is not None
    assert len(find_names(tree).reads) >= 5_000


@pytest.mark.parametrize(
    ("source", "declared"),
    [
        ("return function(a) return a end", True),
        ("return function(a) return function() return a end end", True),
        ("local a = 1 return a", True),
        ("return a", False),
        ("return function(a) a = 1 return a end", False),
        ("return function(a) return a, function() a = 1 end end", False),
    ],
)
def test_a_local_is_known_by_its_declaration_while_nothing_else_is_assigned(
    source: str, declared: bool
) -> None:
    tree = parse(source.encode())
    assert tree is not None
    names = find_names(tree)
    found = [names.declaration(node) for node in tree.all("identifier") if node.text == "a"]
    assert any(node is not None for node in found) is declared


def test_the_nearest_declaration_is_the_one() -> None:
    tree = parse(b"local a\nreturn function(a)\n  return a\nend")
    assert tree is not None
    [use] = [node for node in tree.all("identifier") if node.line == 3]
    declared = find_names(tree).declaration(use)
    assert declared is not None
    assert declared.line == 2
