"""`[models]` and `[providers]`: which models answer, and where they are."""

from __future__ import annotations

from pydantic import Field

from llmspell.config.section import Section


class ModelSettings(Section):
    """`[models]`: which model answers when a spell names none, and the roles spells may name."""

    default: str = Field(
        default="", description="Model used when an agent names none, as provider/model."
    )
    roles: dict[str, str] = Field(
        default_factory=dict[str, str],
        description='Names spells may use instead of a model, e.g. smart = "anthropic/...".',
    )
    timeout_seconds: float = Field(
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
