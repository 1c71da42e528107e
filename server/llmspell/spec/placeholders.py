"""Placeholders of a workflow that nothing will ever fill, found before the workflow runs.

Follows the steps in the order they run in and knows which results each can refer to; what steps and
templates mean is settled by `components.workflow` and `components.template`, which fill them. Says
nothing where a value may be there or not: of optional fields, and of parts of results.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from llmspell.errors import nearest
from llmspell.spec.declaration import STEP_TARGETS
from llmspell.values import JSON, Object

PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
"""A placeholder of a template; its group is what stands between the braces."""

PATH = re.compile(r"\s*[A-Za-z_][\w-]*(?:\.[\w-]+)*\s*")
"""What may stand there: `name.part`, with blanks around."""

_ROOTS = ("input", "previous", "results")
_TEXTS = ("input", "args", "prompt")
"""What of a step is filled in: the first of these it has."""


class Unfilled(NamedTuple):
    """A placeholder without a value."""

    text: str
    """As it is written, in its braces."""
    hint: str


def unfilled(workflow: Object, input_schema: Object | None = None) -> Iterator[Unfilled]:
    """Yield the placeholders of a workflow that cannot have a value when they are reached.

    Args:
        workflow: A declaration whose shape has been checked.
        input_schema: What the workflow is cast with; None = anything.
    """
    schema = input_schema or {}
    is_closed = schema.get("additionalProperties") is False and "$ref" not in schema
    fields = list(cast(Object, schema.get("properties") or {})) if is_closed else None
    yield from _Steps(fields).node(workflow, set())


class _Steps:
    def __init__(self, fields: list[str] | None) -> None:
        self._fields = fields

    def node(self, node: Object, results: set[str]) -> Iterator[Unfilled]:
        """Check the steps of a node; `results` is then what the step after it can refer to."""
        steps = cast("list[JSON]", node.get("steps") or [])
        if node.get("type") != "parallel":
            for step in steps:
                yield from self._step(step, results)
            return
        branches = cast(Object, node.get("branches") or {})
        named: list[tuple[str | None, JSON]] = [
            *branches.items(),
            *((None, step) for step in steps),
        ]
        found: set[str] = set()
        for name, step in named:
            own = set(results)
            yield from self._step(step, own, name)
            found |= own
        results |= found

    def _step(self, step: JSON, results: set[str], name: str | None = None) -> Iterator[Unfilled]:
        table = cast(Object, step) if isinstance(step, dict) else {}
        kind = table.get("$kind")
        target = table if kind else next((table[key] for key in STEP_TARGETS if key in table), None)
        if isinstance(target, dict) and cast(Object, target).get("$kind") == "workflow":
            yield from self.node(cast(Object, target), results)
        elif kind is None:
            text = next((table[key] for key in _TEXTS if key in table), None)
            for found in _placeholders(text):
                yield from self._look_up(found, results)
        own = table.get("name") if kind in (None, "workflow") else None
        if name or isinstance(own, str):
            results.add(name or str(own))

    def _look_up(self, path: str, results: set[str]) -> Iterator[Unfilled]:
        if PATH.fullmatch(path) is None:
            hint = "write {{name}} or {{name.part}}: letters, digits, _ and -"
            yield Unfilled(f"{{{{{path}}}}}", hint)
            return
        root, *parts = path.strip().split(".")
        if root not in _ROOTS:
            yield _unknown(path, root, list(_ROOTS), "there is")
        elif parts and root == "results" and parts[0] not in results:
            yield _unknown(path, parts[0], sorted(results), "the steps before give")
        elif parts and root == "input" and self._lacks(parts[0]):
            yield _unknown(path, parts[0], self._fields or [], "in input there is")

    def _lacks(self, field: str) -> bool:
        return self._fields is not None and field not in self._fields


def _unknown(path: str, part: str, names: list[str], where: str) -> Unfilled:
    there = f"{where}: {', '.join(names) or 'nothing'}"
    close = nearest(part, names)
    hint = f"did you mean {close!r}? {there[0].upper()}{there[1:]}" if close else there
    return Unfilled(f"{{{{{path}}}}}", hint)


def _placeholders(value: Any) -> Iterator[str]:
    """Yield what stands between the braces in every text of a value."""
    if isinstance(value, str):
        yield from (found[1] for found in PLACEHOLDER.finditer(value))
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from _placeholders(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _placeholders(item)
