"""What an installation contains: two packages, the bundled spells, and nothing besides."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [path] = directory.iterdir()
    return zipfile.ZipFile(path)


def test_an_installation_adds_two_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "llmspell",
        "llmspell_protocols",
    }


def test_an_installation_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    installed = set(wheel.namelist())
    for root in (ROOT / "server", ROOT / "protocols"):
        sources = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        missing = {str(path.relative_to(root)) for path in sources} - installed
        assert missing == set()
    assert {"llmspell/py.typed", "llmspell_protocols/py.typed"} <= installed


def test_an_installation_holds_the_bundled_spells_and_both_licences(wheel: zipfile.ZipFile) -> None:
    installed = set(wheel.namelist())
    spells = [path for path in (ROOT / "spells").rglob("*") if path.is_file()]
    assert spells
    assert {f"llmspell/spells/{path.relative_to(ROOT / 'spells')}" for path in spells} <= installed
    licences = {name.rpartition("/")[2] for name in installed if "/licenses/" in name}
    assert licences == {"LICENSE-MIT", "LICENSE-APACHE"}
