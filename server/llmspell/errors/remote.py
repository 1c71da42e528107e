"""Agents that run elsewhere."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class RemoteError(LlmspellError):
    """A remote agent answered with an error."""

    code = "remote.failed"


class RemoteUnreachable(RemoteError):
    """A remote agent could not be reached."""

    code = "remote.unreachable"
    retryable = True
