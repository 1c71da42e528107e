"""`server.json`, by which the MCP registry knows llmspell.

The rules are those of the schema of 2025-12-11 and of the registry itself, which
refuses a package whose description on PyPI does not name the server.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from llmspell import __version__

ROOT = Path(__file__).parent.parent
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))


def test_the_registry_entry_is_of_the_schema_it_names() -> None:
    assert SERVER["$schema"].endswith("/schemas/2025-12-11/server.schema.json")
    assert SERVER.keys() == {"$schema", "name", "title", "description", "version", "packages"}
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert 3 <= len(SERVER["name"]) <= 200
    assert 1 <= len(SERVER["title"]) <= 100
    assert 1 <= len(SERVER["description"]) <= 100


def test_the_registry_entry_is_of_this_version() -> None:
    assert SERVER["version"] == __version__
    assert [package["version"] for package in SERVER["packages"]] == [__version__]


def test_the_registry_entry_names_the_package_and_the_command_of_the_bridge() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [package] = SERVER["packages"]
    assert (package["registryType"], package["identifier"]) == ("pypi", project["name"])
    assert package["identifier"] in project["scripts"]
    assert package["runtimeHint"] == "uvx"
    assert package["transport"] == {"type": "stdio"}
    option, command = package["packageArguments"]
    assert (option["type"], option["name"]) == ("named", "--project")
    assert command == {"type": "positional", "value": "stdio"}


def test_the_readme_says_that_the_package_is_that_server() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- mcp-name: {SERVER['name']} -->" in readme.splitlines()
