"""The workflow interpreter: a driver that casts the steps of a workflow.

A workflow is data (`spec.workflows` checks its shape); this gives it its meaning,
for every script language. Sans-I/O, as the agent loop is.

What a step is given, when it has neither `prompt` nor `input` nor `args`:

- A function gets `{input, previous, results}`.
- An agent (under the key `agent`, or declared in place) is asked the workflow's
  input as text and, from the second step on, the previous result under it.
- Anything else gets the workflow's input and, from the second step on, the
  previous result instead. An object that has the fields the target requires is
  its input; anything else is put, as text, into the target's only string field.

Before the first step `previous` is the input itself. A result is kept under
the name of its step or branch, for every later step of the whole workflow;
branches see what was there when they began, and not each other.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from llmspell.components.template import as_text, render_all
from llmspell.effects.effect import CallFunction, Cast, Describe, Effect, Parallel, Record, Settled
from llmspell.effects.messages import ToolOffer
from llmspell.errors import LlmspellError, WorkflowError
from llmspell.spec.declaration import STEP_TARGETS
from llmspell.values import JSON, FunctionRef, Object


def run_workflow(node: Object, input: JSON) -> Generator[Effect, Any, JSON]:
    """Run a workflow and return its last result.

    `Workflow.sequential` gives the result of its last step. `Workflow.parallel`
    gives an object of its branches' results, by name, or a list of its steps'
    results, in their order; the first failure cancels the others.

    Args:
        node: A `Workflow.*` declaration that `spec.workflows.check_workflow` has passed.
        input: What the workflow was cast with.

    Raises:
        TemplateError: A placeholder of a step has no value.
        LlmspellError: A step failed: the step's own error, its message beginning with the
            step's name, which `data["step"]` has too (`outer.inner` when steps nest).
    """
    try:
        return (yield from _node(node, _Scope(input=input, previous=input)))
    except LlmspellError as error:
        step = error.data.get("step")
        if step:
            error.message = _named(step) + error.message
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """What a step can refer to."""

    input: JSON
    previous: JSON
    is_first: bool = True
    results: Object = field(default_factory=dict[str, Any])

    def after(self, result: JSON) -> _Scope:
        return replace(self, previous=result, is_first=False)

    def branch(self) -> _Scope:
        return replace(self, results=dict(self.results))

    def values(self) -> Object:
        return {"input": self.input, "previous": self.previous, "results": self.results}


def _node(node: Object, scope: _Scope) -> Generator[Effect, Any, JSON]:
    steps: list[JSON] = list(node.get("steps") or [])
    if node.get("type") == "parallel":
        branches: Object = node.get("branches") or {}
        if branches and steps:
            raise WorkflowError("a parallel workflow has either branches or a list of steps")
        limit: int | None = node.get("limit")
        if not branches:
            return (yield from _parallel([(None, step) for step in steps], limit, scope))
        names = sorted(branches)
        results = yield from _parallel([(name, branches[name]) for name in names], limit, scope)
        return dict(zip(names, results, strict=True))
    result: JSON = None
    for number, step in enumerate(steps, 1):
        result = yield from _step(step, scope, default_label=f"step {number}")
        scope = scope.after(result)
    return result


def _parallel(
    steps: Sequence[tuple[str | None, JSON]], limit: int | None, scope: _Scope
) -> Generator[Effect, Any, list[JSON]]:
    before = dict(scope.results)
    scopes = [scope.branch() for _ in steps]
    drivers = tuple(
        _step(step, own, name=name, default_label=f"step {number}")
        for number, ((name, step), own) in enumerate(zip(steps, scopes, strict=True), 1)
    )
    settled: list[Settled] = yield Parallel(drivers=drivers, limit=limit)
    # In the order of the branches, not of their ends: the same steps, the same results.
    for own in scopes:
        for step_name, value in own.results.items():
            if step_name not in before or before[step_name] is not value:
                scope.results[step_name] = value
    return [outcome.value for outcome in settled]


def _step(
    step: JSON, scope: _Scope, *, name: str | None = None, default_label: str
) -> Generator[Effect, Any, JSON]:
    """Run one step, keep its result under its name, and put its name on its error."""
    table = cast(Object, step) if isinstance(step, dict) else {}
    is_declaration = "$kind" in table
    if name is None and (not is_declaration or table["$kind"] == "workflow"):
        # The name of a declared agent or spell says what it is, not which step it is.
        name = table.get("name")
    label = name or _label(step) or default_label
    yield Record(kind="step.started", data={"name": label})
    try:
        result = yield from _perform(step, table, scope, label)
    except LlmspellError as error:
        inner = error.data.get("step")
        if inner:
            # A workflow that this step cast has put its own step's name there already.
            error.message = error.message.removeprefix(_named(inner))
        error.data = {**error.data, "step": f"{label}.{inner}" if inner else label}
        raise
    yield Record(kind="step.ended", data={"name": label})
    if name:
        scope.results[name] = result
    return result


def _named(step: str) -> str:
    return f"step {step!r}: "


def _label(step: JSON) -> str:
    """Return the name of what a step casts, or "" when it has none."""
    if isinstance(step, str):
        return step
    if not isinstance(step, dict):
        return ""
    table = cast(Object, step)
    target = next((table[key] for key in STEP_TARGETS if key in table), None)
    return _label(target) if target is not None else str(table.get("name") or "")


def _perform(step: JSON, table: Object, scope: _Scope, label: str) -> Generator[Effect, Any, JSON]:
    if "$kind" in table or not table:
        kind = table.get("kind") if table.get("$kind") == "ref" else table.get("$kind")
        return (yield from _cast(step, kind, {}, scope, label))
    kind = next(key for key in STEP_TARGETS if key in table)
    return (yield from _cast(table[kind], kind, table, scope, label))


def _cast(
    target: Any, kind: str | None, step: Object, scope: _Scope, label: str
) -> Generator[Effect, Any, JSON]:
    if isinstance(target, FunctionRef):
        return (yield CallFunction(function=target, arguments=(scope.values(),)))
    if isinstance(target, dict) and cast(Object, target).get("$kind") == "workflow":
        return (yield from _node(cast(Object, target), scope))
    target = _with_tools(cast("str | Object", target), step.get("tools"))
    if "input" in step or "args" in step:
        value = render_all(step["input"] if "input" in step else step["args"], scope.values())
        if not isinstance(value, dict | list):  # `{}` of Lua arrives as a list
            value = yield from _fit(target, kind, value)
    elif "prompt" in step:
        value = yield from _fit(target, kind, render_all(step["prompt"], scope.values()))
    elif kind == "agent":
        value = {"prompt": _prompt(scope)}
    else:
        value = yield from _fit(target, kind, scope.previous)
    return (yield Cast(target=target, input=value, label=label))


def _with_tools(target: str | Object, tools: list[JSON] | None) -> str | Object:
    """Return the target with its tools replaced by the step's own, if it has any.

    A published agent becomes a reference that carries them: `{$kind = "ref", name, tools}`.
    """
    if isinstance(target, dict) and target.get("$kind") == "ref":
        target = str(target["name"])
    if tools is None:
        return target
    if isinstance(target, str):
        return {"$kind": "ref", "name": target, "tools": list(tools)}
    return {**target, "tools": list(tools)}


def _prompt(scope: _Scope) -> str:
    asked = as_text(scope.input)
    return asked if scope.is_first else f"{asked}\n\n{as_text(scope.previous)}"


def _fit(target: str | Object, kind: str | None, value: JSON) -> Generator[Effect, Any, JSON]:
    """Return `value` as an input of `target`; see the head of this module."""
    if kind == "agent":
        return {"prompt": as_text(value)}
    offers: list[ToolOffer] = yield Describe(targets=(target,))
    schema = offers[0].input_schema
    fields: dict[str, Any] = schema.get("properties") or {}
    required: list[str] = schema.get("required") or []
    if isinstance(value, dict) and all(name in value for name in required):
        return cast(Object, value)
    texts = [name for name, field in fields.items() if _is_text(field)]
    candidates = [name for name in texts if name in required] or texts
    # Without exactly one place for a text, the target's own refusal says best what is missing.
    return {candidates[0]: as_text(value)} if len(candidates) == 1 else cast(JSON, value)


def _is_text(schema: Any) -> bool:
    return isinstance(schema, dict) and cast(Object, schema).get("type") == "string"
