"""The gate: what every door asks before it reads a request, and how it refuses one.

`Host` and `Origin` are checked before it, for the whole server (`endpoints.app`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from starlette.responses import Response

from llmspell.endpoints.auth.admission import Held
from llmspell.endpoints.auth.authenticator import Authenticator
from llmspell.endpoints.limits import FailedAttempts, RateLimit
from llmspell.endpoints.responses import error_response
from llmspell.errors import (
    AccessError,
    AccessForbidden,
    AccessRateLimited,
    AccessUnauthenticated,
    AccessUnavailable,
)
from llmspell.security.principals import Caller, Door

_STATUS: tuple[tuple[type[AccessError], int], ...] = (
    (AccessUnauthenticated, 401),
    (AccessForbidden, 403),
    (AccessRateLimited, 429),
    (AccessUnavailable, 503),
    (AccessError, 403),
)


class Gate:
    """Lets requests in.

    Args:
        auth: Who may call.
        rate: How often each may.
        attempts: How often an address may be wrong.
    """

    def __init__(
        self,
        auth: Authenticator,
        rate: RateLimit | None = None,
        attempts: FailedAttempts | None = None,
    ) -> None:
        self.auth = auth
        self.rate = rate or RateLimit()
        self._attempts = attempts or FailedAttempts()

    async def admit(
        self, scope: MutableMapping[str, Any], headers: Mapping[str, str], door: Door
    ) -> Caller:
        """Return who sends a request, and count it.

        Args:
            scope: The ASGI scope it came with.
            headers: Its headers, names in lower case.

        Raises:
            AccessError: It is not let in; `refusal` is the answer.
        """
        sent = headers.get("authorization", "")
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if sent:
            self._attempts.check(address, sent)
        try:
            caller = await self.auth.caller(headers, door)
        except AccessUnauthenticated:
            if sent:  # without one nobody guesses: that is how a client asks what is needed
                self._attempts.wrong(address)
            raise
        if sent:
            self._attempts.right(sent)
        self.rate.take(caller)
        return caller

    def hold(self, headers: Mapping[str, str], door: Door, end: Callable[[], None]) -> Held:
        """Have `end` called once the right to something ends that a request opened.

        Args:
            headers: Those the request was let in with.
        """
        return self.auth.admission(headers, door).hold(end)

    def refusal(self, error: AccessError, door: Door) -> Response:
        """Return the HTTP answer for what was refused, here or at the host's door."""
        status = next(status for kind, status in _STATUS if isinstance(error, kind))
        headers = {"cache-control": "no-store", **self.auth.challenge(error, door)}
        wait = error.data.get("retry_after")
        if isinstance(wait, int | float):
            headers["retry-after"] = str(max(1, math.ceil(wait)))
        return error_response(error, status, headers)
