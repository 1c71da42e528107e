"""What is cast when: the schedule that a spell declares, or that settings give it.

Only the declaration; `host.schedules` keeps it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from llmspell.durations import seconds_of
from llmspell.timetable import Timetable
from llmspell.values import Object

Missed: TypeAlias = Literal["once", "skip", "all"]
Overlap: TypeAlias = Literal["skip", "queue", "parallel"]


def _empty_list_is_object(value: Any) -> Any:
    # A bare `{}` in Lua has no kind of its own.
    return {} if value == [] else value


class Schedule(BaseModel):
    """When a spell is cast by itself, and what then."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    cron: str = Field(
        default="", description="Minute, hour, day of month, month, day of week: `0 7 * * *`."
    )
    every: Annotated[float, BeforeValidator(seconds_of)] = Field(
        default=0.0, description="Seconds from one cast to the next, or a text like `10m`."
    )
    timezone: str = Field(
        default="UTC", description="Time zone of `cron`, by its IANA name: `Europe/Berlin`."
    )
    input: Annotated[Object, BeforeValidator(_empty_list_is_object)] = Field(
        default_factory=dict[str, Any], description="The input."
    )
    missed: Missed = Field(
        default="once",
        description="Of the times that passed while nothing ran: cast once, none, or all of them.",
    )
    overlap: Overlap = Field(
        default="skip",
        description="While the last cast has not ended: leave it out, let it wait, or cast anyway.",
    )

    @model_validator(mode="after")
    def _is_ever_due(self) -> Schedule:
        self.timetable.check()
        return self

    @property
    def timetable(self) -> Timetable:
        """When it is due."""
        return Timetable(cron=self.cron, timezone=self.timezone, every=self.every)
