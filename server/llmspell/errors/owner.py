"""The process that owns a state directory."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class OwnerError(LlmspellError):
    """The process that owns the state directory could not be used."""

    code = "owner.failed"


class OwnerUnreachable(OwnerError):
    """No owner answered, and none could be started."""

    code = "owner.unreachable"
    hint_text = "the state directory's log/owner.log says why"


class OwnerStopping(OwnerError):
    """The server is ending, or not open yet: it takes nothing new."""

    code = "owner.stopping"
    hint_text = "try again in a moment"
    retryable = True


class OwnerVersion(OwnerError):
    """The owner is of another version of llmspell."""

    code = "owner.version"
    hint_text = "end it with 'llmspell stop', then try again"
