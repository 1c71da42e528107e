"""`[models]` and `[providers]`: which models answer, and where they are."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator

from llmspell.config.section import Seconds, Section


class ModelSettings(Section):
    """`[models]`: which model answers when a spell names none, and the roles spells may name."""

    default: str = Field(
        default="", description="Model used when an agent names none, as provider/model."
    )
    roles: dict[str, str] = Field(
        default_factory=dict[str, str],
        description='Names spells may use instead of a model, e.g. smart = "anthropic/...".',
    )
    timeout_seconds: Seconds = Field(
        default=120.0, gt=0, description="Longest time one model call may take."
    )
    worst_usd_per_million_tokens: float | None = Field(
        default=None,
        gt=0,
        description="What a model of unknown price is taken to cost; "
        "without it no such model is asked where a spell limits its US dollars.",
    )


class ProviderSettings(Section):
    """`[providers.NAME]`: where a provider is and which key opens it."""

    api_key: str = Field(
        default="", description="The key, by reference: ${env:NAME} or ${file:PATH}."
    )
    api_base: str = Field(
        default="", description="Base URL of an OpenAI-compatible or local server."
    )

    @field_validator("api_base")
    @classmethod
    def _is_a_url(cls, base: str) -> str:
        try:
            parts = urlsplit(base)
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_url = False
        if base and not is_url:
            raise ValueError("must be an http or https URL, as http://localhost:11434")
        return base
