"""The documentation of spells as Agent Skills: what a spell is for, what it takes and gives.

Written from what the spell declares, so that it is never behind it. One skill a
spell, of one file, the same bytes for the same declaration.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from llmspell.host.catalogue import Catalogue, Published
from llmspell.host.library_interface import Skill
from llmspell.host.spellbook import Spellbook
from llmspell.values import Object, dumps

SKILL_TYPE = "text/markdown"

_MAX_DESCRIPTION = 1024
_FIELDS = ("type", "enum", "default", "minimum", "maximum", "minLength", "maxLength", "pattern")


def skills_of(spells: Iterable[Published]) -> Mapping[str, Skill]:
    """Return the skills of the spells that MCP clients see, by URI and sorted by it.

    Of two spells whose names differ in `_` only, the first has a skill.
    """
    found: dict[str, Skill] = {}
    for spell in spells:
        if spell.expose_mcp:
            skill = _skill(spell)
            found.setdefault(skill.uri, skill)
    return dict(sorted(found.items()))


class Skills:
    """The skills of a spellbook, written when somebody first asks after a change of it."""

    def __init__(self, book: Spellbook) -> None:
        self._book = book
        self._catalogue: Catalogue | None = None
        self._skills: Mapping[str, Skill] = {}

    def now(self) -> Mapping[str, Skill]:
        """Return the skills of what is published now, by URI and sorted by it."""
        catalogue = self._book.catalogue
        if self._catalogue is not catalogue:
            self._catalogue, self._skills = catalogue, skills_of(catalogue.spells)
        return self._skills

    def changed(self) -> list[str]:
        """Return the URIs of the skills that changed since they were asked for, if they were."""
        if self._catalogue is None:
            return []
        before = self._skills
        return [
            uri
            for uri, skill in self.now().items()
            if (old := before.get(uri)) is not None and old.digest != skill.digest
        ]


def _skill(spell: Published) -> Skill:
    # The names of skills have lower-case letters, digits and single hyphens between them.
    name = re.sub(r"[^a-z0-9]+", "-", spell.name.lower()).strip("-")
    about = " ".join((spell.description or spell.title or f"The spell {spell.name}.").split())
    description = about[:_MAX_DESCRIPTION]
    text = "".join(
        [
            # A JSON text is a YAML text.
            f"---\nname: {name}\ndescription: {dumps(description)}\n---\n\n",
            f"# {spell.title or spell.name}\n\n{spell.description or about}\n\n",
            f"Call the tool `{spell.name}`.\n\n",
            _section("Input", spell.input_schema),
            _section("Output", spell.output_schema),
            _examples(spell),
        ]
    )
    data = text.encode()
    return Skill(
        uri=f"skill://{name}/SKILL.md",
        name=name,
        description=description,
        text=text,
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
        size=len(data),
    )


def _section(title: str, schema: Object | None) -> str:
    if schema is None:
        return ""
    fields: Any = schema.get("properties")
    if not isinstance(fields, dict):
        return f"## {title}\n\n```json\n{dumps(schema)}\n```\n\n"
    if not fields:
        return f"## {title}\n\nNone.\n\n"
    required: Any = schema.get("required") or ()
    lines = [_line(name, field, name in required) for name, field in cast(Object, fields).items()]
    return f"## {title}\n\n{''.join(lines)}\n"


def _line(name: str, field: Any, is_required: bool) -> str:
    table = cast(Object, field) if isinstance(field, dict) else {}
    known = [f"{key} {dumps(table[key])}" for key in _FIELDS if key in table]
    notes = [*known, "required" if is_required else "optional"]
    about = " ".join(str(table.get("description", "")).split())
    return f"- `{name}` ({', '.join(notes)})" + (f": {about}" if about else "") + "\n"


def _examples(spell: Published) -> str:
    if not spell.examples:
        return ""
    shown = "".join(f"```json\n{dumps(example)}\n```\n\n" for example in spell.examples)
    return f"## Examples\n\n{shown}"
