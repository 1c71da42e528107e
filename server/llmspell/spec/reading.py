"""Read a script's declaration into a `SpellSpec`, and say what is wrong with it, where.

Knows the forms a declaration arrives in (see `runtime.engine`) and nothing of
any script language beyond how a key looks in its source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel

from llmspell.errors import (
    SpecError,
    SpecMissing,
    SpecUnknownPlaceholder,
    SpecUnsupportedNeed,
)
from llmspell.schedule import Schedule
from llmspell.spec.complaints import kind_of
from llmspell.spec.declaration import (
    STEP_TARGETS,
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
    read_list,
    read_schema,
    read_section,
)
from llmspell.spec.origin import Origin
from llmspell.spec.placeholders import unfilled
from llmspell.spec.shorthand import completions_in
from llmspell.values import JSON, FunctionRef, Object

MAX_STEPS = 200
"""Most steps of one workflow node; nodes nest."""

_KINDS = ("spell", "agent", "tool", "workflow")
_CONSTRUCTORS = {"spell": "Spell.create", "agent": "Agent.create", "tool": "Tool.create"}
_SPELL_ONLY_RENAMES = {"params": "input"}
_STEP_KEYS = frozenset(
    {"agent", "tool", "spell", "workflow", "prompt", "input", "args", "name", "tools"}
)
_WORKFLOW_KEYS = {
    "sequential": frozenset({"type", "name", "description", "steps"}),
    "parallel": frozenset({"type", "name", "description", "steps", "branches", "limit"}),
}


def constructor(kind: str, declaration: Object) -> str:
    """Return how the author wrote this kind, e.g. `Agent.create`."""
    if kind == "workflow":
        return f"Workflow.{declaration.get('type', 'sequential')}"
    return _CONSTRUCTORS[kind]


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


def read_agent(declaration: Object, origin: Origin) -> AgentSpec:
    """Return the agent of an `Agent.create` declaration.

    Raises:
        SpecError: With file and line.
    """
    line = line_of(declaration)
    fields = {key: value for key, value in declaration.items() if not key.startswith("$")}
    return _agent(fields, line, origin)


def line_of(table: Object) -> int:
    """Return the line of a declaration in its file, 0 when it is not known."""
    # Constructors set it, but any table may come from a file.
    line = table.get("$line")
    return line if isinstance(line, int) else 0


def functions_in(value: Any) -> Iterator[FunctionRef]:
    """Yield every function a declaration or spec refers to."""
    if isinstance(value, FunctionRef):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from functions_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in cast(Mapping[Any, Any], value).values():
            yield from functions_in(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[Any]", value):
            yield from functions_in(item)


def _spell(kind: Any, fields: Object, line: int, origin: Origin, default_name: str) -> SpellSpec:
    what = _CONSTRUCTORS[kind]
    for old, new in _SPELL_ONLY_RENAMES.items():
        if old in fields and new not in fields:
            fields[new] = fields.pop(old)
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
        check_workflow(fields["workflow"], origin, line)
    if ways == ["agent"]:
        fields["agent"] = _inline_agent(fields["agent"], line, origin)
    complete = completions_in(fields.get("input"))
    _schemas(fields, what, line, origin)
    if ways == ["workflow"]:
        _check_placeholders(fields["workflow"], fields.get("input"), origin, line)
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
        return read_agent(cast(Object, value), origin)
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
    check_workflow(table, origin, line)
    _check_placeholders(table, None, origin, line)
    return build(
        SpellSpec,
        {
            "kind": "workflow",
            "name": table.get("name") or default_name,
            "description": table.get("description", ""),
            "workflow": table,
            "line": line,
        },
        constructor("workflow", table),
        line,
        origin,
    )


def check_workflow(value: JSON, origin: Origin, line: int) -> None:
    """Check a workflow's shape, its steps included.

    Raises:
        SpecError: With file and line.
    """
    node = cast(Object, value) if isinstance(value, dict) else {}
    if node.get("$kind") != "workflow":
        raise SpecError(
            "'workflow' must be made by Workflow.sequential or Workflow.parallel",
            where=origin.where(line, "workflow"),
        )
    line = line_of(node) or line
    what = constructor("workflow", node)
    fields = {key: item for key, item in node.items() if not key.startswith("$")}
    check_keys(fields, set(_WORKFLOW_KEYS.get(str(node.get("type")), ())), what, line, origin)
    limit = node.get("limit")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise SpecError(f"'limit' in {what} must be a positive integer", where=origin.where(line))
    _name(node, what, line, origin)
    branches: Any = node.get("branches") or {}
    if not isinstance(branches, dict):
        raise SpecError(
            f"'branches' in {what} must be a table of named steps",
            hint="steps without names stand in the table of Workflow.parallel itself",
            where=origin.where(line, "branches"),
        )
    steps = read_list(node.get("steps") or [], "steps", what, line, origin)
    if not branches and not steps:
        raise SpecError(f"{what} has no steps", where=origin.where(line))
    if branches and steps:
        raise SpecError(
            f"{what} has both named branches and a list of steps",
            hint="put every step into branches, or leave all unnamed",
            where=origin.where(line),
        )
    everything = [*steps, *cast(Object, branches).values()]
    if len(everything) > MAX_STEPS:
        raise SpecError(
            f"{what} has {len(everything)} steps; the limit is {MAX_STEPS}",
            hint="nest workflows, or loop in a run function",
            where=origin.where(line),
        )
    for step in everything:
        _check_step(step, what, line, origin)


def _check_placeholders(
    workflow: Object, input_schema: Object | None, origin: Origin, line: int
) -> None:
    for found in unfilled(workflow, input_schema):
        raise SpecUnknownPlaceholder(
            f"nothing fills the placeholder '{found.text}'",
            hint=found.hint,
            where=origin.where_text(line, found.text),
        )


def _check_step(step: JSON, what: str, line: int, origin: Origin) -> None:
    if isinstance(step, str | FunctionRef):
        return
    if not isinstance(step, dict):
        raise SpecError(
            f"a step of {what} is {kind_of(step)}",
            hint="a step is an agent, a tool, a spell, a workflow, a function, a name in quotes, "
            "or a table that names one",
            where=origin.where(line),
        )
    table = cast(Object, step)
    if table.get("$kind") == "workflow":
        check_workflow(table, origin, line)
        return
    if "$kind" in table:
        _castable(table, "steps", what, line, origin)
        return
    check_keys(table, set(_STEP_KEYS), f"a step of {what}", line, origin)
    targets = [key for key in STEP_TARGETS if key in table]
    if len(targets) != 1:
        raise SpecError(
            f"a step of {what} needs exactly one of {', '.join(STEP_TARGETS)}",
            where=origin.where(line),
        )
    _name(table, f"a step of {what}", line, origin)
    for tool in read_list(table.get("tools"), "tools", f"a step of {what}", line, origin):
        _castable(tool, "tools", f"a step of {what}", line, origin)
    target = table[targets[0]]
    if "tools" in table:
        _check_step_tools(table["tools"], targets[0], target, what, line, origin)
    if targets[0] == "workflow":
        check_workflow(target, origin, line)
    else:
        _castable(target, targets[0], f"a step of {what}", line, origin)


def _name(table: Object, what: str, line: int, origin: Origin) -> None:
    if not isinstance(table.get("name", ""), str):
        raise SpecError(f"'name' in {what} must be a string", where=origin.where(line, "name"))


def _check_step_tools(
    tools: JSON, kind: str, target: JSON, what: str, line: int, origin: Origin
) -> None:
    """Check the tools a step gives its agent instead of its own."""
    if kind != "agent":
        raise SpecError(
            f"a step of {what} gives tools to a {kind}; only agents take tools",
            where=origin.where(line, "tools"),
        )
    is_inline = isinstance(target, dict) and cast(Object, target).get("$kind") == "agent"
    for tool in read_list(tools, "tools", f"a step of {what}", line, origin):
        if not isinstance(tool, str) and not is_inline:
            raise SpecError(
                f"a step of {what} gives a published agent a tool that is no name",
                hint="its code lives in another file: publish the tool, and write its name",
                where=origin.where(line, "tools"),
            )
        _castable(tool, "tools", f"a step of {what}", line, origin)


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
