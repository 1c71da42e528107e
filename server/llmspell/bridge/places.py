"""Where things are: the project, its state directory, the user's settings.

The rules stand here, below the settings themselves, because the bridge must
find the state directory without importing anything but the standard library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT_FILE = "llmspell.toml"


def _home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def user_data_directory(environ: Mapping[str, str]) -> Path:
    """Return where the project of a user without a project lives. It need not exist."""
    if sys.platform == "darwin":
        return Path(_home(environ), "Library", "Application Support", "llmspell")
    base = environ.get("XDG_DATA_HOME") or os.path.join(_home(environ), ".local", "share")
    return Path(base, "llmspell")


def user_config_file(environ: Mapping[str, str]) -> Path:
    """Return the user's own settings file. It need not exist."""
    if sys.platform == "darwin":
        return user_data_directory(environ) / "config.toml"
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(_home(environ), ".config")
    return Path(base, "llmspell", "config.toml")


def find_project(explicit: str | None, cwd: str | Path, environ: Mapping[str, str]) -> Path:
    """Return the project directory, absolute and without symbolic links.

    The first that is there: `explicit` (`--project`), `LLMSPELL_PROJECT`, the
    nearest directory from `cwd` upwards that holds an `llmspell.toml`, the
    user's data directory. The directory itself need not exist.
    """
    named = explicit or environ.get("LLMSPELL_PROJECT")
    if named:
        return Path(os.path.realpath(os.path.join(cwd, os.path.expanduser(named))))
    here = Path(os.path.realpath(cwd))
    for directory in (here, *here.parents):
        if (directory / PROJECT_FILE).is_file():
            return directory
    return Path(os.path.realpath(user_data_directory(environ)))


def state_directory(project: Path, explicit: str | None, environ: Mapping[str, str]) -> Path:
    """Return the state directory: `explicit` (`--state`), `LLMSPELL_STATE`, else `.llmspell`.

    A relative name counts from the working directory when it is `explicit`, as
    every path on a command line does, and from the project otherwise.
    """
    if explicit:
        return Path(os.path.realpath(os.path.expanduser(explicit)))
    named = environ.get("LLMSPELL_STATE")
    return Path(os.path.realpath(project / os.path.expanduser(named or ".llmspell")))
