"""`[runs]`, `[[schedules]]`, `[state]` and `[owner]`: what is kept, and by whom."""

from __future__ import annotations

from pydantic import Field

from llmspell.config.section import Bytes, Seconds, Section
from llmspell.schedule import Schedule


class RunSettings(Section):
    """`[runs]`: how long runs are kept, and what they may gather meanwhile."""

    keep: Seconds = Field(
        default="30d", validate_default=True, description="How long an ended run is kept."
    )
    keep_plain: Seconds = Field(
        default="24h",
        validate_default=True,
        description="How long a cast is kept that had no effects.",
    )
    keep_count: int = Field(
        default=100_000, gt=0, description="Runs kept of one principal, the newest."
    )
    keep_bytes: Bytes = Field(
        default="1GB",
        validate_default=True,
        description="Size of the runs kept of one principal, the newest.",
    )
    wait: Seconds = Field(
        default="40s",
        validate_default=True,
        gt=0,
        description="How long a caller of an MCP tool waits before it gets a handle of the run.",
    )
    ask: Seconds = Field(
        default="24h", validate_default=True, description="How long a question waits for an answer."
    )
    history: int = Field(default=10_000, gt=0, description="Effects that one run may record.")
    idempotency: Seconds = Field(
        default="24h",
        validate_default=True,
        description="How long an idempotency key leads to the run it began.",
    )


class ScheduleSettings(Schedule):
    """`[[schedules]]`: a spell that is cast by itself."""

    spell: str = Field(max_length=48, description="Name of the spell.")
    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="Name of the schedule; made of the rest when empty.",
    )
    principal: str = Field(
        default="", description="Whose run it is; the person who runs llmspell when empty."
    )


class StateSettings(Section):
    """`[state]`: the database."""

    checkpoint_every: Seconds = Field(
        default="1h",
        validate_default=True,
        ge=60,
        description="How often the database is copied into checkpoints/, while it changes.",
    )
    checkpoints_hourly: int = Field(default=24, ge=1, description="Checkpoints kept, the newest.")
    checkpoints_daily: int = Field(
        default=7, ge=0, description="Days of which the last checkpoint is kept besides."
    )
    quota_bytes: Bytes = Field(
        default="2GB",
        validate_default=True,
        gt=0,
        description="What spells may keep for one tenant, keys and values together.",
    )
    quota_keys: int = Field(default=2_000_000, gt=0, description="Keys they may keep for it.")
    scope_quota_bytes: Bytes = Field(
        default="1GB",
        validate_default=True,
        gt=0,
        description="What they may keep of it in one scope: spell, session, user, shared or run.",
    )
    scope_quota_keys: int = Field(
        default=1_000_000, gt=0, description="Keys they may keep in one scope."
    )


class OwnerSettings(Section):
    """`[owner]`: the process that owns the state directory."""

    idle_seconds: Seconds = Field(
        default=600.0,
        gt=0,
        description="An auto-started owner ends after this long without anybody.",
    )
