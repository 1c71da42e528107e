"""What performing needs of the house, handed in by the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmspell.clock import Clock
from llmspell.config import LimitSettings, ModelSettings
from llmspell.providers.registry import Providers
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable
from llmspell.runs.turns import Turns
from llmspell.runtime.engine import ScriptLimits
from llmspell.state.scopes import Scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of the house that performing uses."""

    archive: Archive
    scopes: Scopes
    models: Providers
    clock: Clock
    limits: LimitSettings
    model_settings: ModelSettings
    script_limits: ScriptLimits
    find: Callable[[str], Castable | None]
    """The published castable of a name, or None."""
    turns: Turns
    suggest: Callable[[str], str]
    """A hint with the names nearest to an unknown one."""
