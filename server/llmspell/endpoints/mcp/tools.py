"""The published spells as MCP tools, prebuilt: listing runs nothing and maps nothing."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_types import Tool, ToolAnnotations

from llmspell.host.interface import Catalogue, Published

_NAMED = 30
"""How many tools the instructions name; clients search them, people skim them."""


@dataclass(frozen=True, slots=True)
class ToolList:
    """The tools at one moment, in the order of their names.

    Up to 2025-11-25 an output schema must describe an object, and clients of
    that time refuse the whole list otherwise; so that era has its own list, in
    which such a tool declares no output schema.
    """

    spells: dict[str, Published]
    """What may be called, by tool name."""
    modern: list[Tool]
    legacy: list[Tool]
    instructions: str


def build_tools(catalogue: Catalogue) -> ToolList:
    """Return the tools of a catalogue: one for each spell exposed over MCP."""
    spells = {spell.name: spell for spell in catalogue.spells if spell.expose_mcp}
    modern = [_tool(spell) for spell in spells.values()]
    legacy = [
        tool
        if has_object_output(spells[tool.name])
        else tool.model_copy(update={"output_schema": None})
        for tool in modern
    ]
    return ToolList(spells, modern, legacy, _instructions(list(spells.values())))


def has_object_output(spell: Published) -> bool:
    """Return whether the spell's output schema is one that every protocol version may carry."""
    return spell.output_schema is None or spell.output_schema.get("type") == "object"


def _tool(spell: Published) -> Tool:
    return Tool(
        name=spell.name,
        title=spell.title or None,
        # Several model APIs refuse a tool without one.
        description=spell.description or spell.title or f"The spell {spell.name!r}.",
        input_schema=spell.input_schema or {"type": "object"},
        output_schema=spell.output_schema,
        # All four are always set. Where the author said nothing, the answer is the
        # worst case the specification assumes too: whoever asks before acting, asks.
        annotations=ToolAnnotations(
            read_only_hint=spell.read_only,
            destructive_hint=(
                not spell.read_only if spell.destructive is None else spell.destructive
            ),
            idempotent_hint=spell.idempotent or spell.read_only,
            open_world_hint=True if spell.open_world is None else spell.open_world,
        ),
    )


def _instructions(spells: list[Published]) -> str:
    if not spells:
        return "llmspell publishes Lua programs (spells) as tools. None is published yet."
    lines = [f"llmspell publishes Lua programs (spells) as tools, {len(spells)} of them:"]
    for spell in spells[:_NAMED]:
        about = (spell.description or spell.title).strip().partition("\n")[0]
        lines.append(f"- {spell.name}: {about}" if about else f"- {spell.name}")
    if len(spells) > _NAMED:
        lines.append(f"- and {len(spells) - _NAMED} more, see the list of tools")
    lines.append(
        "The list changes when a spell's file does. An error names its run, a code and a hint."
    )
    return "\n".join(lines)
