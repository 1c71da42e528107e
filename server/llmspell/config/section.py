"""What every section of the settings has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from llmspell.durations import seconds_of
from llmspell.sizes import bytes_of

Seconds = Annotated[float, BeforeValidator(seconds_of)]
"""Seconds as a number, or a text like "30d"."""

Bytes = Annotated[int, BeforeValidator(bytes_of)]
"""Bytes as a number, or a text like "1GB"."""


class Section(BaseModel):
    """One section of the settings: an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )
