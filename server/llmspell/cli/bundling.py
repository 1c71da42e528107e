"""An MCP bundle (MCPB, manifest 0.4): a project, and what installs and starts llmspell for it.

The server is of type `uv`: the client makes the environment from `pyproject.toml`,
with wheels for its own machine, so a bundle holds no code but the spells and a
few lines. The same project gives the same bytes.

Source: github.com/modelcontextprotocol/mcpb, MANIFEST.md and the schema of 0.4.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from llmspell import __version__
from llmspell.bridge.places import PROJECT_FILE
from llmspell.errors import UsageError
from llmspell.values import Object

MAX_BYTES = 64 << 20
"""Largest sum of a project's files; more is a mistake, not a set of spells."""

ICON = "icon.png"
PLATFORMS = ["darwin", "linux"]

_NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_VERSION = re.compile(r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:[-+][0-9A-Za-z.+-]+)?")
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The oldest time a ZIP file can say."""

SERVER = '''\
"""Starts the bridge to this bundle's spells; what they remember outlives the bundle."""

import os
import sys
from pathlib import Path

from llmspell.bridge.places import user_data_directory
from llmspell.cli import main

# A setting that is left empty arrives as it stands in the manifest.
given = ["" if text.startswith("${") else text for text in sys.argv[1:]]
project, state, *_ = [*given, "", ""]
options = ["--project", project or str(Path(__file__).resolve().parent / "project")]
if state or not project:
    options += ["--state", state or str(user_data_directory(os.environ) / "bundles" / NAME)]
sys.argv[1:] = [*options, "stdio"]
main()
'''


BUNDLED = "No spells are here, so those that come with llmspell are published.\n"


class Description(NamedTuple):
    """What a client shows of a bundle."""

    name: str
    title: str
    author: str
    version: str

    @classmethod
    def of(
        cls,
        root: Path,
        *,
        name: str | None = None,
        author: str | None = None,
        version: str | None = None,
    ) -> Description:
        """Return a description, with what was not given taken from the project's directory.

        Raises:
            UsageError: A name or a version has a form that clients refuse.
        """
        made = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-") or "spells"
        chosen = name if name is not None else made
        if not _NAME.fullmatch(chosen):
            raise UsageError(
                f"{chosen!r} is no name of a bundle",
                hint="small letters and digits, with single '-' or '_' between them",
            )
        version = version if version is not None else __version__
        if not _VERSION.fullmatch(version):
            raise UsageError(f"{version!r} is no version", hint="like 1.0.0 (semver.org)")
        title = name if name is not None else root.name or chosen
        return cls(chosen, title, author or f"the authors of {title}", version)


def bundle(description: Description, root: Path) -> bytes:
    """Return the bundle of a project: its settings, its spells with their modules, its icon.

    A project without spells of its own publishes those that come with llmspell.

    Raises:
        UsageError: A file can't be read, or there are more than `MAX_BYTES`.
    """
    files = {
        "manifest.json": _json(manifest(description, has_icon=(root / ICON).is_file())),
        "pyproject.toml": _pyproject(description).encode(),
        "server.py": SERVER.replace("NAME", json.dumps(description.name)).encode(),
        **dict(_project_files(root)),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, whatever made it
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def manifest(description: Description, *, has_icon: bool = False) -> Object:
    """Return what `manifest.json` says."""
    icon = {"icon": ICON} if has_icon else {}
    return {
        "manifest_version": "0.4",
        "name": description.name,
        "display_name": description.title,
        "version": description.version,
        "description": f"The spells of {description.title}, published by llmspell.",
        "author": {"name": description.author},
        **icon,
        "server": {
            "type": "uv",
            "entry_point": "server.py",
            "mcp_config": {
                "command": "uv",
                # As arguments: not every client passes variables on to the server.
                "args": [
                    *("run", "--directory", "${__dirname}", "server.py"),
                    *("${user_config.project}", "${user_config.state}"),
                ],
            },
        },
        "tools_generated": True,
        "prompts_generated": True,
        "keywords": ["mcp", "lua", "spells"],
        "compatibility": {"platforms": PLATFORMS, "runtimes": {"python": ">=3.11"}},
        "user_config": {
            "project": {
                "type": "directory",
                "title": "Project directory",
                "description": "A project of your own, instead of the spells in this bundle.",
                "required": False,
            },
            "state": {
                "type": "directory",
                "title": "State directory",
                "description": "Where the spells keep what they remember; else the usual place.",
                "required": False,
            },
        },
    }


def write_bundle(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a bundle to a file.

    Raises:
        UsageError: The file exists and is not to be replaced, or can't be written.
    """
    try:
        with path.open("wb" if replace else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise UsageError(f"{path} exists", hint="--force replaces it") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="") from None


def _json(value: Object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"


def _pyproject(description: Description) -> str:
    return (
        # Not the plain name: a bundle called llmspell must not be taken for what it needs.
        f'[project]\nname = "{description.name}-bundle"\nversion = "{description.version}"\n'
        f'requires-python = ">=3.11"\ndependencies = ["llmspell=={__version__}"]\n\n'
        "[tool.uv]\npackage = false\n"
    )


def _project_files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what goes into a bundle of a project, by name."""
    left = MAX_BYTES
    pairs = [(root / PROJECT_FILE, f"project/{PROJECT_FILE}"), (root / ICON, ICON)]
    for folder in ("spells", "lib"):
        pairs += _visible_files(root / folder, f"project/{folder}")
    if not (root / PROJECT_FILE).is_file() and not (root / "spells").is_dir():
        yield "project/README.md", BUNDLED.encode()
    for path, name in pairs:
        try:
            if not path.is_file():
                continue
            left -= path.stat().st_size
            if left < 0:
                raise UsageError(
                    f"the project's files are larger than {MAX_BYTES >> 20} MiB",
                    hint="keep what is no spell out of spells/ and lib/",
                )
            yield name, path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}", hint="") from None


def _visible_files(directory: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the files under a directory, called `name` in the bundle; hidden ones left out."""
    for parent, folders, files in os.walk(directory):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for file in sorted(files):
            if not file.startswith("."):
                path = Path(parent, file)
                yield path, f"{name}/{path.relative_to(directory).as_posix()}"
