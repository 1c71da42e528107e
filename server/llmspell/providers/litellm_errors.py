"""What litellm's exceptions mean, as errors of ours.

Works on the exceptions as they come, by the names of their classes, and so
does not import litellm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import cast

from llmspell.errors import (
    ModelAuth,
    ModelBadRequest,
    ModelContentPolicy,
    ModelContextLength,
    ModelError,
    ModelRateLimit,
    ModelTimeout,
    ModelUnavailable,
    ModelUnknown,
)
from llmspell.security.redaction import Redactor
from llmspell.values import Object

_MAX_MESSAGE_CHARS = 500
_APPENDIX = re.compile(r"\s*(?:Traceback \(most recent|Original exception:)")

_CLASSES: tuple[tuple[str, type[ModelError]], ...] = (
    ("ContextWindowExceededError", ModelContextLength),
    ("ContentPolicyViolationError", ModelContentPolicy),
    ("AuthenticationError", ModelAuth),
    ("PermissionDeniedError", ModelAuth),
    ("NotFoundError", ModelUnknown),
    ("RateLimitError", ModelRateLimit),
    ("APITimeoutError", ModelTimeout),
    ("TimeoutException", ModelTimeout),
    ("BadRequestError", ModelBadRequest),
    ("UnprocessableEntityError", ModelBadRequest),
)
"""Classes of litellm, openai and httpx, the narrower first."""

_BODY_CODES: dict[str, type[ModelError]] = {
    "context_length_exceeded": ModelContextLength,
    "content_policy_violation": ModelContentPolicy,
    "content_filter": ModelContentPolicy,
    "model_not_found": ModelUnknown,
}
"""The `code` of OpenAI's error object, which litellm does not always heed."""

_STATUSES: dict[int, type[ModelError]] = {
    400: ModelBadRequest,
    401: ModelAuth,
    402: ModelAuth,
    403: ModelAuth,
    404: ModelUnknown,
    408: ModelTimeout,
    413: ModelContextLength,
    422: ModelBadRequest,
    429: ModelRateLimit,
}


def model_error(error: Exception, model: str, redactor: Redactor, *, now: float) -> ModelError:
    """Return the error of ours that a vendor's error means; no secret is in its text.

    Args:
        now: Unix time, which dates are told from.
    """
    chain = list(_causes(error))
    broken = next((cause for cause in chain if _is_network(cause)), None)
    if broken is not None:
        # litellm calls a refused connection an internal server error.
        reason = redactor.redact(str(broken))[:_MAX_MESSAGE_CHARS]
        return ModelUnavailable(f"the provider of {model!r} cannot be reached: {reason}")
    kind = _kind(error, chain)
    data: Object = {}
    if kind is ModelRateLimit:
        retry_after = _retry_after(chain, now)
        if retry_after is not None:
            data["retry_after"] = retry_after
    hint = None
    if kind is ModelAuth:
        hint = "check the provider's key: the setting providers.NAME.api_key names it"
    message = redactor.redact(_said(error))[:_MAX_MESSAGE_CHARS]
    return kind(f"{model!r}: {message}", hint=hint, data=data)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and everything it was made from, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        original = getattr(error, "original_exception", None)
        error = original or error.__cause__ or error.__context__


def _is_network(error: BaseException) -> bool:
    return isinstance(error, OSError) and not isinstance(error, TimeoutError)


def _kind(error: Exception, chain: list[BaseException]) -> type[ModelError]:
    for cause in chain:
        code = getattr(cause, "code", None)
        if isinstance(code, str) and code in _BODY_CODES:
            return _BODY_CODES[code]
    for cause in chain:
        names = {base.__name__ for base in type(cause).__mro__}
        for name, kind in _CLASSES:
            if name in names:
                return kind
    status = getattr(error, "status_code", None)
    return _STATUSES.get(cast(int, status), ModelUnavailable)


def _said(error: Exception) -> str:
    """Return the provider's own words, without the class names litellm puts before them."""
    # What litellm did not expect comes with a traceback of its own, and wrapped errors twice.
    text = _APPENDIX.split(str(error), maxsplit=1)[0]
    head, separator, words = text.partition("Exception - ")
    return words if separator and " " not in head.rpartition(": ")[2] else text


def _retry_after(chain: list[BaseException], now: float) -> float | None:
    for cause in chain:
        response = getattr(cause, "response", None)
        for headers in (
            getattr(cause, "litellm_response_headers", None),
            getattr(response, "headers", None),
        ):
            text = headers.get("retry-after") if headers is not None else None
            if text is not None and (seconds := _seconds(text, now)) is not None:
                return seconds
    return None


def _seconds(text: str, now: float) -> float | None:
    """Return what `Retry-After` says, a number of seconds or a date (RFC 9110, 10.2.3)."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = max(0.0, math.ceil(parsedate_to_datetime(text).timestamp() - now))
        except ValueError:
            return None
    return seconds if 0 <= seconds < math.inf else None  # false for NaN too
