"""ARCHITECTURE.md names the test that holds each invariant, and that test exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
INVARIANTS = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Invariants")[2]


def test_every_invariant_names_what_holds_it() -> None:
    lines = re.findall(r"^\d+\. .*$", INVARIANTS, re.MULTILINE)
    assert len(lines) > 10
    assert [line for line in lines if "tests/" not in line and "contracts in" not in line] == []


def test_every_test_it_names_exists() -> None:
    named = re.findall(r"tests/[\w/]+\.py", INVARIANTS)
    assert [path for path in named if not (ROOT / path).is_file()] == []
