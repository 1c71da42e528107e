"""The spellbook: files are found, loaded and checked, and a broken one keeps its older version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmspell.errors import ConfigError, NeedUndeclared, SpecError
from llmspell.host.catalogue import Catalogue
from llmspell.host.host import Host
from llmspell.security.principals import local_caller
from tests.support.hosts import open_host, project, write_spells

GOOD = 'return Spell.create { description = "one", run = function() return 1 end }'
BETTER = 'return Spell.create { description = "two", run = function() return 2 end }'
BROKEN = "return Spell.create {\n  run = function(\n}"


def names(host: Host) -> list[str]:
    return [spell.name for spell in host.catalogue().spells]


def problem_of(host: Host) -> dict[str, Any]:
    (problem,) = host.catalogue().problems
    return problem


@asynccontextmanager
async def host_of(root: Path, **spells: str) -> AsyncGenerator[Host]:
    """Open a host on files that may be wrong."""
    write_spells(root, spells)
    async with Host.open(project(root), state="memory", watch=False) as host:
        yield host


# --- finding


async def test_files_are_found_in_folders_but_not_modules_tests_or_what_is_hidden(
    tmp_path: Path,
) -> None:
    for path in (
        "spells/a.lua",
        "spells/deep/er/b.lua",
        "spells/lib/no.lua",
        "spells/a_test.lua",
        "spells/.types/no.lua",
        "spells/_off/no.lua",
        "spells/readme.md",
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(GOOD, encoding="utf-8")
    async with host_of(tmp_path) as host:
        assert names(host) == ["a", "b"]
        assert [spell.file for spell in host.catalogue().spells] == [
            "spells/a.lua",
            "spells/deep/er/b.lua",
        ]


async def test_what_is_published_says_what_its_file_declares(tmp_path: Path) -> None:
    source = """-- Adds two numbers.
-- Slowly.

return Spell.create {
  title = "Add", tags = { "maths" }, read_only = true, idempotent = true, open_world = false,
  input = { b = Schema.integer "B", a = Schema.integer "A" }, output = { sum = Schema.integer() },
  examples = { { input = { a = 1, b = 2 }, output = { sum = 3 } } },
  expose = { a2a = false },
  run = function(input) return { sum = input.a + input.b } end,
}
"""
    async with open_host(tmp_path, {"add": source}) as host:
        (spell,) = host.catalogue().spells
    assert (spell.name, spell.title, spell.kind) == ("add", "Add", "spell")
    assert spell.description == "Adds two numbers. Slowly."
    assert spell.tags == ("maths",)
    assert (spell.read_only, spell.idempotent, spell.open_world) == (True, True, False)
    assert (spell.expose_mcp, spell.expose_a2a) == (True, False)
    assert list(spell.input_schema["properties"]) == ["b", "a"]
    assert spell.examples == ({"input": {"a": 1, "b": 2}, "output": {"sum": 3}},)
    assert len(spell.version) == 64


async def test_only_what_the_settings_publish_is_published(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"a": GOOD, "b": GOOD}, publish='["b"]') as host:
        assert names(host) == ["b"]


async def test_two_files_with_one_name_are_an_error_and_the_first_stays(tmp_path: Path) -> None:
    taken = 'return Spell.create {\n  name = "A",\n  run = function() end,\n}'
    async with host_of(tmp_path, a=GOOD, b=taken) as host:
        assert names(host) == ["a"]
        assert problem_of(host)["code"] == "spec.duplicate_name"
        assert problem_of(host)["where"] == "spells/b.lua:2"
        assert "spells/a.lua" in problem_of(host)["message"]


async def test_a_project_that_is_none_has_the_bundled_spells(tmp_path: Path) -> None:
    async with Host.open(project(tmp_path), state="memory", watch=False) as host:
        assert names(host) == ["follow_up", "hello", "notes", "research_brief", "word_count"]
        assert not host.catalogue().problems


async def test_a_bundle_is_published_only_where_settings_list_it(tmp_path: Path) -> None:
    write_spells(tmp_path, {"a": GOOD})
    listed = project(tmp_path, publish='["a", "bundle:conformance"]')
    async with Host.open(listed, state="memory", watch=False) as host:
        spells = {spell.name: spell for spell in host.catalogue().spells}
        assert not host.catalogue().problems
        assert spells.pop("a").bundle == ""
        assert len(spells) > 20
        assert {spell.bundle for spell in spells.values()} == {"conformance"}
        assert spells["greet"].file == "conformance/greet.lua"


async def test_a_spell_of_the_project_comes_before_one_of_a_bundle(tmp_path: Path) -> None:
    write_spells(tmp_path, {"greet": GOOD})
    listed = project(tmp_path, publish='["*", "bundle:conformance"]')
    async with Host.open(listed, state="memory", watch=False) as host:
        [greet] = [spell for spell in host.catalogue().spells if spell.name == "greet"]
        assert (greet.bundle, greet.description) == ("", "one")
        assert problem_of(host)["code"] == "spec.duplicate_name"
        assert problem_of(host)["where"] == "conformance/greet.lua:3"


@pytest.mark.parametrize(
    ("listed", "hint"),
    [
        ("conformence", "did you mean bundle:conformance?"),
        ("xyz", "there are: bundle:conformance"),
        ("../spells", "there are: bundle:conformance"),
    ],
)
async def test_a_bundle_that_there_is_not_is_refused_with_a_suggestion(
    tmp_path: Path, listed: str, hint: str
) -> None:
    write_spells(tmp_path, {"a": GOOD})
    wrong = project(tmp_path, publish=f'["*", "bundle:{listed}"]')
    with pytest.raises(ConfigError, match="there is no bundle") as refused:
        async with Host.open(wrong, state="memory", watch=False):
            pass
    assert refused.value.hint == hint


# --- loading


@pytest.mark.parametrize(
    ("source", "code", "where"),
    [
        (BROKEN, "spec.syntax", "spells/x.lua:3"),
        ("", "spec.missing", "spells/x.lua"),
        ("return 5", "spec.missing", "spells/x.lua"),
        ("return Spell.create {\n  tols = 1,\n}", "spec.unknown_key", "spells/x.lua:2"),
        ("return Spell.create {}", "spec.invalid", "spells/x.lua:1"),
        ("return Spell.create 'x'", "spec.invalid", "spells/x.lua:1"),
        ("\nerror 'no'", "spec.invalid", "spells/x.lua:2"),
        ("\nlocal n = now()", "spec.effect_while_loading", "spells/x.lua:2"),
        ("\nState.get 'k'", "spec.effect_while_loading", "spells/x.lua:2"),
        ("\nSpell.get('a'):cast {}", "spec.effect_while_loading", "spells/x.lua:2"),
        ("while true do end", "limit.wall_clock", "spells/x.lua:1"),
        ("\x1bLua", "spec.syntax", "spells/x.lua:1"),
        ("return require 'absent'", "spec.invalid", "spells/x.lua:1"),
        (
            "return Spell.create {\n  output = { type = 'sting' },\n  run = function() end }",
            "spec.invalid",
            "spells/x.lua:2",
        ),
        (
            "return Spell.create {\n  needs = { net = { 'a.b' } },\n  run = function() end }",
            "spec.unsupported_need",
            "spells/x.lua:2",
        ),
    ],
)
async def test_a_file_that_does_not_load_publishes_nothing_and_says_where(
    tmp_path: Path, source: str, code: str, where: str
) -> None:
    async with host_of(tmp_path, good=GOOD, x=source) as host:
        assert names(host) == ["good"]
        problem = problem_of(host)
        assert (problem["code"], problem["where"]) == (code, where)
        assert problem["message"]
        (error,) = await host.book.check([tmp_path / "spells"])
        assert (error.code, error.where) == (code, where)


@pytest.mark.parametrize(
    "source",
    [
        "return Agent.create { description = ('x'):rep(5000) }",
        "return Agent.create { title = ('x'):rep(300) }",
        "return Spell.create { workflow = Workflow.parallel { branches = { 'a', 5 } } }",
        "return Spell.create { run = function() end, tags = 5, budget = 'x' }",
        "return { ['$kind'] = 'spell', ['$line'] = 'x' }",
        "return { ['$kind'] = {} }",
        "return Spell.create { ['$line'] = 'x', input = { ['$schema'] = 5 }, run = 5 }",
        "local t = {} t.t = t return Spell.create { input = t, run = function() end }",
        "return Spell.create { [1] = 2, [{}] = 3, run = function() end }",
        "return Spell.create { input = { a = Schema.list(Schema.string) }, run = print }",
    ],
)
async def test_whatever_a_file_returns_the_others_are_published(
    tmp_path: Path, source: str
) -> None:
    async with host_of(tmp_path, good=GOOD, x=source) as host:
        assert names(host) == ["good"]
        assert problem_of(host)["where"].startswith("spells/x.lua")
        assert problem_of(host)["code"].startswith("spec.")


async def test_a_file_too_large_to_be_a_spell_is_refused_by_its_size(tmp_path: Path) -> None:
    async with host_of(tmp_path, x="-- " + "x" * (1 << 20)) as host:
        assert "the limit is 1048576" in problem_of(host)["message"]


async def test_a_spell_that_cannot_be_read_is_a_problem_and_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "spells").mkdir()
    (tmp_path / "spells/x.lua").symlink_to(tmp_path / "absent.lua")
    async with host_of(tmp_path, good=GOOD) as host:
        assert names(host) == ["good"]
        assert "cannot be read" in problem_of(host)["message"]


async def test_a_module_is_found_beside_the_spell_and_is_part_of_its_version(
    tmp_path: Path,
) -> None:
    source = """
    local words = require "words"
    return Spell.create { run = function() return words.greeting end }
    """
    module = tmp_path / "spells/lib/words.lua"
    module.parent.mkdir(parents=True)
    module.write_text("return { greeting = 'hello' }", encoding="utf-8")
    async with open_host(tmp_path, {"greet": source}) as host:
        assert (await host.cast("greet", {})).output == "hello"
        before = host.catalogue().spells[0].version
        module.write_text("return { greeting = 'good day' }", encoding="utf-8")
        await host.reload()
        assert (await host.cast("greet", {})).output == "good day"
        assert host.catalogue().spells[0].version != before


# --- reloading


async def test_a_changed_file_is_a_new_version(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"x": GOOD}) as host:
        before = host.catalogue()
        write_spells(tmp_path, {"x": BETTER})
        after = await host.reload()
        assert after.generation == before.generation + 1
        assert after.spells[0].version != before.spells[0].version
        assert (await host.cast("x", {})).output == 2


async def test_a_cast_under_way_ends_on_the_version_it_began_with(tmp_path: Path) -> None:
    def waits(word: str) -> str:
        return f"""return Spell.create {{ run = function()
          Log.info "begun"
          repeat local go = State.shared:get "go" until go
          return "{word}"
        end }}"""

    go = 'return Spell.create { run = function() State.shared:set("go", true) end }'
    async with open_host(tmp_path, {"x": waits("old"), "go": go}) as host, asyncio.timeout(10):
        handle = await host.start("x", {})
        async for event in handle.events():
            if event.kind == "log":
                break
        write_spells(tmp_path, {"x": waits("new")})
        await host.reload()
        await host.cast("go", {})
        assert (await handle.result()).output == "old"
        assert (await host.cast("x", {})).output == "new"
        versions = {run.spell_version for run in (await host.runs(caller=local_caller())).runs}
        assert len(versions) == 3


async def test_a_broken_file_keeps_its_older_version_and_says_what_is_wrong(
    tmp_path: Path,
) -> None:
    async with open_host(tmp_path, {"x": GOOD}) as host:
        write_spells(tmp_path, {"x": BROKEN})
        await host.reload()
        assert (await host.cast("x", {})).output == 1
        assert problem_of(host)["where"] == "spells/x.lua:3"
        spell = host.catalogue().get("x")
        assert spell is not None
        assert spell.problem == problem_of(host)
        write_spells(tmp_path, {"x": BETTER})
        await host.reload()
        assert host.catalogue().problems == ()
        assert (await host.cast("x", {})).output == 2


async def test_a_file_that_is_gone_is_published_no_longer(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"x": GOOD, "y": GOOD}) as host:
        (tmp_path / "spells/x.lua").unlink()
        await host.reload()
        assert names(host) == ["y"]


async def test_reloading_what_did_not_change_tells_nobody(tmp_path: Path) -> None:
    told: list[Catalogue] = []
    async with open_host(tmp_path, {"x": GOOD}) as host:
        end = host.on_change(told.append)
        await host.reload()
        assert told == []
        write_spells(tmp_path, {"x": BETTER})
        await host.reload()
        assert [catalogue.generation for catalogue in told] == [host.catalogue().generation]
        end()
        end()
        write_spells(tmp_path, {"x": GOOD})
        await host.reload()
        assert len(told) == 1


async def test_a_renamed_spell_leaves_its_old_name(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"x": GOOD}) as host:
        write_spells(tmp_path, {"x": GOOD.replace("{ ", '{ name = "other", ', 1)})
        await host.reload()
        assert names(host) == ["other"]


async def until(host: Host, holds: Callable[[Catalogue], bool]) -> Catalogue:
    """Return the first catalogue for which `holds`, as the watcher makes them."""
    changed = asyncio.Event()
    end = host.on_change(lambda _: changed.set())
    try:
        async with asyncio.timeout(15):
            while not holds(host.catalogue()):
                await changed.wait()
                changed.clear()
        return host.catalogue()
    finally:
        end()


async def test_the_watcher_sees_files_that_change_come_and_go(tmp_path: Path) -> None:
    async with open_host(tmp_path, {"x": GOOD}, watch=True) as host:
        write_spells(tmp_path, {"x": BETTER})
        await until(host, lambda found: found.spells[0].description == "two")
        write_spells(tmp_path, {"y": GOOD})
        await until(host, lambda found: len(found.spells) == 2)
        write_spells(tmp_path, {"y": BROKEN})
        await until(host, lambda found: len(found.problems) == 1)
        (tmp_path / "spells/y.lua").unlink()
        await until(host, lambda found: not found.problems and len(found.spells) == 1)


async def test_the_watcher_sees_the_first_spell_of_an_empty_project(tmp_path: Path) -> None:
    (tmp_path / "llmspell.toml").touch()
    async with open_host(tmp_path, watch=True) as host:
        write_spells(tmp_path, {"x": GOOD})
        await until(host, lambda found: bool(found.spells))


# --- needs


CASTS = """return Spell.create {{ {needs} run = function()
  local name = "ot" .. "her"
  local result = Spell.get(name):cast {{}}
  return result
end }}"""


async def test_a_spell_may_cast_only_what_it_declares(tmp_path: Path) -> None:
    spells = {
        "other": GOOD,
        "refused": CASTS.format(needs=""),
        "granted": CASTS.format(needs="needs = { tools = { 'other' } },"),
    }
    async with open_host(tmp_path, spells) as host:
        outcome = await host.cast("refused", {})
        assert outcome.error is not None
        assert outcome.error["code"] == NeedUndeclared.code
        assert outcome.error["hint"] == 'declare it: needs = { tools = { "other" } }'
        assert outcome.error["where"] == "spells/refused.lua:3"
        assert (await host.cast("granted", {})).output == 1


async def test_a_declaration_made_during_a_cast_grants_itself_nothing(tmp_path: Path) -> None:
    source = """return Spell.create { run = function()
      local inner = Spell.create {
        name = "inner", needs = { tools = { "other" } },
        run = function() return Spell.get("other"):cast {} end,
      }
      return inner:cast {}
    end }"""
    async with open_host(tmp_path, {"other": GOOD, "x": source}) as host:
        outcome = await host.cast("x", {})
    assert outcome.error is not None
    assert outcome.error["code"] == "need.undeclared"


async def test_what_a_workflow_or_an_agent_names_need_not_be_declared_again(
    tmp_path: Path,
) -> None:
    source = "return Workflow.sequential { 'other', { tool = 'other', args = {} } }"
    async with open_host(tmp_path, {"other": GOOD, "x": source}) as host:
        assert (await host.cast("x", {})).output == 1


async def test_casting_what_does_not_exist_is_an_error_that_suggests(tmp_path: Path) -> None:
    source = (
        "return Spell.create { needs = { tools = { 'othr' } },"
        " run = function() return Spell.get('othr'):cast {} end }"
    )
    async with open_host(tmp_path, {"other": GOOD, "x": source}) as host:
        outcome = await host.cast("x", {})
    assert outcome.error is not None
    assert outcome.error["code"] == "spell.not_found"
    assert "did you mean 'other'?" in outcome.error["hint"]


async def test_checking_a_file_publishes_nothing(tmp_path: Path) -> None:
    draft = tmp_path / "draft.lua"
    draft.write_text(GOOD, encoding="utf-8")
    async with open_host(tmp_path, {"x": GOOD}) as host:
        assert await host.book.check([draft, tmp_path / "spells"]) == []
        draft.write_text(BROKEN, encoding="utf-8")
        (error,) = await host.book.check([draft])
        assert isinstance(error, SpecError)
        assert error.where == "draft.lua:3"
        assert names(host) == ["x"]
