"""All settings, as one model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from llmspell.config.doors import A2ASettings, McpSettings
from llmspell.config.limits import LimitSettings, RuntimeSettings
from llmspell.config.models import ModelSettings, ProviderSettings
from llmspell.config.runs import OwnerSettings, RunSettings, ScheduleSettings, StateSettings
from llmspell.config.section import Section
from llmspell.config.server import ServerSettings


class LogSettings(Section):
    """`[log]`: what is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="One line of text, or JSON."
    )


class Settings(Section):
    """All settings, after merging."""

    models: ModelSettings = ModelSettings()
    providers: dict[str, ProviderSettings] = Field(default_factory=dict[str, ProviderSettings])
    limits: LimitSettings = LimitSettings()
    server: ServerSettings = ServerSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    runs: RunSettings = RunSettings()
    state: StateSettings = StateSettings()
    owner: OwnerSettings = OwnerSettings()
    a2a: A2ASettings = A2ASettings()
    mcp: McpSettings = McpSettings()
    log: LogSettings = LogSettings()
    publish: list[str] = Field(
        default_factory=lambda: ["*"],
        description="Spells published, by name; * = all of the project, bundle:NAME = a bundle of "
        "llmspell.",
    )
    schedules: list[ScheduleSettings] = Field(
        default_factory=list[ScheduleSettings], description="What is cast by itself, and when."
    )

    @field_validator("schedules")
    @classmethod
    def _names_differ(cls, schedules: list[ScheduleSettings]) -> list[ScheduleSettings]:
        names = [schedule.name for schedule in schedules if schedule.name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two schedules have the name {twice!r}")
        return schedules
