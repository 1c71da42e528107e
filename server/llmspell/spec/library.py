"""Read what a file returns: a spell with its prompts and resources, a prompt, or a resource.

A file that returns a prompt or a resource declares nothing that is cast by its
name; it is read as a `SpellSpec` of that kind which holds the one.
"""

from __future__ import annotations

import re
from typing import Any, Literal, cast

from llmspell.errors import SpecDuplicate, SpecError
from llmspell.spec.declaration import PromptSpec, ResourceSpec, SpellSpec
from llmspell.spec.fields import build, check_keys, line_of, read_list, read_schema
from llmspell.spec.origin import Origin
from llmspell.spec.reading import read_spec
from llmspell.spec.shorthand import completions_in
from llmspell.spec.uri_template import TemplateInvalid, UriTemplate
from llmspell.values import JSON, FunctionRef, Object

_CONSTRUCTORS = {"prompt": "Prompt.create", "resource": "Resource.create"}
_URI = re.compile(r"([a-z][a-z0-9+.\-]*):[^\s{}]+", re.IGNORECASE)
_TEMPLATE = re.compile(r"([a-z][a-z0-9+.\-]*):\S+", re.IGNORECASE)
_OWN_SCHEMES = ("run", "spell", "file", "skill")


def read_file(declaration: JSON, origin: Origin, *, default_name: str = "") -> SpellSpec:
    """Return the spec of what a file returned.

    Raises:
        SpecError: What is wrong with it, at its line; see `reading.read_spec`.
    """
    table = cast(Object, declaration) if isinstance(declaration, dict) else {}
    match table.get("$kind"):
        case "resource":
            resource = read_resource(table, origin, default_name)
            return _holding("resource", resource, resources=(resource,))
        case "prompt":
            prompt = read_prompt(table, origin, default_name)
            return _holding("prompt", prompt, prompts=(prompt,))
        case "spell" | "tool":
            return _spell(table, origin, default_name)
        case _:
            return read_spec(declaration, origin, default_name=default_name)


def _holding(kind: Literal["resource", "prompt"], held: Any, **parts: Any) -> SpellSpec:
    return SpellSpec(
        kind=kind, name=held.name, description=held.description, line=held.line, **parts
    )


def _spell(table: Object, origin: Origin, default_name: str) -> SpellSpec:
    own = {key: value for key, value in table.items() if key not in ("prompts", "resources")}
    spec = read_spec(own, origin, default_name=default_name)
    what = "Tool.create" if spec.kind == "tool" else "Spell.create"

    def listed(key: str, kind: str) -> list[Object]:
        items = read_list(table.get(key), key, what, spec.line, origin)
        for item in items:
            if not isinstance(item, dict) or cast(Object, item).get("$kind") != kind:
                raise SpecError(
                    f"'{key}' in {what} is a list of what {_CONSTRUCTORS[kind]} makes",
                    where=origin.where(spec.line, key),
                )
        return cast("list[Object]", items)

    prompts = [read_prompt(item, origin) for item in listed("prompts", "prompt")]
    resources = [read_resource(item, origin) for item in listed("resources", "resource")]
    for parts in (prompts, resources):
        _check_names(parts, what, origin)
    return spec.model_copy(update={"prompts": tuple(prompts), "resources": tuple(resources)})


def _check_names(parts: list[Any], what: str, origin: Origin) -> None:
    seen: set[str] = set()
    for part in parts:
        if part.name.lower() in seen:
            raise SpecDuplicate(
                f"{what} has two parts named {part.name!r}", where=origin.where(part.line, "name")
            )
        seen.add(part.name.lower())


def read_resource(table: Object, origin: Origin, default_name: str = "") -> ResourceSpec:
    """Return the resource of a `Resource.create` declaration.

    Raises:
        SpecError: With file and line.
    """
    what, line = "Resource.create", line_of(table)
    fields = _fields(table, ResourceSpec, what, origin)
    fields.setdefault("name", default_name)
    _require(fields, ("name", "read"), what, line, origin)
    if not isinstance(fields["read"], FunctionRef):
        raise SpecError(f"'read' in {what} must be a function", where=origin.where(line, "read"))
    given = [key for key in ("uri", "template") if fields.get(key)]
    if len(given) != 1:
        raise SpecError(
            f"{what} needs exactly one of uri and template; it has {' and '.join(given) or 'none'}",
            where=origin.where(line),
        )
    variables = _variables(fields, given[0], line, origin)
    if fields.get("params") is not None:
        if not variables:
            raise SpecError(
                f"'params' in {what} describes the variables of a template",
                where=origin.where(line, "params"),
            )
        fields["complete"] = completions_in(fields["params"])
        fields["params"] = read_schema(fields["params"], "params", what, line, origin, closed=True)
        named: Object = fields["params"].get("properties") or {}
        if unknown := sorted(set(named) - set(variables)):
            raise SpecError(
                f"the template has no variable {unknown[0]!r}",
                hint=f"it has: {', '.join(variables)}",
                where=origin.where(line, unknown[0]),
            )
    return build(ResourceSpec, {**fields, "line": line}, what, line, origin)


def _variables(fields: Object, key: str, line: int, origin: Origin) -> tuple[str, ...]:
    """Check a resource's URI or template; return the variables it has."""
    text = fields[key]
    found = (_URI if key == "uri" else _TEMPLATE).fullmatch(text) if isinstance(text, str) else None
    where = origin.where(line, key)
    if found is None:
        raise SpecError(
            f"'{key}' in Resource.create is no URI",
            hint='write one with a scheme, such as "notes://today" or, with template, '
            '"notes://{name}"',
            where=where,
        )
    if found[1].lower() in _OWN_SCHEMES:
        raise SpecError(f"{found[1]}: is a scheme of llmspell's own", hint="", where=where)
    if key == "uri":
        return ()
    try:
        return UriTemplate(text).variables
    except TemplateInvalid as error:
        raise SpecError(f"'template' in Resource.create: {error}", where=where) from None


def read_prompt(table: Object, origin: Origin, default_name: str = "") -> PromptSpec:
    """Return the prompt of a `Prompt.create` declaration.

    Raises:
        SpecError: With file and line.
    """
    what, line = "Prompt.create", line_of(table)
    fields = _fields(table, PromptSpec, what, origin)
    fields.setdefault("name", default_name)
    _require(fields, ("name", "messages"), what, line, origin)
    if not isinstance(fields["messages"], str | FunctionRef):
        raise SpecError(
            f"'messages' in {what} is a text or a function", where=origin.where(line, "messages")
        )
    if fields.get("arguments") is not None:
        fields["complete"] = completions_in(fields["arguments"])
        fields["arguments"] = read_schema(
            fields["arguments"], "arguments", what, line, origin, closed=True
        )
        if fields["arguments"].get("type") != "object":
            raise SpecError(
                f"'arguments' in {what} must be an object", where=origin.where(line, "arguments")
            )
    return build(PromptSpec, {**fields, "line": line}, what, line, origin)


def _fields(table: Object, model: type[Any], what: str, origin: Origin) -> Object:
    fields = {key: value for key, value in table.items() if not key.startswith("$")}
    allowed = set(model.model_fields) - {"line", "complete"}
    check_keys(fields, allowed, what, line_of(table), origin)
    return fields


def _require(fields: Object, names: tuple[str, ...], what: str, line: int, origin: Origin) -> None:
    for name in names:
        if not fields.get(name):
            raise SpecError(f"{what} needs {name}", where=origin.where(line))
