"""Hostile programs in a house whose workers have no system-call filter: run by `unfiltered`.

Prints what became of each, as JSON. Its argument is an empty directory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from llmspell.runtime import jail
from llmspell.runtime.engine import ScriptContext, ScriptLimits
from tests.attacks.house import Attacked, open_house
from tests.attacks.programs import read_programs
from tests.support.lua_scripts import program

PROGRAMS = read_programs(
    "bomb_caught_log_flood",
    "bomb_deep_recursion",
    "bomb_endless_handler",
    "bomb_endless_loop",
    "bomb_endless_pcall",
    "bomb_full_heap_then_effect",
    "bomb_million_coroutines",
    "bomb_output",
    "bomb_pattern_match",
    "bomb_slices",
    "bomb_string_rep",
    "bomb_swallowed_memory_errors",
    "bomb_table_growth",
    "escape_addresses",
    "escape_bytecode",
    "escape_environment",
    "escape_globals",
    "escape_kernel_tables",
    "escape_kernel_upvalues",
    "escape_reachable",
    "escape_require_paths",
    "forge_bytes",
    "leak_into_library",
    "load_endless",
    "load_memory",
    "load_module_bytecode",
    "steal_by_keys",
)


async def attack(directory: Path) -> dict[str, Any]:
    """Cast every program, see nobody harmed by it, and return what is found."""
    ends: dict[str, str] = {}
    async with open_house(directory, PROGRAMS) as house:
        for each in PROGRAMS:
            for _ in range(each.casts):
                end = await house.attack(each)
                if not end.is_one_of(each.must):
                    ends[each.name] = str(end)
            await house.is_unharmed()
            await house.holds_no_leak()
            ends.setdefault(each.name, "as it must")
        return {
            "missing": jail.missing_filter(),
            "isolation": house.engine.isolation().level,
            "worker": await _worker(house),
            "ends": ends,
        }


async def _worker(house: Attacked) -> dict[str, Any]:
    """Return what the kernel says of a worker that was given a script."""
    script = await house.engine.open(
        program("return function() return 1 end"), ScriptLimits(), ScriptContext()
    )
    try:
        script.load()
        await script.exchange()
        return _told_of(house.engine.worker_pids[-1])  # the one that answered
    finally:
        await script.close()


def _told_of(pid: int) -> dict[str, Any]:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    limits = ("AS", "CPU", "CORE", "FSIZE", "NOFILE", "NPROC")
    return {
        # One is the filter that leaves this house none of its own; Linux counts them since 5.9.
        "filters": int(fields.get("Seccomp_filters", "1")),
        "no_new_privileges": fields["NoNewPrivs"] == "1",
        "capabilities": int(fields["CapPrm"], 16) | int(fields["CapEff"], 16),
        "limits": {
            name: resource.prlimit(pid, getattr(resource, f"RLIMIT_{name}")) for name in limits
        },
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(attack(Path(sys.argv[1])))))
