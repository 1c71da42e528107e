"""The editor types: what a declaration may hold, from the models; what there is, from `editor/`.

The text is for editors that speak LuaLS or EmmyLua, and is what `vocabulary` knows names and
keys from. Nothing in it is ever run.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llmspell.schedule import Schedule
from llmspell.spec.declaration import (
    ALIASES,
    AgentSpec,
    Budget,
    Needs,
    PromptSpec,
    ResourceSpec,
    SpellSpec,
)
from llmspell.values import FunctionRef

_EDITOR = Path(__file__).parent / "editor"

_NOTICE = """\
---@meta {name}
-- Written by `make docs` from what llmspell accepts. For editors; nothing here is ever run.
"""

_CONSTRUCTED: dict[str, type[BaseModel]] = {
    "AgentFields": AgentSpec,
    "SpellFields": SpellSpec,
    "ToolFields": SpellSpec,
    "PromptFields": PromptSpec,
    "ResourceFields": ResourceSpec,
}
"""What a constructor takes. The tables inside are called what their models are."""

_HIDDEN = {
    "SpellFields": {"kind", "line", "complete"},
    "ToolFields": {"kind", "line", "complete", "workflow", "agent", "schedule"},
    "PromptFields": {"line", "complete"},
    "ResourceFields": {"line", "complete"},
    "Needs": {"net", "secrets", "files"},  # nothing grants them, so `spec.reading` refuses them
}
_SPECIAL: dict[tuple[type[BaseModel], str], str] = {
    (AgentSpec, "tools"): "(llmspell.Name|llmspell.Castable)[]",
    (Needs, "tools"): "llmspell.Name[]",
    (AgentSpec, "output"): "llmspell.Fields",
    (SpellSpec, "input"): "llmspell.Fields",
    (SpellSpec, "output"): "llmspell.Fields",
    (SpellSpec, "workflow"): "llmspell.Workflow",
    (SpellSpec, "agent"): "llmspell.Agent",
    (SpellSpec, "prompts"): "llmspell.Prompt[]",
    (SpellSpec, "resources"): "llmspell.Resource[]",
    (PromptSpec, "arguments"): "llmspell.Fields",
    (PromptSpec, "messages"): "string|fun(arguments: table, ctx: llmspell.Context): any",
    (ResourceSpec, "params"): "llmspell.Fields",
    (ResourceSpec, "read"): "fun(params: table, ctx: llmspell.Context): any",
}
"""Fields that a constructor's value or a shorthand stands for."""

_TEXT: set[tuple[type[BaseModel], str]] = {
    (Budget, "seconds"),
    (Schedule, "every"),
    (SpellSpec, "schedule"),
}
"""Fields that may also be written as a text."""

_PLAIN: dict[Any, str] = {
    dict[str, Any]: "table",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Any: "any",
    FunctionRef: "fun(input: any, ctx: llmspell.Context): any",
}

LUARC = """\
{
  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
  "runtime.version": "Lua 5.4",
  "runtime.builtin": {
    "basic": "disable", "bit": "disable", "bit32": "disable", "coroutine": "disable",
    "debug": "disable", "ffi": "disable", "io": "disable", "jit": "disable", "math": "disable",
    "os": "disable", "package": "disable", "string": "disable", "table": "disable",
    "utf8": "disable"
  },
  "workspace.library": ["spells/.types"],
  "workspace.checkThirdParty": false
}
"""
"""`.luarc.json` of a project: of Lua's library, editors know what a spell has, and no more."""


@cache
def render() -> dict[str, str]:
    """Return the text of each file of `spells/.types`, by its name."""
    parts = ["\n".join(_declarations()), _read("api.lua"), _read("library.lua")]
    return {
        "llmspell.lua": "\n".join([_NOTICE.format(name="llmspell"), *parts]),
        "llmspell_test.lua": "\n".join(
            [_NOTICE.format(name="llmspell_test"), _read("testing.lua")]
        ),
    }


def project_files() -> dict[str, str]:
    """Return what an editor needs in a project, by path."""
    return {f"spells/.types/{name}": text for name, text in render().items()} | {
        ".luarc.json": LUARC
    }


def _read(name: str) -> str:
    return (_EDITOR / name).read_text(encoding="utf-8")


def _declarations() -> Iterator[str]:
    yield f"{'-' * 64} declarations\n"
    inner = {model.__name__: model for model in _inner(*_CONSTRUCTED.values())}
    for name, model in {**inner, **_CONSTRUCTED}.items():
        yield f"---{(model.__doc__ or '').partition(chr(10))[0]}"
        if name == "SpellFields":
            yield "---Exactly one of `run`, `workflow` and `agent`."
        yield f"---@class llmspell.{name}"
        for field, info in model.model_fields.items():
            if field in _HIDDEN.get(name, ()):
                continue
            yield f"---@field {field}? {_type(model, field, info)} {info.description}"
            if model is SpellSpec and field in ALIASES:
                other = ALIASES[field]
                yield f"---@field {other}? {_type(model, field, info)} The same as `{field}`."
        yield ""


def _inner(*models: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the models of the tables that stand inside those of `models`."""
    for model in models:
        for field, info in model.model_fields.items():
            if (model, field) in _SPECIAL:
                continue
            for part in (info.annotation, *get_args(info.annotation)):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    yield from _inner(part)
                    yield part


def _type(model: type[BaseModel], field: str, info: FieldInfo) -> str:
    if (model, field) in _SPECIAL:
        return _SPECIAL[model, field]
    if field == "run":
        return _PLAIN[FunctionRef]
    name = _name(info.annotation)
    return f"string|{name}" if (model, field) in _TEXT else name


def _name(annotation: Any) -> str:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"llmspell.{annotation.__name__}"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name(arguments[0])
    if origin is Literal:
        return "|".join(json.dumps(argument) for argument in arguments)
    if origin in (types.UnionType, Union):
        return "|".join(_name(part) for part in arguments if part is not type(None))
    if origin is tuple:
        inner = _name(arguments[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    raise TypeError(f"no editor type is known for {annotation!r}")
