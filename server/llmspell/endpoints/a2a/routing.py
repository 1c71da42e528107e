"""Which spell a message is for, and what of it is the input.

Pure functions over the catalogue: the first rule that applies decides. A
message to a task is not routed here, except the answer to a question that
these rules asked.

    1. the skill its metadata names (`llmspell/skill`)
    2. the only published spell
    3. the setting `a2a.default`
    4. otherwise the caller is asked, and answers by exact name or number

A data part is the input. A text fills the only required string field, else the
only string field; where there is none the caller is asked for the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from llmspell.endpoints.a2a.errors import invalid_params
from llmspell.endpoints.a2a.requests import SKILL_KEY
from llmspell.errors import SpellNotFound
from llmspell.host.catalogue import Catalogue, Published
from llmspell.values import JSON, Object, dumps


@dataclass(frozen=True, slots=True)
class Cast:
    """The message is clear: cast this spell with this input."""

    spell: str
    input: JSON


@dataclass(frozen=True, slots=True)
class Question:
    """The message leaves something open: ask this."""

    text: str
    data: Object
    """What the answer is read with: `{skills: [{id, description}...]}` or `{skill, schema}`."""


Route: TypeAlias = Cast | Question


def skills(catalogue: Catalogue) -> list[Published]:
    """Return the spells published over A2A, in the catalogue's order."""
    return [spell for spell in catalogue.spells if spell.expose_a2a]


def route(
    catalogue: Catalogue, message: Object, *, skill: str | None = None, default: str = ""
) -> Route:
    """Return what a message that begins a task asks for.

    Raises:
        SpellNotFound: The skill it names is not published.
        A2AError: It has more than one data part.
    """
    published = skills(catalogue)
    if skill is not None:
        return _cast(_named(published, skill), message)
    if len(published) == 1:
        return _cast(published[0], message)
    if default:
        return _cast(_named(published, default), message)
    if not published:
        raise SpellNotFound("no skill is published", hint="add a spell to the project's spells/")
    return _which(published)


def answered(
    catalogue: Catalogue, asked: Object, first: Object, answer: Object, *, skill: str | None = None
) -> Cast | None:
    """Return what the answer to a question settles, None when it settles nothing.

    Args:
        asked: The question's `data`.
        first: The message that began the task.
        answer: The message that answers.

    Raises:
        SpellNotFound: The skill is not, or no longer, published.
        A2AError: The skill is settled but the input is not, or another skill is named.
    """
    published = skills(catalogue)
    if "skill" in asked:
        if skill is not None and skill != asked["skill"]:
            reason = f"this task waits for the input of {asked['skill']!r}"
            raise invalid_params(f"metadata[{SKILL_KEY!r}]", reason)
        settled = _cast(_named(published, asked["skill"]), answer)
        return settled if isinstance(settled, Cast) else None
    name = skill if skill is not None else _choice(asked["skills"], _text_of(answer))
    if name is None:
        return None
    spell = _named(published, name)
    # The answer's own data is the input; its text was the choice.
    settled = _cast(spell, answer if _data_of(answer) else first)
    if isinstance(settled, Question):
        raise invalid_params("message.parts", settled.text, hint=_HOW_TO_ANSWER)
    return settled


_HOW_TO_ANSWER = f"answer with a data part, and the skill in metadata[{SKILL_KEY!r}]"


def _named(published: list[Published], name: str) -> Published:
    for spell in published:
        if spell.name == name:
            return spell
    names = ", ".join(spell.name for spell in published)
    raise SpellNotFound(f"no skill named {name!r}", hint=f"the skills are: {names}")


def _cast(spell: Published, message: Object) -> Route:
    data = _data_of(message)
    if data:
        if len(data) > 1:
            raise invalid_params("message.parts", "at most one of them is a data part")
        return Cast(spell.name, data[0])
    properties = cast("Object", spell.input_schema.get("properties") or {})
    text = _text_of(message)
    if not properties:
        # It takes no fields; what was said reaches it as the message.
        return Cast(spell.name, {})
    field = _text_field(spell.input_schema, properties)
    if field is None or text is None:
        schema = dumps(spell.input_schema)
        question = f"The skill {spell.name!r} needs its input as a data part that fits: {schema}"
        return Question(question, {"skill": spell.name, "schema": spell.input_schema})
    return Cast(spell.name, {field: text})


def _text_field(schema: Object, properties: Object) -> str | None:
    texts = [
        name
        for name, field in properties.items()
        if isinstance(field, dict) and cast("Object", field).get("type") == "string"
    ]
    required = [name for name in texts if name in schema.get("required", ())]
    if len(required) == 1:
        return required[0]
    return texts[0] if len(texts) == 1 else None


def _which(published: list[Published]) -> Question:
    lines = ["Which skill is this for? Answer with its name or number."]
    listed: list[Object] = []
    for number, spell in enumerate(published, 1):
        about = spell.title or spell.description
        lines.append(f"{number}. {spell.name}" + (f": {about.splitlines()[0]}" if about else ""))
        listed.append({"id": spell.name, "description": spell.description})
    return Question("\n".join(lines), {"skills": listed})


def _choice(listed: list[Object], text: str | None) -> str | None:
    text = (text or "").strip()
    names = [str(each["id"]) for each in listed]
    if text in names:
        return text
    if text.isascii() and text.isdigit() and 1 <= int(text) <= len(names):
        return names[int(text) - 1]
    return None


def _parts_of(message: Object) -> list[Object]:
    return cast("list[Object]", message.get("parts", []))


def _data_of(message: Object) -> list[Any]:
    return [part["data"] for part in _parts_of(message) if "data" in part]


def _text_of(message: Object) -> str | None:
    texts = [part["text"] for part in _parts_of(message) if "text" in part]
    return "\n".join(texts) if texts else None
