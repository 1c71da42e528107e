"""Who is not let in, and why; and the keys that would."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class AccessError(LlmspellError):
    """A request was refused before it reached anything."""

    code = "access.refused"


class AccessUnauthenticated(AccessError):
    """The request carries no token, or a wrong one."""

    code = "access.unauthenticated"
    hint_text = (
        "send 'Authorization: Bearer TOKEN'; the token is in the file 'token' of the state "
        "directory (.llmspell in the project)"
    )


class AccessForbidden(AccessError):
    """The caller is known, and may not do this; `data.scopes` names what it would need."""

    code = "access.forbidden"
    hint_text = "ask for a key or token with these scopes"


class AccessRateLimited(AccessError):
    """The caller sends more requests than the settings allow; `data.retry_after` is in seconds."""

    code = "access.rate_limited"
    retryable = True
    hint_text = "wait, then try again; the setting is server.requests_per_minute"


class AccessUnavailable(AccessError):
    """Nobody can be let in now: the issuer whose tokens count can't be asked for its keys."""

    code = "access.unavailable"
    retryable = True
    hint_text = "try again in a moment; the server's log says what the issuer answered"


class AccessHost(AccessError):
    """The request names a host this server does not answer to (DNS rebinding)."""

    code = "access.host"
    hint_text = "add the name to the setting server.allowed_hosts"


class AccessOrigin(AccessError):
    """A web page of another origin sent the request."""

    code = "access.origin"
    hint_text = "add the origin to the setting server.allowed_origins"


class KeyNotFound(LlmspellError):
    """There is no API key of this id."""

    code = "key.not_found"
    hint_text = "'llmspell keys list' shows those there are"
