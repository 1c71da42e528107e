"""Which hosts and origins are answered."""

from __future__ import annotations

import weakref

import pytest

from llmspell.endpoints.auth.host_rule import HostRule


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


def test_what_anybody_can_make_long_is_not_remembered() -> None:
    class Header(str):
        """A text that can be watched."""

    rule = HostRule()
    for length, is_kept in ((10, True), (60_000, False)):
        host = Header(f"{'u' * length}@localhost")
        assert rule.refusal({"host": host}) is None
        seen = weakref.ref(host)
        del host
        assert (seen() is not None) == is_kept
