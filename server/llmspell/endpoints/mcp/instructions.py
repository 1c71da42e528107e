"""What the server says of itself when a client meets it.

Clients keep it in every conversation and search it, and Claude Code cuts it at
2 KB: so what always holds stands first, and names stand before what they do.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from llmspell.host.catalogue import Published

_NAMED = 30
"""How many spells are named; clients search them, people skim them."""

_LONGEST = 2000
_ABOUT = 60
"""Characters of what is said of each spell."""


def instructions(
    spells: Sequence[Published], *, offered: Container[str], searched: bool, bundle: str = ""
) -> str:
    """Return the text.

    Args:
        spells: What is published.
        offered: Names of the tools beside the spells.
        searched: Whether the list of tools has no spells in it.
        bundle: The bundle they are of; "" = everything.
    """
    lines = ["llmspell publishes Lua programs (spells) as tools."]
    if not spells:
        return f"{lines[0]} None is published yet{f' in the bundle {bundle!r}' if bundle else ''}."
    if searched:
        lines.append("Find one with spell_search, then run it with cast.")
    elif "cast" in offered:
        lines.append("The list changes when a spell's file does; cast runs any of them by name.")
    if "run_result" in offered:
        lines.append("An answer with a run_id instead of a result: get it with run_result.")
    lines.append("An error names its run, a code and a hint.")
    more = len(spells) - _NAMED
    last = f"and {more} more" + (", see spell_search" if "spell_search" in offered else "")
    names = [spell.name for spell in spells[:_NAMED]]
    full = [*lines, f"Spells ({len(spells)}):", *(_named(spell) for spell in spells[:_NAMED])]
    text = "\n".join([*full, last] if more > 0 else full)
    if len(text) <= _LONGEST:
        return text
    listed = ", ".join([*names, last] if more > 0 else names)
    return "\n".join([*lines, f"Spells ({len(spells)}): {listed}"])


def _named(spell: Published) -> str:
    about = (spell.description or spell.title).strip().partition("\n")[0]
    if len(about) > _ABOUT:
        about = f"{about[: _ABOUT - 3].rstrip()}..."
    return f"- {spell.name}: {about}" if about else f"- {spell.name}"
