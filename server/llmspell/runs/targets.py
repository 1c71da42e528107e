"""What a run may cast: a name or a declaration in, a castable out.

Permission is decided here and nowhere else: a run reaches what its file declares to
need, and what it declares itself, which gets no rights of its own. Nothing is cast here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from llmspell.errors import NeedUndeclared, SpellNotFound, SpellRaised, nearest
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.work import Work
from llmspell.spec.reading import read_spec
from llmspell.values import JSON, Object, canonical

INLINE_KEPT = 64
"""Declarations of one run that are kept ready: checking one costs more than all else of a call."""


def is_published(target: str | Object) -> bool:
    """Return whether a target is one of the spellbook, and not declared by the run's own file."""
    return isinstance(target, str) or target.get("$kind") == "ref"


def target_name(target: str | Object) -> str:
    """Return what a target is called in logs, records and errors."""
    return target if isinstance(target, str) else str(target.get("name") or "inline")


class Targets:
    """What one run may cast."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._inline: dict[bytes, Castable] = {}

    def find(self, target: str | Object) -> Castable:
        """Return what a target stands for.

        Raises:
            NeedUndeclared: The run's file does not declare that it casts this name.
            SpellNotFound: Nothing of this name is published.
            SpecError: The declaration is wrong.
        """
        if isinstance(target, str):
            return self._named(target)
        own = self._work.castable
        if target.get("$kind") == "ref":
            return self._equipped(self._named(str(target["name"])), target.get("tools"))
        declared = canonical(target)
        known = self._inline.get(declared)
        if known is None:
            spec = read_spec(target, own.origin, default_name="inline")
            inline = make_castable(spec, own.origin, own.engine)
            # A declaration made in the middle of a cast grants itself nothing.
            known = replace(inline, granted=own.granted, owner=own.state_name)
            if len(self._inline) < INLINE_KEPT:
                self._inline[declared] = known
        return known

    def _named(self, name: str) -> Castable:
        granted = self._work.castable.granted
        if granted is not None and name not in granted:
            close = nearest(name, sorted(granted))
            suggestion = f"did you mean {close!r}? Else " if close else ""
            raise NeedUndeclared(
                f"{self._work.castable.name!r} casts {name!r}, which it does not declare",
                hint=f'{suggestion}declare it: needs = {{ tools = {{ "{name}" }} }}',
                where=self._place(name),
            )
        found = self._work.services.find(name)
        if found is None:
            raise SpellNotFound(
                f"there is no spell, agent or tool {name!r}",
                hint=self._work.services.suggest(name),
                where=self._place(name),
            )
        return found

    def _place(self, name: str) -> str | None:
        """Return where a declaration names this; a script knows the line it is at itself."""
        own = self._work.castable
        return None if own.spec.run is not None else own.origin.where_name(own.spec.line, name)

    def _equipped(self, castable: Castable, tools: JSON) -> Castable:
        """Return a published agent with other tools, which the step that names it grants."""
        if tools is None:
            return castable
        agent = castable.spec.agent
        if agent is None:
            raise SpellRaised(f"{castable.name!r} is no agent, so it takes no tools")
        names = tuple(self._named(str(tool)).name for tool in cast("list[JSON]", tools))
        spec = castable.spec.model_copy(update={"agent": agent.model_copy(update={"tools": names})})
        granted = None if castable.granted is None else castable.granted | set(names)
        return replace(castable, spec=spec, granted=granted)
