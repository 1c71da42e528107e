"""How long an honest cast takes while an attack runs: one column a percentile, one row a class.

    python benchmarks/attack_latency.py [SECONDS]

Attackers cast one hostile program of `tests/attacks/programs` over and over, as
many at a time as `ATTACKERS`; one honest caller casts an echo every few
milliseconds, in the same `Host`. Wall time of these echoes, in milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path

from servers import ECHO

from llmspell import Host
from llmspell.errors import LlmspellError
from llmspell.host.garbage import collect_seldom
from llmspell.host.host import Host as OpenHost
from llmspell.security.principals import Caller

PROGRAMS = Path(__file__).parent.parent / "tests" / "attacks" / "programs"
CLASSES = {
    "nothing (the floor)": (),
    "loops in Lua": ("bomb_endless_loop", "bomb_endless_handler", "bomb_short_coroutines"),
    "loops in C": ("bomb_pattern_find", "bomb_table_move", "bomb_utf8_length"),
    "memory": ("bomb_table_growth", "bomb_swallowed_memory_errors", "bomb_million_coroutines"),
    "recursion": ("bomb_deep_recursion", "bomb_pcall_recursion", "bomb_nested_coroutines"),
    "floods of effects": ("bomb_log_flood", "bomb_state_flood", "bomb_host_calls"),
    "branches": ("bomb_wide_parallel", "bomb_wide_sleep", "load_many_steps"),
    "child casts": ("bomb_many_children", "bomb_wide_children", "bomb_endless_depth"),
    "large outputs": ("bomb_output_of_many", "bomb_large_log", "bomb_error_data"),
    "schemas": ("bomb_many_problems", "bomb_unique_items", "bomb_regex_input"),
}
ATTACKERS = 3
PAUSE_SECONDS = 0.005

HONEST = Caller(principal="honest")
ATTACKER = Caller(principal="attacker")


async def measure(host: OpenHost, programs: tuple[str, ...], seconds: float) -> list[float]:
    """Return the sorted wall times, in seconds, of honest casts beside these attacks."""
    stopped = False

    async def attack(names: tuple[str, ...]) -> None:
        for name in itertools.cycle(names):
            if stopped:
                return
            try:
                await host.cast(name, {}, caller=ATTACKER)
            except LlmspellError:
                await asyncio.sleep(PAUSE_SECONDS)  # refused at the door

    orders = [programs[at:] + programs[:at] for at in range(ATTACKERS)] if programs else []
    attackers = [asyncio.ensure_future(attack(order)) for order in orders]
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        outcome = await host.cast("echo", {"text": "hello"}, caller=HONEST)
        times.append(time.perf_counter() - began)
        assert outcome.ok, outcome
        await asyncio.sleep(PAUSE_SECONDS)
    stopped = True
    await asyncio.gather(*attackers)
    return sorted(times)


async def run(project: Path, seconds: float) -> None:
    """Measure every class in one host, and print the table."""
    print(f"{ATTACKERS} attackers at a time")
    print(f"{'':22} {'casts':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    async with Host.open(project, watch=False) as host:
        for _ in range(20):
            await host.cast("echo", {"text": "warm"}, caller=HONEST)
        for name, programs in CLASSES.items():
            times = await measure(host, programs, seconds)
            shown = (times[len(times) * part // 100] for part in (50, 99))
            columns = " ".join(f"{each * 1e3:8.1f}" for each in (*shown, times[-1]))
            print(f"{name:22} {len(times):6} {columns}", flush=True)


def main() -> None:
    """Make a project of the attacks and an echo, measure, and remove it."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory)
        (project / "spells").mkdir()
        (project / "llmspell.toml").write_text('models.default = "scripted/echo"\n', "utf-8")
        for name in itertools.chain(*CLASSES.values()):
            source = (PROGRAMS / f"{name}.lua").read_text(encoding="utf-8")
            (project / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
        for name in ("echo", "honest"):
            source = ECHO.replace('name = "echo"', f'name = "{name}"')
            (project / "spells" / f"{name}.lua").write_text(source, encoding="utf-8")
        collect_seldom()  # as an owner does
        asyncio.run(run(project, seconds))


if __name__ == "__main__":
    main()
