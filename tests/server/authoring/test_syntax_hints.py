"""What `check` says beyond the Lua compiler: what was meant by what it does not understand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.authoring.checking import check
from llmspell.authoring.syntax_hints import syntax_hint
from llmspell.config import open_project


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("if input.a != 1 then return 1 end", "~="),
        ("if input.a && input.b then return 1 end", "'and'"),
        ("input.a += 1", "write x = x + 1"),
        ("input.a++", "no ++"),
        ("if input.a = 1 then return 1 end", "write == to compare"),
        ("const a = 1", "write local"),
        ("import text", "require"),
        ("def f(a)", "local function"),
        ("if input.a then retrun 5 end", "did you mean 'return'?"),
        ("retrun 5", "did you mean 'return'?"),
        ("lcoal a = 5", "did you mean 'local'?"),
        ("// a comment", "begins with --"),
        ("local f = (a) => a", "function(input)"),
        ("local a = 'abc", "ends on its line"),
        ("if input.a then return 1", "'end'"),
    ],
)
async def test_what_comes_from_another_language_is_named(
    body: str, hint: str, tmp_path: Path
) -> None:
    error = await _problem(
        f"return Spell.create {{\n  run = function(input)\n{body}\nend,\n}}", tmp_path
    )
    assert error["code"] == "spec.syntax"
    assert hint in error.get("hint", "")


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("return Spell.create {\n  name = 'a'\n  run = function() end,\n}", "comma"),
        ("return Spell.create { name: 'a' }", "name = value"),
        ("return Spell.create { run = function() end } }", "too many"),
        ("\ufeffreturn Spell.create { run = function() end }", "byte order mark"),
        ("return Spell.create {", "in the middle"),
    ],
)
async def test_what_is_missing_or_too_much_is_named(source: str, hint: str, tmp_path: Path) -> None:
    assert hint in (await _problem(source, tmp_path)).get("hint", "")


async def test_what_is_not_clear_is_left_to_lua(tmp_path: Path) -> None:
    assert "hint" not in await _problem("local a = = 1", tmp_path)


async def test_texts_and_comments_of_a_line_say_nothing(tmp_path: Path) -> None:
    error = await _problem("local a = = '!=' -- &&", tmp_path)
    assert "hint" not in error


async def test_the_check_does_not_send_to_itself(tmp_path: Path) -> None:
    for source in ("local a = = 1", "return Spell.create { description = 5, run = print }"):
        assert "llmspell check" not in (await _problem(source, tmp_path)).get("hint", "")


@given(st.text(max_size=80), st.text(max_size=200))
def test_any_message_and_line_are_looked_at(message: str, line: str) -> None:
    assert isinstance(syntax_hint(message, line), str)


async def _problem(source: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "spells").mkdir(exist_ok=True)
    (tmp_path / "llmspell.toml").touch()
    (tmp_path / "spells" / "a.lua").write_text(source, encoding="utf-8")
    [finding] = (await check(open_project(str(tmp_path)))).findings
    return {key: str(value) for key, value in finding.to_value().items()}
