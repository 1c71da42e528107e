"""HTTP answers that all doors share: an error as JSON, with its code and hint."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from llmspell.errors import LlmspellError


def error_response(
    error: LlmspellError, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `error` as `{"error": {code, message, hint, ...}}`."""
    return Response(
        msgspec.json.encode({"error": error.to_value()}),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )
