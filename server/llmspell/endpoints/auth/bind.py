"""Which addresses are served: none that others can reach while nobody proves who they are."""

from __future__ import annotations

import ipaddress

from llmspell.endpoints.auth.authenticator import AuthMode
from llmspell.errors import ConfigError


def is_loopback(bind_host: str) -> bool:
    """Return whether only this machine can reach a server bound to `bind_host`."""
    if bind_host == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind_host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(mode: AuthMode, bind_host: str) -> None:
    """Refuse to serve everybody on an address that others can reach.

    Raises:
        ConfigError: The mode is `none` and `bind_host` is not a loopback address.
    """
    if mode == "none" and not is_loopback(bind_host):
        raise ConfigError(
            f"auth 'none' is refused on {bind_host!r}: others can reach that address",
            hint="use auth 'token', 'keys' or 'oauth', or listen on 127.0.0.1",
        )


def clear_text_warning(bind_host: str, public_url: str) -> str | None:
    """Return what to say where credentials travel in clear text, or None where they do not: on
    loopback, and behind a proxy that speaks TLS."""
    if is_loopback(bind_host) or public_url.startswith("https://"):
        return None
    return (
        f"credentials travel in clear text to {bind_host}: put a proxy with TLS before it and "
        "name its https address in server.public_url"
    )
