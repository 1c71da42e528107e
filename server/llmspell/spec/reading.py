"""Read a script's declaration into a `SpellSpec`, and say what is wrong with it, where.

Knows the forms a declaration arrives in (see `runtime.engine`) and nothing of
any script language beyond how a key looks in its source.
"""

from __future__ import annotations

from typing import Any, cast

from llmspell.errors import SpecError, SpecMissing, SpecUnsupportedNeed
from llmspell.schedule import Schedule
from llmspell.spec.declaration import (
    ALIASES,
    AgentLimits,
    AgentSpec,
    Budget,
    Example,
    Expose,
    Limits,
    Needs,
    SpellSpec,
)
from llmspell.spec.fields import (
    UNGRANTED,
    build,
    check_keys,
    line_of,
    read_list,
    read_schema,
    read_section,
)
from llmspell.spec.origin import Origin
from llmspell.spec.shorthand import completions_in
from llmspell.spec.workflows import check_placeholders, check_workflow, constructor
from llmspell.values import JSON, FunctionRef, Object

_KINDS = ("spell", "agent", "tool", "workflow")
_CONSTRUCTORS = {"spell": "Spell.create", "tool": "Tool.create"}


def read_spec(declaration: JSON, origin: Origin, *, default_name: str = "") -> SpellSpec:
    """Return the spec of a declaration: a published file's, or an inline one.

    Raises:
        SpecMissing: It declares nothing castable.
        SpecUnknownKey: With a suggestion.
        SpecUnsupportedNeed: It needs what this version can't grant.
        SpecError: Anything else that is wrong, at its line.
    """
    table = cast(Object, declaration) if isinstance(declaration, dict) else {}
    kind = table.get("$kind")
    if kind not in _KINDS:
        what = "nothing" if declaration is None else "no spell, agent, tool or workflow"
        raise SpecMissing(f"the file returns {what}", where=origin.where(0))
    line = line_of(table)
    fields = {key: value for key, value in table.items() if not key.startswith("$")}
    if kind == "agent":
        return _published_agent(fields, line, origin, default_name)
    if kind == "workflow":
        return _published_workflow(table, line, origin, default_name)
    return _spell(cast(Any, kind), fields, line, origin, default_name)


def _spell(kind: Any, fields: Object, line: int, origin: Origin, default_name: str) -> SpellSpec:
    what = _CONSTRUCTORS[kind]
    for name, other in ALIASES.items():
        if other in fields and name not in fields:
            fields[name] = fields.pop(other)
    allowed = set(SpellSpec.model_fields) - {"kind", "line", "complete"}
    if kind == "tool":
        allowed -= {"workflow", "agent", "schedule"}
    check_keys(fields, allowed, what, line, origin)
    for key in ("prompts", "resources"):
        if key in fields:
            raise SpecError(
                f"'{key}' belong to the spell that a file returns", where=origin.where(line, key)
            )
    fields.setdefault("name", default_name)
    ways = [way for way in ("run", "workflow", "agent") if fields.get(way) is not None]
    if len(ways) != 1:
        want = "run" if kind == "tool" else "exactly one of run, workflow and agent"
        got = " and ".join(ways) or "none"
        raise SpecError(f"{what} needs {want}; it has {got}", where=origin.where(line))
    if ways == ["run"] and not isinstance(fields["run"], FunctionRef):
        raise SpecError(f"'run' in {what} must be a function", where=origin.where(line, "run"))
    if ways == ["workflow"]:
        check_workflow(fields["workflow"], origin, line, _castable)
    if ways == ["agent"]:
        fields["agent"] = _inline_agent(fields["agent"], line, origin)
    complete = completions_in(fields.get("input"))
    _schemas(fields, what, line, origin)
    if ways == ["workflow"]:
        check_placeholders(fields["workflow"], fields.get("input"), origin, line)
    if isinstance(fields.get("schedule"), str):
        fields["schedule"] = {"cron": fields["schedule"]}
    for name, model in (
        ("budget", Budget),
        ("limits", Limits),
        ("needs", Needs),
        ("expose", Expose),
        ("schedule", Schedule),
    ):
        if name in fields:
            fields[name] = read_section(model, fields[name], f"{name} of {what}", line, origin)
    if "examples" in fields:
        fields["examples"] = [
            read_section(Example, item, f"examples of {what}", line, origin)
            for item in read_list(fields["examples"], "examples", what, line, origin)
        ]
    everything = {**fields, "kind": kind, "line": line, "complete": complete}
    spec = build(SpellSpec, everything, what, line, origin)
    _grantable(spec.needs, line, origin)
    return spec


def _inline_agent(value: JSON, line: int, origin: Origin) -> AgentSpec:
    if isinstance(value, dict) and cast(Object, value).get("$kind") == "agent":
        declaration = cast(Object, value)
        fields = {key: item for key, item in declaration.items() if not key.startswith("$")}
        return _agent(fields, line_of(declaration), origin)
    raise SpecError(
        "'agent' in Spell.create must be made by Agent.create", where=origin.where(line, "agent")
    )


def _agent(fields: Object, line: int, origin: Origin) -> AgentSpec:
    what = "Agent.create"
    check_keys(fields, set(AgentSpec.model_fields), what, line, origin)
    if "limits" in fields:
        fields["limits"] = read_section(
            AgentLimits, fields["limits"], f"limits of {what}", line, origin
        )
    if fields.get("output") is not None:
        fields["output"] = read_schema(fields["output"], "output", what, line, origin, closed=True)
    if "tools" in fields:
        tools = read_list(fields["tools"], "tools", what, line, origin)
        for tool in tools:
            _castable(tool, "tools", what, line, origin)
        fields["tools"] = [_target(tool) for tool in tools]
    return build(AgentSpec, fields, what, line, origin)


def _published_agent(fields: Object, line: int, origin: Origin, default_name: str) -> SpellSpec:
    fields.setdefault("name", default_name)
    agent = _agent(fields, line, origin)
    spec = {
        "kind": "agent",
        "name": agent.name,
        "title": agent.title,
        "description": agent.description,
        "input": {
            "type": "object",
            "properties": {"prompt": {"type": "string", "description": "What to answer."}},
            "required": ["prompt"],
            "additionalProperties": False,
        },
        "output": agent.output,
        "agent": agent,
        "line": line,
    }
    return build(SpellSpec, spec, "Agent.create", line, origin)


def _published_workflow(table: Object, line: int, origin: Origin, default_name: str) -> SpellSpec:
    check_workflow(table, origin, line, _castable)
    check_placeholders(table, None, origin, line)
    return build(
        SpellSpec,
        {
            "kind": "workflow",
            "name": table.get("name") or default_name,
            "description": table.get("description", ""),
            "workflow": table,
            "line": line,
        },
        constructor(table),
        line,
        origin,
    )


def _castable(value: JSON, key: str, what: str, line: int, origin: Origin) -> None:
    """Check an inline declaration now, rather than in the middle of a cast."""
    if isinstance(value, str | FunctionRef):
        return
    kind = cast(Object, value).get("$kind") if isinstance(value, dict) else None
    if kind == "ref":
        return
    if kind not in _KINDS:
        raise SpecError(
            f"'{key}' in {what} holds something that cannot be cast",
            hint="write a name in quotes, or a spell, agent, tool or workflow",
            where=origin.where(line, key),
        )
    spec = read_spec(value, origin, default_name="inline")
    if spec.schedule is not None:
        raise SpecError(
            f"{spec.name!r} is part of another declaration, and nothing casts that by itself",
            hint="a schedule belongs to the spell that a file returns",
            where=origin.where(spec.line, "schedule"),
        )
    if spec.prompt:
        raise SpecError(
            f"{spec.name!r} is part of another declaration, which has no prompts of its own",
            hint="a prompt belongs to the spell that a file returns",
            where=origin.where(spec.line, "prompt"),
        )


def _target(value: JSON) -> str | Object:
    table = cast(Object, value) if isinstance(value, dict) else {}
    return str(table["name"]) if table.get("$kind") == "ref" else cast("str | Object", value)


def _schemas(fields: Object, what: str, line: int, origin: Origin) -> None:
    if fields.get("input") is not None:
        fields["input"] = read_schema(fields["input"], "input", what, line, origin, closed=True)
        if fields["input"].get("type") != "object":
            raise SpecError(
                f"'input' in {what} must be an object", where=origin.where(line, "input")
            )
    if fields.get("output") is not None:
        fields["output"] = read_schema(fields["output"], "output", what, line, origin, closed=False)


def _grantable(needs: Needs, line: int, origin: Origin) -> None:
    for key in sorted(UNGRANTED):
        if getattr(needs, key):
            raise SpecUnsupportedNeed(
                f"'needs.{key}' cannot be granted: this version gives spells no {key}",
                hint=f"remove {key} from needs",
                where=origin.where(line, key),
            )
