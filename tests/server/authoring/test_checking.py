"""`check` as a whole: files are loaded in workers, then read. Nothing is cast."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.authoring.checking import Report, check
from llmspell.config import open_project
from llmspell.errors import UsageError
from tests.server.authoring.lua_texts import NEARLY

SPELL = "return Spell.create {{ name = '{}', run = function(input) {} end }}"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path = path.with_name(f"{path.name}.lua")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


async def checked(root: Path, *paths: str) -> Report:
    (root / "llmspell.toml").touch()
    async with asyncio.timeout(20):
        return await check(open_project(root, environ={}), [root / path for path in paths])


def said(report: Report) -> list[str]:
    return [f"{f.severity} {f.error.where} {f.error.code}" for f in report.findings]


async def test_spells_tests_and_modules_are_checked_each_in_its_way(tmp_path: Path) -> None:
    write(
        tmp_path,
        spells__a=SPELL.format("a", "return conut"),
        spells__lib__inner="return { f = function() prnt() end }",
        spells__a_test='it("x", function() expect(nmae).to_equal(1) end)',
        lib__outer="local x = nosuch.y",
        tests__b_test="it('x', function() end)",
    )
    report = await checked(tmp_path)
    assert report.files == 5
    assert not report.ok
    assert sorted(said(report)) == [
        "error lib/outer.lua:1 spec.unknown_name",
        "error spells/a.lua:1 spec.unknown_name",
        "error spells/a_test.lua:1 spec.unknown_name",
        "error spells/lib/inner.lua:1 spec.unknown_name",
    ]


async def test_what_loading_and_reading_both_find_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, spells__a="local x = 1\nreturn Agent.create {\n  tols = {},\n}")
    assert said(await checked(tmp_path)) == ["error spells/a.lua:3 spec.unknown_key"]


async def test_a_file_that_is_no_lua_is_told_by_lua(tmp_path: Path) -> None:
    write(
        tmp_path,
        spells__a="return {",
        spells__b_test="it('x', function()\n  x = \nend)",
        lib__m="local",
    )
    assert sorted(said(await checked(tmp_path))) == [
        "error lib/m.lua:1 spec.syntax",
        "error spells/a.lua:1 spec.syntax",
        "error spells/b_test.lua:3 spec.syntax",
    ]


async def test_warnings_alone_are_nothing_wrong(tmp_path: Path) -> None:
    write(tmp_path, spells__a=SPELL.format("a", "count = Spell.get('b'):cast {}"))
    report = await checked(tmp_path)
    assert report.ok
    assert sorted(said(report)) == [
        "warning spells/a.lua:1 spec.global",
        "warning spells/a.lua:1 spec.unpublished",
    ]
    write(tmp_path, spells__b=SPELL.format("b", ""))
    assert said(await checked(tmp_path, "spells/a.lua")) == ["warning spells/a.lua:1 spec.global"]


async def test_two_files_of_one_name_are_found_in_a_whole_project(tmp_path: Path) -> None:
    write(tmp_path, spells__a=SPELL.format("same", ""), spells__b=SPELL.format("Same", ""))
    assert [f.error.code for f in (await checked(tmp_path)).findings] == ["spec.duplicate_name"]


async def test_a_global_of_a_required_module_is_known(tmp_path: Path) -> None:
    write(
        tmp_path,
        lib__help="function helper() return 1 end",
        spells__a="require 'help'\n" + SPELL.format("a", "return helper()"),
    )
    assert said(await checked(tmp_path)) == ["warning lib/help.lua:1 spec.global"]


async def test_a_file_in_the_library_that_needs_its_spell_is_not_blamed(tmp_path: Path) -> None:
    write(tmp_path, lib__half="local name = ...\nreturn name .. 'x'")
    assert (await checked(tmp_path)).ok


async def test_a_path_that_does_not_exist_is_a_mistake_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nosuch"):
        await checked(tmp_path, "nosuch")


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NEARLY, min_size=1, max_size=6))
def test_any_files_are_checked_to_the_end(sources: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "spells" / "lib").mkdir(parents=True)
        for number, source in enumerate(sources):
            kind = ("spells/a{}.lua", "spells/a{}_test.lua", "spells/lib/a{}.lua")[number % 3]
            (root / kind.format(number)).write_bytes(source)
        report = asyncio.run(checked(root))
        assert report.files == len(sources)
        for finding in report.findings:
            assert finding.error.code != "internal", finding.report()
            assert finding.error.where is not None
