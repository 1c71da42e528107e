"""Hosts of small projects, opened in this process, for tests of what a cast does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from llmspell.clock import Clock
from llmspell.config import Project, open_project
from llmspell.host.host import Host

SLICE_SECONDS = 0.3
"""What a script may compute in these tests: short, so that a loop without end is soon ended."""


def write_spells(root: Path, spells: Mapping[str, str]) -> None:
    """Write the spells of a project: each source under its name."""
    for name, source in spells.items():
        path = root / "spells" / f"{name}.lua"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    (root / "llmspell.toml").touch()


def project(root: Path, **settings: str) -> Project:
    """Return the project in `root`; settings are given as `section__key="value"`."""
    return open_project(
        root,
        environ={
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / ".config"),
            "LLMSPELL_ALLOW_NETWORK": "0",
            "LLMSPELL_LIMITS__SLICE_SECONDS": str(SLICE_SECONDS),
            "LLMSPELL_LIMITS__LOAD_SECONDS": str(SLICE_SECONDS),
            "LLMSPELL_MODELS__DEFAULT": "scripted/echo",
            **{f"LLMSPELL_{name.upper()}": value for name, value in settings.items()},
        },
    )


@asynccontextmanager
async def open_host(
    root: Path,
    spells: Mapping[str, str] | None = None,
    *,
    state: Literal["rocksdb", "memory"] = "memory",
    clock: Clock | None = None,
    watch: bool = False,
    **settings: str,
) -> AsyncGenerator[Host]:
    """Open a host on a project of these spells."""
    write_spells(root, spells or {})
    opened = project(root, **settings)
    async with Host.open(opened, state=state, clock=clock, watch=watch) as host:
        assert not host.catalogue().problems, host.catalogue().problems
        yield host
