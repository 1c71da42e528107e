"""The manifest itself: no promise without a test, and no test without a promise."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

from tests.interaction.requirements import BY_ID, ID, MARK, REQUIREMENTS, DoorName

HERE = Path(__file__)


def marked() -> Iterator[tuple[str, str | None]]:
    """Yield every test beside this file, with the promise it holds."""
    for path in sorted(HERE.parent.glob("test_*.py")):
        if path == HERE:
            continue
        module = import_module(f"tests.interaction.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_"):
                yield f"{path.name}::{name}", getattr(function, MARK, None)


def test_every_promise_has_a_test() -> None:
    held = {id for _, id in marked()}
    assert [id for id in BY_ID if id not in held] == []


def test_every_test_holds_a_promise() -> None:
    assert [name for name, id in marked() if id is None] == []


def test_no_promise_is_made_twice() -> None:
    ids = Counter(requirement.id for requirement in REQUIREMENTS)
    sentences = Counter(requirement.sentence for requirement in REQUIREMENTS)
    assert [text for text, count in (ids + sentences).items() if count > 1] == []


def test_every_promise_says_what_where_and_at_which_doors() -> None:
    for requirement in REQUIREMENTS:
        assert ID.fullmatch(requirement.id), requirement.id
        assert requirement.sentence.endswith("."), requirement.id
        assert requirement.source, requirement.id
        assert requirement.doors, requirement.id
        assert set(requirement.doors) <= set(get_args(DoorName)), requirement.id
        assert len(set(requirement.doors)) == len(requirement.doors), requirement.id
