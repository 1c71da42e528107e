"""A spell made ready: its spec, its sources and its compiled schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec

from llmspell.components.schema import Schema, SchemaInvalid
from llmspell.errors import (
    InputInvalid,
    InputTooLarge,
    OutputInvalid,
    OutputTooLarge,
    SpecError,
)
from llmspell.runtime.engine import Engine, Program, ScriptLimits
from llmspell.schedule import Schedule
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.origin import Origin
from llmspell.values import JSON, FunctionRef, Object, canonical

_pack = msgspec.msgpack.Encoder().encode

_SCHEDULED_BYTES = 64 << 10  # an input that is written into a declaration

HANDLE_FIELDS = ("run_id", "status", "how_to_continue")
"""What a caller gets of a run that takes longer than it waits."""

PROBLEMS_BYTES = 64 << 10
"""Of a larger value only the first problem is named: finding them all holds up the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Castable:
    """One version of a spell, or a declaration made while another is cast.

    `program` is None for the latter: its functions live in the script that made it.
    """

    spec: SpellSpec
    origin: Origin
    engine: Engine
    program: Program | None = None
    declaration: JSON = None
    """What the file's top level returned when it was loaded; a later load must agree."""
    input_schema: Schema
    output_schema: Schema | None = None
    owner: str = ""
    """Spell whose file made this declaration in the middle of a cast; its state is that spell's."""
    granted: frozenset[str] | None = field(default_factory=frozenset[str])
    """Names its code may cast; None = any (the person at the terminal)."""
    label: str = ""
    """What a part of a file is cast by, such as `resource:notes`; "" = its spec's name."""
    parts: Mapping[str, Castable] = field(default_factory=dict[str, "Castable"])
    """What else of the file is cast, by label: see `parts.parts_of`."""

    @property
    def name(self) -> str:
        """The name it is cast by."""
        return self.label or self.spec.name

    @property
    def state_name(self) -> str:
        """The spell whose own scope of state its code sees: never one that code can choose."""
        return self.owner or self.spec.name

    @property
    def version(self) -> str:
        """Content hash of the sources; "" for an inline declaration."""
        return self.program.version if self.program else ""

    def limits_within(self, limits: ScriptLimits) -> ScriptLimits:
        """Return what its script may use: its own limits where they are below the settings'."""
        own = self.spec.limits
        if not own.model_fields_set:
            return limits
        return replace(
            limits,
            slice_seconds=min(own.slice_seconds or limits.slice_seconds, limits.slice_seconds),
            cpu_seconds=min(own.cpu_seconds or limits.cpu_seconds, limits.cpu_seconds),
            heap_bytes=min(own.heap_bytes or limits.heap_bytes, limits.heap_bytes),
            host_calls=min(own.host_calls or limits.host_calls, limits.host_calls),
        )

    def accept_input(self, value: JSON, *, limit_bytes: int) -> JSON:
        """Return the input a cast begins with: `value` with the schema's defaults.

        Raises:
            InputTooLarge: It is larger than `limit_bytes` as JSON.
            InputInvalid: It does not fit the schema; each field is named.
        """
        if value is None or value == []:
            value = {}
        try:
            _pack(value)
            size = len(canonical(value))
        except (OverflowError, RecursionError, TypeError, ValueError) as error:
            # No bytes stand for it: a lone surrogate, an integer beyond 64 bits, a bottomless list.
            raise InputInvalid(
                f"the input of {self.name!r} cannot be written down: {error}"
            ) from None
        if size > limit_bytes:
            raise InputTooLarge(
                f"the input of {self.name!r} has {size} bytes; the limit is {limit_bytes}",
                data={"size_bytes": size, "limit_bytes": limit_bytes},
            )
        value = self.input_schema.with_defaults(value)
        problems = self.input_schema.problems(value, first_only=size > PROBLEMS_BYTES)
        if problems:
            raise InputInvalid(
                f"the input of {self.name!r} does not fit: " + "; ".join(map(str, problems)),
                hint=f"the schema: llmspell spells show {self.name}",
                data={"errors": [problem.to_value() for problem in problems]},
            )
        return value

    def filled(self, text: str) -> JSON:
        """Return the input a bare text stands for: it fills the only required, or only, string.

        Raises:
            InputInvalid: No field is the one.
        """
        fields: dict[str, Object] = self.spec.input.get("properties") or {}
        texts = [name for name, field in fields.items() if field.get("type") == "string"]
        required = [name for name in texts if name in self.spec.input.get("required", ())]
        for candidates in (required, texts):
            if len(candidates) == 1:
                return {candidates[0]: text}
        raise InputInvalid(
            f"a text was given, and {self.name!r} has no single field for it",
            hint=f"give an object; its fields: {', '.join(fields) or 'none'}",
        )

    def accept_output(self, value: JSON, *, limit_bytes: int) -> JSON:
        """Return the output a cast ends with: `value` as the schema means it.

        Raises:
            OutputTooLarge: It is larger than `limit_bytes` as JSON.
            OutputInvalid: It does not fit the schema; each field is named.
        """
        size = len(canonical(value))
        if size > limit_bytes:
            raise OutputTooLarge(
                f"{self.name!r} returned {size} bytes; the limit is {limit_bytes}",
                data={"size_bytes": size, "limit_bytes": limit_bytes},
            )
        if self.output_schema is None:
            return value
        value = self.output_schema.repaired(value)
        problems = self.output_schema.problems(value, first_only=size > PROBLEMS_BYTES)
        if problems:
            raise OutputInvalid(
                f"{self.name!r} returned what its output schema does not allow: "
                + "; ".join(map(str, problems)),
                where=self.origin.where(self.spec.line, "output"),
                data={"errors": [problem.to_value() for problem in problems]},
            )
        return value


def make_castable(
    spec: SpellSpec,
    origin: Origin,
    engine: Engine,
    *,
    program: Program | None = None,
    declaration: JSON = None,
    named: frozenset[str] = frozenset(),
    unrestricted: bool = False,
) -> Castable:
    """Compile a spec's schemas and collect the names it may cast.

    Args:
        named: Names the file's code named while it was loaded.
        unrestricted: Whether its code may cast anything.

    Raises:
        SpecError: A schema is not valid JSON Schema, or a default does not fit its own.
    """
    schemas: dict[str, Schema | None] = {}
    for key, definition in (("input", spec.input), ("output", spec.output)):
        try:
            schemas[key] = Schema(definition) if definition is not None else None
        except SchemaInvalid as error:
            raise SpecError(
                f"'{key}' of {spec.name!r} is not a valid JSON Schema: {error}",
                where=origin.where(spec.line, key),
            ) from None
    input_schema = schemas["input"]
    assert input_schema is not None  # `input` always has a definition
    _check_defaults(spec, origin)
    granted = frozenset(spec.needs.tools) | named | frozenset(_names(spec))
    castable = Castable(
        spec=spec,
        origin=origin,
        engine=engine,
        program=program,
        declaration=declaration,
        input_schema=input_schema,
        output_schema=schemas["output"],
        granted=None if unrestricted else granted,
    )
    if program is not None and not unrestricted:
        _check_output_fields(castable)
    if spec.schedule is not None and not unrestricted:
        _check_schedule(castable, spec.schedule, published=program is not None)
    return castable


def _check_defaults(spec: SpellSpec, origin: Origin) -> None:
    """Refuse defaults that the input schema does not allow: no cast without the field could be."""
    fields = _fields(spec.input)
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    if not defaults:
        return
    for problem in Schema({**spec.input, "required": []}).problems(defaults):
        name = problem.field.partition(".")[0]
        if name in defaults:
            raise SpecError(
                f"the default of {name!r} in the input of {spec.name!r} does not fit: "
                f"{problem.message}",
                where=origin.where(spec.line, name),
            )


def _fields(schema: Object) -> dict[str, Object]:
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return {}
    named = cast(Object, fields).items()
    return {name: cast(Object, field) for name, field in named if isinstance(field, dict)}


def _check_output_fields(castable: Castable) -> None:
    """Keep the fields of a handle free: who waits long for the output gets one in its place."""
    spec = castable.spec
    if spec.output is None or spec.when_long != "handle" or not spec.expose.mcp:
        return
    fields: Object = spec.output.get("properties") or {}
    taken = next((name for name in HANDLE_FIELDS if name in fields), None)
    if taken is not None:
        raise SpecError(
            f"the output of {spec.name!r} has a field {taken!r}, which a handle of its run needs",
            hint='call the field otherwise, or let callers wait: when_long = "wait"',
            where=castable.origin.where(spec.line, taken),
        )


def _check_schedule(castable: Castable, schedule: Schedule, *, published: bool) -> None:
    where = castable.origin.where(castable.spec.line, "schedule")
    if not published:
        raise SpecError(
            f"{castable.name!r} is part of another declaration, and nothing casts that by itself",
            hint="a schedule belongs to the spell that a file returns",
            where=where,
        )
    try:
        castable.accept_input(dict(schedule.input), limit_bytes=_SCHEDULED_BYTES)
    except InputInvalid as error:
        raise SpecError(f"schedule of {castable.name!r}: {error.message}", where=where) from None


def _names(spec: SpellSpec) -> Iterator[str]:
    """Yield the names a spec itself refers to: its agents' tools, its workflow's steps."""
    if spec.agent is not None:
        yield from _names_in(list(spec.agent.tools))
    if spec.workflow is not None:
        yield from _names_in([spec.workflow])


def _names_in(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            table = cast(Object, value)
            if table.get("$kind") == "ref":
                yield str(table.get("name"))
                continue
            for key in ("agent", "tool", "spell", "workflow"):
                if key in table:
                    yield from _names_in([table[key]])
            for key in ("tools", "steps"):
                if isinstance(table.get(key), list):
                    yield from _names_in(cast(list[Any], table[key]))
            if isinstance(table.get("branches"), dict):
                yield from _names_in(list(cast(Object, table["branches"]).values()))
        elif isinstance(value, FunctionRef):
            continue
