"""`[limits]` and `[runtime]`: what one cast may use, and how scripts are run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmspell.config.section import Bytes, Seconds, Section


class LimitSettings(Section):
    """`[limits]`: what one cast may use. Every limit has a finite default."""

    cast_seconds: Seconds = Field(
        default=3600.0, gt=0, description="Longest time a cast may take in all."
    )
    slice_seconds: Seconds = Field(
        default=2.0, gt=0, description="CPU time a script may take before it gives way."
    )
    cpu_seconds: Seconds = Field(default=60.0, gt=0, description="CPU time of one cast in all.")
    load_seconds: Seconds = Field(
        default=2.0, gt=0, description="CPU time the top level of a file may take."
    )
    heap_bytes: Bytes = Field(
        default=64 << 20, ge=4 << 20, le=1 << 40, description="Lua heap of one cast."
    )
    input_bytes: int = Field(
        default=4 << 20, gt=0, le=4 << 20, description="Largest input, as JSON."
    )
    output_bytes: int = Field(
        default=4 << 20, gt=0, le=4 << 20, description="Largest output, as JSON."
    )
    casts: int = Field(default=16, gt=0, description="Casts that may compute at the same time.")
    queue: int = Field(
        default=1000, ge=0, description="New casts that may wait for their turn; more are refused."
    )
    workers: int = Field(
        default=256,
        gt=0,
        description="Casts that may have a worker, those that wait for an effect included.",
    )
    host_calls: int = Field(
        default=50_000, gt=0, description="Effects one cast may ask for, its children apart."
    )
    depth: int = Field(default=16, gt=0, description="How deep casts may nest.")
    model_calls: int = Field(
        default=200, gt=0, description="Model calls of one cast and its children."
    )
    tool_calls: int = Field(
        default=1_000, gt=0, description="Tool calls of the agents of one cast and its children."
    )
    children: int = Field(default=10_000, gt=0, description="Casts begun below one cast.")
    tokens: int = Field(
        default=10_000_000,
        gt=0,
        description="Tokens that models read and write for one cast and its children.",
    )
    usd: float = Field(
        default=20.0,
        gt=0,
        description="US dollars of one cast and its children; models of unknown price count as 0.",
    )
    log_events: int = Field(
        default=10_000, gt=0, description="Log lines and parts one run may emit."
    )
    log_bytes: int = Field(
        default=16 << 20, gt=0, description="Size of these log lines and parts, as JSON."
    )


class RuntimeSettings(Section):
    """`[runtime]`: how scripts are run."""

    isolation: Literal["process", "inline"] = Field(
        default="process",
        description="process: jailed worker processes; inline: in the server, for trusted spells.",
    )
    idle_workers: int = Field(default=2, ge=0, le=64, description="Workers kept ready.")
    warm_workers: int = Field(
        default=16,
        ge=0,
        description="Workers kept for the next cast of the same spell by the same principal.",
    )
    warm_seconds: Seconds = Field(default=30.0, gt=0, description="How long such a worker is kept.")
    worker_casts: int = Field(
        default=1000, gt=0, description="Casts a worker serves before it is replaced."
    )
