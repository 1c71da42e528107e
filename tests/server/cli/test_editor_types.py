"""The editor types that `init` writes say what a spell really finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from llmspell.host.host import Host
from tests.support.servers import ROOT, make_project

TYPES = ROOT / "spells" / ".types" / "llmspell.lua"

# Lua's own library, which every editor knows, though a spell finds less of it.
LUA = {
    *("assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "print", "rawequal"),
    *("rawget", "rawlen", "rawset", "require", "select", "setmetatable", "tonumber", "tostring"),
    *("type", "xpcall", "_VERSION", "_G", "math", "string", "table", "utf8", "coroutine", "os"),
}

LISTED = """
local names = {}
for name, value in pairs(_G) do
  if type(value) == "table" and name ~= "_G" then
    for key, member in pairs(value) do
      if type(member) == "function" then names[#names + 1] = name .. "." .. key end
    end
  elseif type(value) == "function" then
    names[#names + 1] = name
  end
end
return names
"""


def declared() -> set[str]:
    """Return every function of the types file, by the name a spell calls it."""
    found = re.findall(r"^function ([\w.]+)\(", TYPES.read_text(encoding="utf-8"), re.MULTILINE)
    return {name.replace("StateScope.", "State.") for name in found}


async def test_every_function_of_a_spells_environment_is_declared_and_no_other(
    tmp_path: Path,
) -> None:
    project = make_project(tmp_path / "project", ())
    async with Host.open(project, state="memory", watch=False, environ={}) as host:
        outcome = await host.cast_source("names", LISTED, {})
    assert outcome.ok, outcome.error
    listed: list[Any] = outcome.output
    found = {name for name in listed if name.partition(".")[0] not in LUA}
    assert declared() == found
