"""What a workflow adds to the errors of its steps."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class WorkflowError(LlmspellError):
    """A step of a workflow failed; `data["step"]` names it."""

    code = "workflow.failed"


class TemplateError(WorkflowError):
    """A text names a placeholder that has no value."""

    code = "workflow.unknown_placeholder"
