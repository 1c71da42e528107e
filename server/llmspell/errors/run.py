"""A run as such, whatever spell it casts; and the questions that it asks."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class RunError(LlmspellError):
    """Something about a run, not about the spell it casts."""

    code = "run.failed"


class RunNotFound(RunError):
    """No run of this id is visible to the caller."""

    code = "run.not_found"


class RunCanceled(RunError):
    """The run was stopped before it ended by itself."""

    code = "run.canceled"
    hint_text = "cast the spell again if this was not meant"


class RunNotCancelable(RunError):
    """The run has ended already."""

    code = "run.not_cancelable"
    hint_text = "its result is there to be read"


class RunNotWaiting(RunError):
    """An answer was given to a run that asked nothing."""

    code = "run.not_waiting"


class RunInterrupted(RunError):
    """The process that performed the run ended while it was under way."""

    code = "run.interrupted"
    hint_text = "cast the spell again"
    retryable = True


class RunTooLong(RunError):
    """The run took longer than a caller waits (`when_long = "fail"`), and was ended."""

    code = "run.too_long"
    hint_text = "cast it with less to do, or let the spell say when_long = 'handle'"


class RunProtocolError(RunError):
    """The spell ended its run with an error of the caller's protocol (`ctx:protocol_error`).

    `data` is `{code, message}` as the wire is to carry them.
    """

    code = "run.protocol_error"


class RunDiverged(RunError):
    """A resumed run asked for something else than it did before; `data` shows both sides."""

    code = "run.diverged"
    hint_text = "go on from the last good step: llmspell runs fork ID --step N"


class RunCollected(RunError):
    """The run was deleted: it ended longer ago than runs are kept."""

    code = "run.collected"
    hint_text = "raise the setting runs.keep to keep runs longer"


class IdempotencyConflict(RunError):
    """The idempotency key was used for another input."""

    code = "idempotency.conflict"
    hint_text = "use a new key for a new cast"


class AskError(RunError):
    """A question to a person brought no answer."""

    code = "ask.failed"


class AskDeclined(AskError):
    """The person declined to answer."""

    code = "ask.declined"


class AskExpired(AskError):
    """Nobody answered in time."""

    code = "ask.expired"


class AskInvalid(AskError):
    """The answer does not fit the question; the question is still open."""

    code = "ask.invalid"
    hint_text = "answer what the question's schema asks for"
