"""`[mcp]` and `[a2a]`: what the doors publish."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from llmspell.config.section import Bytes, Seconds, Section

_CONTROL_TOOLS = ("cast", "run_result", "run_cancel", "spell_search")
_BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class A2ASettings(Section):
    """`[a2a]`: the A2A door."""

    default: str = Field(default="", description="Spell a message goes to when it names none.")


class ProfileSettings(Section):
    """`[mcp.profiles.NAME]`: what the MCP clients of one kind are told; the rest as built in."""

    clients: list[str] | None = Field(
        default=None,
        description="Beginnings of the names these clients give themselves, in any case.",
    )
    schemas: Literal["full", "plain_root", "no_composition", "plain"] | None = Field(
        default=None,
        description="Input schemas as they are; without anyOf, oneOf and allOf at their root, or "
        "anywhere; or of types, fields and enums only.",
    )
    name_length: int | None = Field(
        default=None, gt=0, description="Longest tool name they take; longer ones are not listed."
    )
    tools: int | None = Field(
        default=None, ge=0, description="Most tools they take, 0 = any; beyond it they search."
    )
    wait: Seconds | None = Field(
        default=None, gt=0, description="How long their calls wait before they are given a handle."
    )


class McpSettings(Section):
    """`[mcp]`: the MCP door."""

    catalogue: Literal["direct", "search"] = Field(
        default="direct",
        description="direct: every spell is a listed tool; search: only the tools to find and cast "
        "them are.",
    )
    control_tools: list[Literal["cast", "run_result", "run_cancel", "spell_search"]] = Field(
        default_factory=lambda: list(_CONTROL_TOOLS),
        description="Tools offered beside the spells.",
    )
    search_above: int = Field(
        default=30, ge=0, description="With more spells than this, spell_search is listed too."
    )
    page: int = Field(
        default=1000, gt=0, le=10_000, description="Entries on one page of a list of tools."
    )
    result_bytes: Bytes = Field(
        default="48KiB",
        validate_default=True,
        ge=1024,
        description="Longest text of one result; a longer one is cut, with a way to the rest.",
    )
    task_after: Seconds = Field(
        default="1s",
        validate_default=True,
        ge=0,
        description="How long a call waits before a client that knows tasks is given one.",
    )
    profiles: dict[str, ProfileSettings] = Field(
        default_factory=dict[str, ProfileSettings],
        description="What clients are told that differ from the others.",
    )
    bundles: dict[str, list[str]] = Field(
        default_factory=dict[str, list[str]],
        description='Spells served at /mcp/NAME, by name: reports = ["report", "export_*"].',
    )

    resources: list[str] = Field(
        default_factory=list[str],
        description='Files of the project that are resources, by pattern: ["docs/**/*.md"].',
    )

    @field_validator("resources")
    @classmethod
    def _resources_are_in_the_project(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            parts = PurePosixPath(pattern).parts
            if not parts or pattern.startswith("/") or ".." in parts:
                raise ValueError(f"{pattern!r} is no pattern of files below the project")
            if any("**" in part and part != "**" for part in parts):
                raise ValueError(
                    f"{pattern!r}: ** stands for whole directories, as in docs/**/*.md"
                )
        return patterns

    @field_validator("bundles")
    @classmethod
    def _bundles_fit_an_address(cls, bundles: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in bundles:
            if not _BUNDLE.fullmatch(name):
                raise ValueError(
                    f"the bundle {name!r}: a name is letters, digits, - and _, 64 at most"
                )
        return bundles

    @model_validator(mode="after")
    def _search_can_be_used(self) -> Self:
        missing = {"cast", "spell_search"} - set(self.control_tools)
        if self.catalogue == "search" and missing:
            raise ValueError(
                f'catalogue = "search" lists no spells; control_tools must have '
                f"{' and '.join(sorted(missing))}"
            )
        return self
