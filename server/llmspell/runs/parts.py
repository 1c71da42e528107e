"""The parts of a file that are cast beside its spell: what reads, fills in and completes.

Each is a function in the same script, with the rights and the state of the spell it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from llmspell.runs.castable import Castable, make_castable
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.uri_template import UriTemplate
from llmspell.values import FunctionRef, Object

COMPLETION_SECONDS = 10.0
"""How long a function may take to complete an argument."""

_COMPLETION_INPUT: Object = {
    "type": "object",
    "properties": {
        "value": {"type": "string"},
        "context": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["value", "context"],
}


def with_parts(castable: Castable) -> Castable:
    """Return a file's castable together with its parts.

    Raises:
        SpecError: A schema of a part is not valid JSON Schema.
    """
    return replace(castable, parts={part.name: part for part in _parts(castable)})


def resource_label(name: str) -> str:
    """Return the label of a resource's function."""
    return f"resource:{name}"


def prompt_label(name: str) -> str:
    """Return the label of a prompt's function."""
    return f"prompt:{name}"


def completion_label(of: str, field: str) -> str:
    """Return the label of the function that completes a field.

    Args:
        of: The label of a resource or prompt, or a spell's name.
    """
    return f"completion:{of}:{field}"


def variables_schema(template: str, params: Object | None) -> Object:
    """Return the schema of a template's variables: texts, but for what `params` says."""
    named: Object = (params or {}).get("properties") or {}
    variables = UriTemplate(template).variables if template else ()
    return {
        "type": "object",
        "properties": {name: named.get(name, {"type": "string"}) for name in variables},
        "required": [name for name in variables if name in (params or {}).get("required", ())],
        "additionalProperties": False,
    }


def _parts(castable: Castable) -> Iterator[Castable]:
    spec = castable.spec
    yield from _completions(castable, spec.name, spec.complete)
    for resource in spec.resources:
        label = resource_label(resource.name)
        schema = variables_schema(resource.template, resource.params)
        yield _part(castable, "resource", label, resource.read, schema)
        yield from _completions(castable, label, resource.complete)
    for prompt in spec.prompts:
        label = prompt_label(prompt.name)
        # A text is filled in without a cast; its arguments are checked like an input all the same.
        function = prompt.messages if isinstance(prompt.messages, FunctionRef) else None
        yield _part(castable, "prompt", label, function, prompt.arguments)
        yield from _completions(castable, label, prompt.complete)


def _completions(
    castable: Castable, of: str, functions: Mapping[str, FunctionRef]
) -> Iterator[Castable]:
    for field, function in functions.items():
        label = completion_label(of, field)
        yield _part(castable, "completion", label, function, _COMPLETION_INPUT)


def _part(
    castable: Castable,
    kind: Literal["resource", "prompt", "completion"],
    label: str,
    function: FunctionRef | None,
    input: Object,
) -> Castable:
    seconds = COMPLETION_SECONDS if kind == "completion" else castable.spec.budget.seconds
    spec = SpellSpec(
        kind=kind,
        name=castable.spec.name,
        input=input,
        run=function,
        budget=castable.spec.budget.model_copy(update={"seconds": seconds}),
        limits=castable.spec.limits,
        read_only=True,
        line=castable.spec.line,
    )
    made = make_castable(
        spec,
        castable.origin,
        castable.engine,
        program=castable.program,
        declaration=castable.declaration,
    )
    return replace(made, label=label, owner=castable.spec.name, granted=castable.granted)
