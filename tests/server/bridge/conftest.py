"""A fresh project for each test, its owner ended afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.owners import OwnedProject, owned_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[OwnedProject]:
    with owned_project(tmp_path / "project") as made:
        yield made
