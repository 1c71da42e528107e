"""What is nobody's fault but ours."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class InternalError(LlmspellError):
    """A fault of llmspell itself."""

    code = "internal"
    hint_text = "please report it, with the lines of log/owner.log around it"
