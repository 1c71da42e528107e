"""`llmspell init`: makes a project that runs, and says how."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from llmspell.errors import UsageError

LANGUAGES = ("lua",)

FIRST = ("hello.lua", "hello_test.lua")
"""The bundled spell a project begins with, and its test."""

SETTINGS = """\
# Settings of this project. Every key has a default; an unknown key is an error.

[models]
# default = "anthropic/claude-sonnet-4-5"   # answers when an agent names no model

[server]
# port = 7777

# Keys are named here, never written here:
# [providers.anthropic]
# api_key = "${env:ANTHROPIC_API_KEY}"
"""

IGNORED = ".llmspell/"


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where; the working directory by default.")
    ] = Path(),
    language: Annotated[
        str, typer.Option(metavar="L", help="Language of the first spell: lua.")
    ] = "lua",
) -> None:
    """Make a project: settings, a first spell, types for editors."""
    from llmspell.authoring.editor_types import project_files
    from llmspell.host.sources import bundled_spells

    if language not in LANGUAGES:
        raise UsageError(
            f"no spells are written in {language!r}", hint=f"languages: {', '.join(LANGUAGES)}"
        )
    bundled = bundled_spells()
    files = {
        "llmspell.toml": SETTINGS,
        **{f"spells/{name}": (bundled / name).read_text(encoding="utf-8") for name in FIRST},
        **project_files(),
    }
    there = [name for name in files if (directory / name).exists()]
    if there:
        raise UsageError(
            f"{', '.join(there)} in {str(directory.resolve())!r} would be overwritten",
            hint="choose another directory, or move that away",
        )
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _ignore(directory / ".gitignore")
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}", hint="name another directory: llmspell init DIR"
        ) from None
    inside = "" if directory == Path() else f"--project {shlex.quote(str(directory))} "
    typer.echo(f"made a project in {directory.resolve()}; next:")
    typer.echo(f"  llmspell {inside}run hello --arg name=you")
    typer.echo(f"  llmspell {inside}install claude-desktop")


def _ignore(path: Path) -> None:
    """Keep the state directory out of version control; whatever else is ignored stays so."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if IGNORED not in text.splitlines():
        gap = "" if text.endswith("\n") or not text else "\n"
        path.write_text(f"{text}{gap}{IGNORED}\n", encoding="utf-8")
