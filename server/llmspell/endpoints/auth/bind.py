"""Which addresses are served: none that others can reach while nobody proves who they are."""

from __future__ import annotations

import ipaddress
import logging

from llmspell.endpoints.auth.authenticator import AuthMode
from llmspell.errors import ConfigError

_log = logging.getLogger(__name__)


def is_loopback(bind_host: str) -> bool:
    """Return whether only this machine can reach a server bound to `bind_host`."""
    if bind_host == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind_host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_bind(mode: AuthMode, bind_host: str, public_url: str = "") -> None:
    """Refuse to serve everybody on an address that others can reach.

    Warns where credentials would travel in clear text: off loopback without the address of a
    proxy that speaks TLS.

    Raises:
        ConfigError: The mode is `none` and `bind_host` is not a loopback address.
    """
    if is_loopback(bind_host):
        return
    if mode == "none":
        raise ConfigError(
            f"auth 'none' is refused on {bind_host!r}: others can reach that address",
            hint="use auth 'token', 'keys' or 'oauth', or listen on 127.0.0.1",
        )
    if not public_url.startswith("https://"):
        _log.warning(
            "credentials travel in clear text to %s: put a proxy with TLS before it and name its "
            "https address in server.public_url",
            bind_host,
        )
