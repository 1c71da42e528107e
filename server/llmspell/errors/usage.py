"""How llmspell is called and set up: commands, calls and settings without a meaning."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class UsageError(LlmspellError):
    """A command or call was made in a way that has no meaning."""

    code = "usage.invalid"
    hint_text = "see 'llmspell --help'"


class ConfigError(LlmspellError):
    """A setting is unknown or has a value that is not allowed."""

    code = "config.invalid"
    hint_text = "the settings and where they may stand are in docs/reference/settings.md"
