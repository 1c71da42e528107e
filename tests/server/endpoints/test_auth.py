"""Who may call: tokens, token files, hosts and origins."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmspell.endpoints.auth import (
    Authenticator,
    HostRule,
    check_bind,
    ensure_token,
    is_loopback,
    read_token,
    token_path,
)
from llmspell.errors import ConfigError
from llmspell.security.principals import anonymous_caller, local_caller

TOKEN = Authenticator("token", "s3cret")


def test_the_bearer_of_the_token_is_the_person_who_owns_the_process() -> None:
    assert TOKEN.caller({"authorization": "Bearer s3cret"}, "mcp") == local_caller("mcp")
    assert TOKEN.caller({"authorization": "bearer  s3cret "}, "a2a") == local_caller("a2a")


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "s3cret"]
)
def test_anything_but_the_token_is_nobody(header: str) -> None:
    assert TOKEN.caller({"authorization": header}, "mcp") is None


def test_a_token_beyond_ascii_is_refused_and_breaks_nothing() -> None:
    assert TOKEN.caller({"authorization": "Bearer s3crét"}, "mcp") is None


def test_without_authentication_everybody_is_anonymous() -> None:
    assert Authenticator("none").caller({}, "a2a") == anonymous_caller("a2a")


def test_an_empty_token_authenticates_nobody_because_it_is_refused() -> None:
    with pytest.raises(ConfigError):
        Authenticator("token", "")


def test_the_challenge_says_where_the_token_is_and_not_what_it_is() -> None:
    error, headers = TOKEN.challenge({})
    assert headers == {"www-authenticate": 'Bearer realm="llmspell"'}
    assert error.code == "access.unauthenticated"
    assert "'token'" in error.hint
    assert "s3cret" not in str(error.to_value())


def test_the_challenge_tells_a_wrong_token_from_a_missing_one() -> None:
    _, headers = TOKEN.challenge({"authorization": "Bearer nope"})
    assert 'error="invalid_token"' in headers["www-authenticate"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_addresses_may_go_without_a_token(host: str) -> None:
    assert is_loopback(host)
    check_bind(Authenticator("none"), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_other_addresses_may_not_go_without_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="none"):
        check_bind(Authenticator("none"), host)
    check_bind(TOKEN, host)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:7777", "127.0.0.1:1", "[::1]:7777", "[::1]", "LOCALHOST:80"]
)
def test_loopback_names_are_answered_with_any_port(host: str) -> None:
    assert HostRule().refusal({"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7777",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "user@evil.example",
        "10.0.0.7:7777",
        "",
        "[",
        "localhost:80:80@evil.example",
    ],
)
def test_foreign_hosts_are_misdirected(host: str) -> None:
    refusal = HostRule().refusal({"host": host})
    assert refusal is not None
    assert (refusal[0], refusal[1].code) == (421, "access.host")


def test_a_request_without_a_host_is_misdirected() -> None:
    refusal = HostRule().refusal({})
    assert refusal is not None
    assert refusal[0] == 421


def test_a_server_for_others_answers_to_addresses_and_to_named_hosts_only() -> None:
    rule = HostRule("0.0.0.0", hosts=["spells.example", "other.example:8443"])
    for host in ("10.0.0.7:7777", "[fe80::1]:7777", "spells.example:1", "other.example:8443"):
        assert rule.refusal({"host": host}) is None, host
    for host in ("evil.example", "other.example:1"):
        assert rule.refusal({"host": host}) is not None, host


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "https://[::1]:4"])
def test_pages_of_this_machine_may_call(origin: str) -> None:
    assert HostRule().refusal({"host": "localhost", "origin": origin}) is None


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "file://", "http://localhost.evil.example", "ftp://localhost"],
)
def test_pages_from_elsewhere_may_not_call(origin: str) -> None:
    refusal = HostRule().refusal({"host": "localhost", "origin": origin})
    assert refusal is not None
    assert (refusal[0], refusal[1].code) == (403, "access.origin")


def test_a_named_origin_may_call() -> None:
    rule = HostRule(origins=["https://app.example"])
    assert rule.refusal({"host": "localhost", "origin": "https://app.example"}) is None
    assert rule.refusal({"host": "localhost", "origin": "http://app.example"}) is not None


def test_the_token_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    assert read_token(tmp_path) is None
    token = ensure_token(tmp_path)
    assert len(token) >= 43  # 32 bytes in base64
    assert stat.S_IMODE(token_path(tmp_path).stat().st_mode) == 0o600
    assert ensure_token(tmp_path) == token == read_token(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["token"]


def test_a_token_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    token_path(tmp_path).write_text("given\n", encoding="ascii")
    token_path(tmp_path).chmod(0o644)
    assert ensure_token(tmp_path) == "given"
    assert stat.S_IMODE(token_path(tmp_path).stat().st_mode) == 0o600


def test_all_who_make_the_token_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(ensure_token, [tmp_path] * 32))
    assert len(tokens) == 1


def test_an_empty_token_file_is_an_error_and_not_a_token(tmp_path: Path) -> None:
    token_path(tmp_path).write_text("\n", encoding="ascii")
    with pytest.raises(ConfigError, match="empty"):
        ensure_token(tmp_path)


def test_a_state_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        ensure_token(tmp_path / "missing")
