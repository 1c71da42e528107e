"""What models and their providers answer instead of an answer."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class ModelError(LlmspellError):
    """A model did not answer as asked."""

    code = "model.failed"


class ModelUnknown(ModelError):
    """No provider knows this model."""

    code = "model.unknown"
    hint_text = "models are named provider/model, e.g. anthropic/claude-sonnet-4-5"


class ModelAuth(ModelError):
    """The provider refused the key, or there is none."""

    code = "model.auth"


class ModelRateLimit(ModelError):
    """The provider asks to slow down; `data["retry_after"]` is in seconds where it said so."""

    code = "model.rate_limit"
    retryable = True


class ModelTimeout(ModelError):
    """The provider took too long."""

    code = "model.timeout"
    retryable = True


class ModelUnavailable(ModelError):
    """The provider can't be reached or is out of order."""

    code = "model.unavailable"
    hint_text = "check the network and the provider's address, then cast again"
    retryable = True


class ModelContextLength(ModelError):
    """The conversation is longer than the model takes."""

    code = "model.context_length"


class ModelContentPolicy(ModelError):
    """The provider refused the content."""

    code = "model.content_policy"


class ModelBadRequest(ModelError):
    """The provider did not accept the request."""

    code = "model.bad_request"
