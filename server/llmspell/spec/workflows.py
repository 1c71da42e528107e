"""The shape of a workflow: its nodes, their steps, and what fills the placeholders in them.

What its steps cast is checked by whoever reads declarations (`reading`); what it means is for
`components.workflow`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from llmspell.errors import SpecError, SpecUnknownPlaceholder
from llmspell.spec.complaints import kind_of
from llmspell.spec.declaration import STEP_TARGETS
from llmspell.spec.fields import check_keys, line_of, read_list
from llmspell.spec.origin import Origin
from llmspell.spec.placeholders import unfilled
from llmspell.values import JSON, FunctionRef, Object

MAX_STEPS = 200
"""Most steps of one workflow node; nodes nest."""

_STEP_KEYS = frozenset(
    {"agent", "tool", "spell", "workflow", "prompt", "input", "args", "name", "tools"}
)
_WORKFLOW_KEYS = {
    "sequential": frozenset({"type", "name", "description", "steps"}),
    "parallel": frozenset({"type", "name", "description", "steps", "branches", "limit"}),
}


CheckCastable: TypeAlias = Callable[[JSON, str, str, int, Origin], None]
"""Refuses a value that cannot be cast: value, field, whose field, line, origin."""


def constructor(node: Object) -> str:
    """Return how the author wrote a node, e.g. `Workflow.parallel`."""
    return f"Workflow.{node.get('type', 'sequential')}"


def check_workflow(value: JSON, origin: Origin, line: int, castable: CheckCastable) -> None:
    """Check a workflow's shape, its steps included.

    Args:
        castable: Checks what its steps cast.

    Raises:
        SpecError: With file and line.
    """
    _Check(origin, castable).node(value, line)


def check_placeholders(
    workflow: Object, input_schema: Object | None, origin: Origin, line: int
) -> None:
    """Check that something fills each placeholder of a workflow.

    Raises:
        SpecUnknownPlaceholder: With file and line.
    """
    for found in unfilled(workflow, input_schema):
        raise SpecUnknownPlaceholder(
            f"nothing fills the placeholder '{found.text}'",
            hint=found.hint,
            where=origin.where_text(line, found.text),
        )


class _Check:
    def __init__(self, origin: Origin, castable: CheckCastable) -> None:
        self._origin = origin
        self._castable = castable

    def node(self, value: JSON, line: int) -> None:
        where = self._origin.where
        node = cast(Object, value) if isinstance(value, dict) else {}
        if node.get("$kind") != "workflow":
            raise SpecError(
                "'workflow' must be made by Workflow.sequential or Workflow.parallel",
                where=where(line, "workflow"),
            )
        line = line_of(node) or line
        what = constructor(node)
        fields = {key: item for key, item in node.items() if not key.startswith("$")}
        allowed = set(_WORKFLOW_KEYS.get(str(node.get("type")), ()))
        check_keys(fields, allowed, what, line, self._origin)
        limit = node.get("limit")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise SpecError(f"'limit' in {what} must be a positive integer", where=where(line))
        self._name(node, what, line)
        for step in self._steps(node, what, line):
            self._step(step, what, line)

    def _steps(self, node: Object, what: str, line: int) -> list[JSON]:
        where = self._origin.where
        branches: Any = node.get("branches") or {}
        if not isinstance(branches, dict):
            raise SpecError(
                f"'branches' in {what} must be a table of named steps",
                hint="steps without names stand in the table of Workflow.parallel itself",
                where=where(line, "branches"),
            )
        steps = read_list(node.get("steps") or [], "steps", what, line, self._origin)
        if not branches and not steps:
            raise SpecError(f"{what} has no steps", where=where(line))
        if branches and steps:
            raise SpecError(
                f"{what} has both named branches and a list of steps",
                hint="put every step into branches, or leave all unnamed",
                where=where(line),
            )
        everything = [*steps, *cast(Object, branches).values()]
        if len(everything) > MAX_STEPS:
            raise SpecError(
                f"{what} has {len(everything)} steps; the limit is {MAX_STEPS}",
                hint="nest workflows, or loop in a run function",
                where=where(line),
            )
        return everything

    def _step(self, step: JSON, of: str, line: int) -> None:
        if isinstance(step, str | FunctionRef):
            return
        if not isinstance(step, dict):
            raise SpecError(
                f"a step of {of} is {kind_of(step)}",
                hint="a step is an agent, a tool, a spell, a workflow, a function, a name in "
                "quotes, or a table that names one",
                where=self._origin.where(line),
            )
        table = cast(Object, step)
        if table.get("$kind") == "workflow":
            self.node(table, line)
            return
        if "$kind" in table:
            self._castable(table, "steps", of, line, self._origin)
            return
        what = f"a step of {of}"
        check_keys(table, set(_STEP_KEYS), what, line, self._origin)
        targets = [key for key in STEP_TARGETS if key in table]
        if len(targets) != 1:
            raise SpecError(
                f"{what} needs exactly one of {', '.join(STEP_TARGETS)}",
                where=self._origin.where(line),
            )
        self._name(table, what, line)
        kind, target = targets[0], table[targets[0]]
        if "tools" in table:
            self._tools(table["tools"], kind, target, what, line)
        if kind == "workflow":
            self.node(target, line)
        else:
            self._castable(target, kind, what, line, self._origin)

    def _name(self, table: Object, what: str, line: int) -> None:
        if not isinstance(table.get("name", ""), str):
            where = self._origin.where(line, "name")
            raise SpecError(f"'name' in {what} must be a string", where=where)

    def _tools(self, tools: JSON, kind: str, target: JSON, what: str, line: int) -> None:
        """Check the tools a step gives its agent instead of its own."""
        where = self._origin.where(line, "tools")
        if kind != "agent":
            raise SpecError(f"{what} gives tools to a {kind}; only agents take tools", where=where)
        is_inline = isinstance(target, dict) and cast(Object, target).get("$kind") == "agent"
        for tool in read_list(tools, "tools", what, line, self._origin):
            self._castable(tool, "tools", what, line, self._origin)
            if not isinstance(tool, str) and not is_inline:
                raise SpecError(
                    f"{what} gives a published agent a tool that is no name",
                    hint="its code lives in another file: publish the tool, and write its name",
                    where=where,
                )
