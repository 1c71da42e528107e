"""The local token: its file, and what its bearer may."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llmspell.endpoints.auth.token import (
    TokenAuthenticator,
    ensure_token,
    read_token,
    token_path,
)
from llmspell.errors import AccessError, AccessForbidden, AccessUnauthenticated, ConfigError
from llmspell.security.principals import local_caller

TOKEN = TokenAuthenticator("s3cret")


async def refused(header: str) -> AccessError:
    """Return what the bearer of a header is told."""
    with pytest.raises(AccessUnauthenticated) as told:
        await TOKEN.caller({"authorization": header} if header else {}, "mcp")
    return told.value


async def test_the_bearer_of_the_token_is_the_person_who_owns_the_process() -> None:
    assert await TOKEN.caller({"authorization": "Bearer s3cret"}, "mcp") == local_caller("mcp")
    assert await TOKEN.caller({"authorization": "bearer  s3cret "}, "a2a") == local_caller("a2a")


async def test_the_bearer_of_the_token_may_do_everything() -> None:
    assert (await TOKEN.caller({"authorization": "Bearer s3cret"}, "mcp")).scopes is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3crett",
        "Bearer s3cr\u00e9t",
        "Basic s3cret",
        "s3cret",
    ],
)
async def test_anything_but_the_token_is_nobody(header: str) -> None:
    assert (await refused(header)).code == "access.unauthenticated"


def test_an_empty_token_authenticates_nobody_because_it_is_refused() -> None:
    with pytest.raises(ConfigError):
        TokenAuthenticator("")


async def test_the_challenge_says_where_the_token_is_and_not_what_it_is() -> None:
    error = await refused("")
    assert TOKEN.challenge(error, "mcp") == {"www-authenticate": 'Bearer realm="llmspell"'}
    assert "'token'" in error.hint
    assert "s3cret" not in str(error.to_value())


async def test_the_challenge_tells_a_wrong_token_from_a_missing_one() -> None:
    headers = TOKEN.challenge(await refused("Bearer nope"), "mcp")
    assert 'error="invalid_token"' in headers["www-authenticate"]


def test_the_challenge_names_every_scope_that_is_missing() -> None:
    error = AccessForbidden("no", data={"scopes": ["cast:a", "cast:b"]})
    assert TOKEN.challenge(error, "mcp")["www-authenticate"] == (
        'Bearer realm="llmspell", error="insufficient_scope", scope="cast:a cast:b"'
    )


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
