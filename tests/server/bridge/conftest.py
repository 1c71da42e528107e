"""Projects for bridges: a fresh one, and one for tests that leave its owner alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.owners import OwnedProject, owned_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[OwnedProject]:
    with owned_project(tmp_path / "project") as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnedProject]:
    with owned_project(tmp_path_factory.mktemp("shared") / "project") as made:
        made.own()
        yield made
