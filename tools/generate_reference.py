"""Write docs/reference from the code, or check that it is what the code would write.

    python tools/generate_reference.py [--check]

Each page has one source: the settings models, the catalogue of errors, the tree of
commands. Nothing is written here that the code says already; what a reader must know
besides stands in the introductions below.
"""

from __future__ import annotations

import difflib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from typer.core import TyperCommand, TyperGroup

from llmspell.cli.app import app
from llmspell.config import ENVIRONMENT_PREFIX, Settings
from llmspell.durations import duration_text, seconds_of
from llmspell.errors import CATALOGUE, InternalError, LlmspellError
from llmspell.sizes import bytes_of

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"

_NOTICE = "<!-- Written by `make docs`; edit the code it is made from. -->"

_SETTINGS = """\
# Settings

A setting is taken from the first of these that has it: a flag of the command, an environment
variable, the project's `llmspell.toml`, the user's own `~/.config/llmspell/config.toml`, the
default. An unknown key is an error, wherever it stands.

The environment variable of `key` in `[section]` is `LLMSPELL_SECTION__KEY`; its value is read as
TOML, and a bare word as a string. Four variables are no settings: `LLMSPELL_PROJECT`,
`LLMSPELL_STATE` and `LLMSPELL_CONFIG` say where the project, the state directory and the settings
file are, as `--project`, `--state` and `--config` do, and `LLMSPELL_ALLOW_NETWORK=0` refuses every
model that is not scripted.

A duration is a number of seconds, or a text with one of the units `ms`, `s`, `m`, `h`, `d` and
`w`: `"30d"`. A size is a number of bytes, or a text such as `"500MB"` or `"1GiB"`.

A key is never written into a setting, only named there: `${env:NAME}` is an environment variable,
`${file:PATH}` what a file holds."""

_ERRORS = """\
# Errors

Every error has a code from this list, a message, and mostly a hint: what to do. Over MCP it is a
tool result with `isError`, over A2A it ends the task as failed, on the command line it is printed
to stderr; the run that it ended is named in `run_id`. A code below another one is a special case
of it. *Retryable* means that the same call may succeed later, unchanged."""

_CLI = """\
# Command line

Results go to stdout, everything else to stderr; with `--json` an error goes to stdout too, as
`{"error": ...}`. The exit status is 0 when what was asked for was done, 1 when it failed, 2 when
the command was not understood, and 130 when it was interrupted."""


def _type_name(annotation: Any) -> str:
    """Return how a person would call the values a setting takes."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(argument)}`" for argument in arguments)
    if origin in (UnionType, Union) and arguments[1:] == (NoneType,):
        return _type_name(arguments[0])
    if origin is Annotated:
        return _written(arguments[1:]) or _type_name(arguments[0])
    if annotation == dict[str, Any]:
        return "table"
    if origin is list:
        inner = _type_name(arguments[0])
        return f"list of {inner}" if inner.startswith("`") else f"list of {inner}s"
    if origin is dict:
        inner = _type_name(arguments[1])
        return "table of " + (inner.replace("list", "lists", 1) if " " in inner else f"{inner}s")
    return {str: "string", int: "integer", float: "number", bool: "boolean"}[annotation]


_WRITTEN: dict[Any, str] = {seconds_of: "duration", bytes_of: "size"}
"""How values are called that are read by these."""


def _written(metadata: Iterable[Any]) -> str | None:
    for item in metadata:
        if isinstance(item, BeforeValidator) and item.func in _WRITTEN:
            return _WRITTEN[item.func]
    return None


def _kind(field: FieldInfo) -> str:
    return _written(field.metadata) or _type_name(field.annotation)


def _setting_row(section: str | None, key: str, field: FieldInfo) -> str:
    default = "none"
    if not field.is_required():
        value: Any = field.get_default(call_default_factory=True)
        if isinstance(value, float) and _kind(field) == "duration":
            value = duration_text(value)
        default = f"`{json.dumps(value)}`" if value is not None else "none"
    path = f"{section}__{key}" if section else key
    variable = f"`{ENVIRONMENT_PREFIX}{path.upper()}`" if section is not None else "none"
    return f"| `{key}` | {_kind(field)} | {default} | {variable} | {field.description} |"


def _setting_table(section: str | None, fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield "| key | type | default | environment | what it does |"
    yield "| --- | --- | --- | --- | --- |"
    for key, field in fields.items():
        yield _setting_row(section, key, field)


def _is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def _sections(
    model: type[BaseModel], title: str = "", path: str = ""
) -> Iterator[tuple[str, str | None, type[BaseModel]]]:
    """Yield the sections below a model, each with its heading and the path of its variables."""
    for name, field in model.model_fields.items():
        inner = f"{title}.{name}" if title else name
        below = f"{path}__{name}" if path else name
        origin, arguments = get_origin(field.annotation), get_args(field.annotation)
        if _is_section(field.annotation):
            section: Any = field.annotation
            yield f"[{inner}]", below, section
            yield from _sections(section, inner, below)
        elif origin is dict and _is_section(arguments[1]):
            yield f"[{inner}.NAME]", f"{below}__NAME", arguments[1]
        elif origin is list and _is_section(arguments[0]):
            yield f"[[{inner}]]", None, arguments[0]


def _plain(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model that are no sections of their own."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        if not any(map(_is_section, kinds)):
            found[name] = field
    return found


def _settings_page() -> Iterator[str]:
    yield _SETTINGS
    yield "\n## At the top of the file\n"
    yield from _setting_table("", _plain(Settings))
    for title, path, model in _sections(Settings):
        # Each class says "`[section]`: what it is about."; the heading says the first half.
        about = inspect.cleandoc(model.__doc__ or "").partition(": ")[2]
        yield f"\n## {title}\n\n{about[:1].upper()}{about[1:]}\n"
        yield from _setting_table(path, _plain(model))


def _errors_page() -> Iterator[str]:
    yield _ERRORS
    # The base class has this code too and would come first; a fault of ours belongs last.
    for code in [*(code for code in CATALOGUE if code != InternalError.code), InternalError.code]:
        kind = CATALOGUE[code]
        yield f"\n## {code}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n"
        parent = kind.__mro__[1]
        facts = [f"class `{kind.__name__}`"]
        if issubclass(parent, LlmspellError) and parent is not LlmspellError:
            facts.append(f"a case of [{parent.code}](#{parent.code.replace('.', '')})")
        if kind.retryable:
            facts.append("retryable")
        yield f"*{', '.join(facts)}*"
        if kind.hint_text:
            yield f"\nHint: {kind.hint_text}."


def _commands(
    command: TyperCommand | TyperGroup, path: str
) -> Iterator[tuple[str, TyperCommand | TyperGroup]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name, child in sorted(command.commands.items()):
            if isinstance(child, TyperCommand | TyperGroup) and not child.hidden:
                yield from _commands(child, f"{path} {name}")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _cli_page() -> Iterator[str]:
    yield _CLI
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    for path, command in _commands(root, "llmspell"):
        # A fixed width: the page must not depend on somebody's terminal.
        context = typer.Context(command, info_name=path, max_content_width=10_000)
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"\n## {path}\n\n```text\n{path} {usage}\n```"
        if command.help:
            yield f"\n{inspect.cleandoc(command.help)}"
        records = [parameter.get_help_record(context) for parameter in command.params]
        rows = [record for record in records if record]
        if rows:
            yield "\n| parameter | what it does |\n| --- | --- |"
            yield from (f"| `{_cell(names)}` | {_cell(about)} |" for names, about in rows)


PAGES = {"cli.md": _cli_page, "settings.md": _settings_page, "errors.md": _errors_page}


def render() -> dict[str, str]:
    """Return the text of every page, by file name."""
    return {
        name: "\n".join([_NOTICE, "", *(line.rstrip() for line in page())]) + "\n"
        for name, page in PAGES.items()
    }


def outdated(directory: Path = REFERENCE) -> list[str]:
    """Return a diff for each page of `directory` that differs from what the code says."""
    found: list[str] = []
    for name, text in render().items():
        path = directory / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        lines = difflib.unified_diff(
            old.splitlines(),
            text.splitlines(),
            str(path),
            f"{path} (as the code says)",
            lineterm="",
        )
        if difference := "\n".join(lines):
            found.append(difference)
    return found


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` print how they differ and return 1 when they do."""
    if arguments == ["--check"]:
        found = outdated()
        if found:
            print(*found, "docs/reference is out of date: run 'make docs'", sep="\n\n")
        return 1 if found else 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in render().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
