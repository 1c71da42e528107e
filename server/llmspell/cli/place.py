"""Where a command works: what its global options say, and the ways from there to a host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmspell.bridge.meeting import Address

if TYPE_CHECKING:
    import typer

    from llmspell.config import Project
    from llmspell.host.remote import RemoteHost


@dataclass(frozen=True, slots=True)
class Place:
    """The global options of one command line."""

    project: str | None = None
    state: str | None = None
    config: str | None = None
    log_level: str | None = None
    log_format: str | None = None

    def address(self) -> Address:
        """Return where the owner is, with what a new one is to be told."""
        options: list[str] = []
        if self.config:
            options += ["--config", os.path.abspath(self.config)]
        if self.log_level:
            options += ["--log-level", self.log_level]
        if self.log_format:
            options += ["--log-format", self.log_format]
        return Address.find(self.project, self.state, options)

    def open(self, flags: Mapping[str, Mapping[str, Any]] | None = None) -> Project:
        """Find the project and read its settings.

        Args:
            flags: What the command's own options set, as sections.

        Raises:
            ConfigError: The project does not exist, or a setting is wrong.
        """
        from llmspell.config import open_project

        log = {"level": self.log_level, "format": self.log_format}
        sections = {"log": log, **(flags or {})}
        given = {
            section: {name: value for name, value in values.items() if value is not None}
            for section, values in sections.items()
        }
        return open_project(
            self.project,
            state=self.state,
            config=self.config,
            flags={section: values for section, values in given.items() if values},
        )

    async def attach(self) -> RemoteHost:
        """Connect to the owner, started when there is none.

        Raises:
            LlmspellError: See `RemoteHost.attach`.
        """
        from llmspell.host.remote import RemoteHost

        return await RemoteHost.attach(self.address())


def place_of(context: typer.Context) -> Place:
    """Return the place of the command line a command is part of."""
    place = context.find_object(Place)
    return place if place is not None else Place()
