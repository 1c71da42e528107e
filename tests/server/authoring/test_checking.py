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
    casts = SPELL.format("a", "count = Spell.get('b'):cast {}")
    write(tmp_path, spells__a=casts.replace("run =", "needs = { tools = { 'b' } }, run ="))
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


async def test_the_modules_of_a_directory_outside_of_the_project_are_no_spells(
    tmp_path: Path,
) -> None:
    write(
        tmp_path / "other",
        spells__a=SPELL.format("a", "return 1"),
        spells__lib__f="return function() return 1 end",
    )
    project = tmp_path / "project"
    project.mkdir()
    assert (await checked(project, "../other/spells")).findings == ()


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


CASTS = """local top = Spell.get "a"
return Spell.create {{
  {}
  run = function(input)
    top:cast {{}}
    Spell.get("b"):cast {{}}
    return Agent.create {{ name = "late", tools = {{ "a", "c" }} }}:ask "x"
  end,
}}"""


async def test_a_name_the_code_may_not_cast_is_found_before_it_is_cast(tmp_path: Path) -> None:
    others = {f"spells__{name}": SPELL.format(name, "return 1") for name in "abc"}
    write(tmp_path, **others, spells__user=CASTS.format(""))
    report = await checked(tmp_path)
    assert said(report) == [
        "error spells/user.lua:6 need.undeclared",
        "error spells/user.lua:7 need.undeclared",
    ]
    assert report.findings[0].error.hint == 'declare it: needs = { tools = { "b" } }'
    write(tmp_path, spells__user=CASTS.format('needs = { tools = { "b", "c" } },'))
    assert (await checked(tmp_path)).findings == ()


INPUT = """return Spell.create {{
  input = {{
    first = Schema.string "The first",
    count = {},
  }},
  run = function(input) return json.encode(input.count) end,
}}"""


@pytest.mark.parametrize(
    ("field", "code", "message"),
    [
        (
            'Schema.integer("n", { default = "1" })',
            "spec.invalid",
            """the default of 'count' in the input of 'a' does not fit: "1" is not of type """
            '"integer"',
        ),
        (
            "Schema.integer('n', { default = 0, min = 1 })",
            "spec.invalid",
            "the default of 'count' in the input of 'a' does not fit: "
            "0 is less than the minimum of 1",
        ),
        (
            "Schema.integer('n', { defualt = 1 })",
            "spec.unknown_key",
            "'input' in Spell.create: count: unknown option 'defualt' (did you mean 'default'?)",
        ),
    ],
)
async def test_a_field_that_no_cast_could_use_is_refused_at_its_line(
    tmp_path: Path, field: str, code: str, message: str
) -> None:
    write(tmp_path, spells__a=INPUT.format(field))
    [finding] = (await checked(tmp_path)).findings
    assert finding.severity == "error"
    assert finding.error.where == "spells/a.lua:4"
    assert (finding.error.code, finding.error.message) == (code, message)


async def test_a_setting_that_publishes_what_there_is_not_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, spells__a=SPELL.format("alpha", "return 1"), spells__b=SPELL.format("b", ""))
    (tmp_path / "llmspell.toml").write_text('publish = ["alhpa", "b", "bundle:conformance"]')
    report = await checked(tmp_path)
    [finding] = report.findings
    assert report.ok
    assert str(finding.error) == (
        "the setting publish names 'alhpa', which no file declares {code: spec.unpublished}"
    )
    assert finding.error.hint == "did you mean 'alpha'?"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
async def test_a_file_in_another_encoding_is_told_how_to_save_it(
    tmp_path: Path, encoding: str
) -> None:
    write(tmp_path, spells__a="")
    (tmp_path / "spells" / "a.lua").write_text("return Spell.create {}", encoding=encoding)
    [finding] = (await checked(tmp_path)).findings
    assert finding.error.where == "spells/a.lua:1"
    assert "UTF-8" in finding.error.hint
