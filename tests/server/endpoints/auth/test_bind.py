"""Which addresses may be served with which mode."""

from __future__ import annotations

import pytest

from llmspell.endpoints.auth.bind import check_bind, clear_text_warning, is_loopback
from llmspell.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_addresses_may_go_without_a_token(host: str) -> None:
    assert is_loopback(host)
    check_bind("none", host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_other_addresses_may_not_go_without_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="none"):
        check_bind("none", host)
    check_bind("token", host)


def test_credentials_in_clear_text_are_warned_of() -> None:
    assert clear_text_warning("127.0.0.1", "") is None
    assert clear_text_warning("0.0.0.0", "https://spells.example") is None
    for public_url in ("", "http://spells.example"):
        assert "server.public_url" in (clear_text_warning("0.0.0.0", public_url) or "")
