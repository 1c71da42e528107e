"""What must hold of the repository itself: what is tracked, what is locked, what is declared."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("server/**/*.py"), *ROOT.glob("protocols/**/*.py")])

STANDARD = sys.stdlib_module_names
NAME_END = r"[\[<>=!~; ]"

# Put together here so that this file passes its own test.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
    )
)
MACHINE_PATHS = tuple("/".join(parts) for parts in (("", "work", ""), ("", "root", "")))
SHARED = "/".join(("..", "shared"))


@cache
def tracked() -> tuple[Path, ...]:
    """Return every file that is tracked, or would be if all were added now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a binary fixture


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def normal(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Return the version a lock gives each distribution."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, flags=re.MULTILINE)
    return {normal(name): version for name, version in found}


def test_no_tracked_file_names_the_host_of_a_package_registry() -> None:
    found = [(name, host) for name, text in texts() for host in REGISTRIES if host in text]
    assert found == []


def test_no_tracked_file_names_a_path_of_somebodys_machine() -> None:
    found = [(name, path) for name, text in texts() for path in MACHINE_PATHS if path in text]
    assert found == []


def test_only_the_ci_script_names_what_lies_beside_the_repository() -> None:
    assert [name for name, text in texts() if SHARED in text] == [".ci/run"]


def test_the_lock_of_uv_is_not_tracked() -> None:
    assert [path for path in tracked() if path.name == "uv.lock"] == []


def test_the_npm_lock_says_what_a_package_is_and_not_where_it_came_from() -> None:
    path = ROOT / "tests" / "interop" / "package-lock.json"
    packages = json.loads(path.read_text(encoding="utf-8"))["packages"]
    installed = {name: package for name, package in packages.items() if name}
    assert len(installed) > 3
    assert [name for name, package in installed.items() if "resolved" in package] == []
    assert [name for name, package in installed.items() if "integrity" not in package] == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_pins_every_distribution_with_a_hash_and_holds_no_option(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(blocks) == len(pins(lock)) > 20
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert re.findall(r"^--.*", text, flags=re.MULTILINE) == []


def test_the_development_lock_holds_the_run_time_lock_in_the_same_versions() -> None:
    development = pins("requirements-dev.txt")
    assert {
        name: (version, development.get(name))
        for name, version in pins("requirements.txt").items()
        if development.get(name) != version
    } == {}


def test_the_locks_hold_the_build_backend_and_whatever_is_declared() -> None:
    backend = {
        normal(re.split(NAME_END, line)[0]) for line in pyproject()["build-system"]["requires"]
    }
    assert (declared() | backend) - pins("requirements.txt").keys() == set()


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def imported() -> dict[str, str]:
    """Return every foreign package the product imports, with a file that does."""
    found: dict[str, str] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            for module in modules:
                found.setdefault(module.partition(".")[0], str(path.relative_to(ROOT)))
    ours = {"llmspell", "llmspell_protocols"}
    return {name: file for name, file in found.items() if name not in ours | STANDARD}


def declared() -> set[str]:
    """Return the distributions the product declares it needs."""
    return {normal(re.split(NAME_END, line)[0]) for line in pyproject()["project"]["dependencies"]}


def test_every_library_the_product_imports_is_a_declared_dependency() -> None:
    homes = packages_distributions()
    undeclared = {
        package: file
        for package, file in imported().items()
        if not declared() & {normal(name) for name in homes.get(package, [package])}
    }
    assert undeclared == {}


def test_every_declared_dependency_is_imported() -> None:
    homes = packages_distributions()
    used = {normal(name) for package in imported() for name in homes.get(package, [])}
    assert declared() - used == {"tzdata"}  # what zoneinfo imports by name


def test_every_entry_point_leads_to_something() -> None:
    project = pyproject()["project"]
    targets = [*project["scripts"].values()]
    for group in project["entry-points"].values():
        targets += group.values()
    assert len(targets) >= 6
    for target in targets:
        module, _, name = target.partition(":")
        assert callable(getattr(import_module(module), name))


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
