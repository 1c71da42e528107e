"""Which spells a bundle has: those that come from it, and those that settings put there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from llmspell.host.catalogue import Catalogue


def in_bundle(bundle: str, bundles: Mapping[str, Sequence[str]], *, own: str, spell: str) -> bool:
    """Return whether a spell is of a bundle; every spell is of the one without a name.

    Args:
        bundles: The setting `mcp.bundles`: patterns of spells' names, by bundle.
        own: The bundle the spell comes from; "" = the project itself.
        spell: Its name.
    """
    if not bundle or own == bundle:
        return True
    return any(fnmatchcase(spell, pattern) for pattern in bundles.get(bundle, ()))


def bundles_of(catalogue: Catalogue, bundles: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the bundles there are, sorted."""
    return sorted({spell.bundle for spell in catalogue.spells if spell.bundle} | bundles.keys())
