"""Completion: what the value of an argument may go on to.

From the schema of the argument, from a function of the spell's file, or from the runs there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from llmspell.errors import InputInvalid, OutputInvalid, ResourceNotFound
from llmspell.host import run_resources
from llmspell.host.library_interface import Completions, PromptRef, ResourceRef
from llmspell.host.part_casts import PartHost, check_completed
from llmspell.host.shelf import PromptEntry, ResourceEntry
from llmspell.host.spellbook import Spellbook
from llmspell.runs.castable import Castable
from llmspell.runs.parts import variables_schema
from llmspell.security.principals import Caller
from llmspell.values import Object, dumps

MAX_COMPLETIONS = 100
"""Most values that are proposed at once (completion, "Completion Results")."""


class Completing:
    """Proposes values for the arguments of prompts and resource templates."""

    def __init__(self, host: PartHost, book: Spellbook) -> None:
        self._host = host
        self._book = book

    async def complete(
        self,
        ref: PromptRef | ResourceRef,
        argument: str,
        value: str,
        context: Mapping[str, str],
        caller: Caller,
    ) -> Completions:
        """Return what an argument's value may go on to. See `Library.complete`."""
        kind, name = ref
        if kind == "resource" and name.startswith("run://"):
            return await self._run_ids(name, argument, value, caller)
        if kind == "prompt":
            entry: PromptEntry | ResourceEntry = self._book.shelf.prompt(name)
            schema = entry.castable.spec.input
        else:
            entry = self._template(name)
            schema = variables_schema(entry.spec.template, entry.spec.params)
        fields: Object = schema.get("properties") or {}
        if argument not in fields:
            raise InputInvalid(
                f"{name[:200]!r} has no argument {argument[:64]!r}",
                hint=f"it has: {', '.join(fields) or 'none'}",
            )
        function = entry.completions.get(argument)
        if function is not None:
            return await self._completed(function, value, context, caller)
        return _matching(_values_of(fields[argument]), value)

    def _template(self, uri: str) -> ResourceEntry:
        shelf = self._book.shelf
        entry = shelf.by_template.get(uri) or shelf.by_uri.get(uri)
        if entry is None:
            raise ResourceNotFound(f"there is no resource template {uri[:200]!r}")
        return entry

    async def _run_ids(
        self, template: str, argument: str, value: str, caller: Caller
    ) -> Completions:
        if template not in {each.uri for each in run_resources.TEMPLATES} or argument != "id":
            raise ResourceNotFound(f"there is no resource template {template[:200]!r}")
        page = await self._host.runs(caller=caller, limit=MAX_COMPLETIONS)
        # What only read or filled in something has nothing worth reading.
        spells = [run for run in page.runs if ":" not in run.spell]
        found = tuple(run.id for run in spells if run.id.startswith(value))
        return Completions(values=found, total=len(found))

    async def _completed(
        self, function: Castable, value: str, context: Mapping[str, str], caller: Caller
    ) -> Completions:
        waiting = self._host.begin_part(
            function, {"value": value, "context": dict(context)}, caller
        )
        try:
            outcome = await waiting.result()
            check_completed(outcome)
        finally:
            await waiting.leave()
        output: Any = outcome.output
        if not isinstance(output, list) and output not in ({}, None):
            raise OutputInvalid("a function that completes returns a list", run_id=outcome.run_id)
        listed = cast("list[Any]", output or [])
        values = [item if isinstance(item, str) else dumps(item) for item in listed]
        unique = tuple(dict.fromkeys(values))
        return Completions(values=unique[:MAX_COMPLETIONS], total=len(unique))


def _values_of(schema: Any) -> list[str]:
    table = cast(Object, schema) if isinstance(schema, dict) else {}
    values: Any = table.get("enum")
    if isinstance(values, list):
        listed = cast("list[Any]", values)
        return [value if isinstance(value, str) else dumps(value) for value in listed]
    return ["true", "false"] if table.get("type") == "boolean" else []


def _matching(values: Sequence[str], value: str) -> Completions:
    """Return the values that begin with a text, then those that hold it, in any case."""
    typed = value.casefold()
    first = [each for each in values if each.casefold().startswith(typed)]
    then = [each for each in values if typed in each.casefold() and each not in first]
    found = (*first, *then)
    return Completions(values=found[:MAX_COMPLETIONS], total=len(found))
