"""The mode that the settings ask for, ready to let somebody in."""

from __future__ import annotations

from pathlib import Path

from llmspell.clock import Clock
from llmspell.config import ServerSettings
from llmspell.endpoints.auth.anonymous import AnonymousAuthenticator
from llmspell.endpoints.auth.authenticator import Authenticator
from llmspell.endpoints.auth.keys import KeyAuthenticator
from llmspell.endpoints.auth.token import TokenAuthenticator, ensure_token
from llmspell.errors import ConfigError
from llmspell.host.api_keys import ApiKeys


async def make_authenticator(
    settings: ServerSettings, *, base_url: str, state: Path, keys: ApiKeys, clock: Clock
) -> Authenticator:
    """Return the authenticator of `server.auth`.

    Args:
        base_url: URL under which clients reach the server.
        state: The state directory, where the token is.

    Raises:
        ConfigError: Nobody would be let in: there is no key, no issuer, or no URL to be for.
    """
    match settings.auth:
        case "none":
            return AnonymousAuthenticator()
        case "keys":
            return await KeyAuthenticator.open(keys)
        case "oauth":
            if not settings.public_url and settings.host in ("", "0.0.0.0", "::"):
                raise ConfigError(
                    "auth 'oauth' has no URL that tokens could be for",
                    hint="set server.public_url to the one that clients use",
                )
            # Loaded when it is needed: it brings a library for tokens and one for cryptography.
            from llmspell.endpoints.auth.oauth import OAuthAuthenticator

            return OAuthAuthenticator(settings.oauth, base_url, clock)
        case "token":
            return TokenAuthenticator(ensure_token(state))
