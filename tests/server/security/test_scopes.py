"""What scopes allow, and what is said to who lacks one."""

from __future__ import annotations

import pytest

from llmspell.errors import AccessForbidden, UsageError
from llmspell.security.principals import Caller, local_caller
from llmspell.security.scopes import (
    covers,
    may_cast,
    parse_scopes,
    require_cast,
    require_read,
    require_runs,
)


def who(*scopes: str) -> Caller:
    return Caller(principal="key:1", scopes=frozenset(scopes))


def test_a_caller_without_limits_may_do_everything() -> None:
    for caller in (local_caller(), Caller(principal="anonymous")):
        require_cast(caller, "any")
        require_read(caller)
        require_runs(caller)


@pytest.mark.parametrize(
    ("scope", "spell", "allowed"),
    [
        ("cast", "echo", True),
        ("cast:echo", "echo", True),
        ("cast:echo", "echo2", False),
        ("cast:echo", "ech", False),
        ("cast:Echo", "echo", False),
        ("cast:note_*", "note_add", True),
        ("cast:note_*", "note_", True),
        ("cast:note_*", "note", False),
        ("cast:*", "echo", True),
        ("read", "echo", False),
        ("cast:", "echo", False),
        ("castle", "echo", False),
    ],
)
def test_a_scope_allows_the_spells_it_names(scope: str, spell: str, allowed: bool) -> None:
    assert may_cast(who(scope), spell) is allowed


def test_several_scopes_allow_what_each_of_them_does() -> None:
    caller = who("cast:a", "cast:b_*", "read")
    assert [name for name in ("a", "b_1", "c") if may_cast(caller, name)] == ["a", "b_1"]


def test_what_is_of_no_single_spell_needs_any_right_to_cast() -> None:
    require_cast(who("cast:echo"), "")
    with pytest.raises(AccessForbidden) as refused:
        require_cast(who("read"), "")
    assert refused.value.data == {"scopes": ["cast"]}


def test_who_lacks_a_scope_is_told_which() -> None:
    with pytest.raises(AccessForbidden) as refused:
        require_cast(who("cast:other"), "echo")
    assert refused.value.data == {"scopes": ["cast:echo"]}
    assert "key:1" in refused.value.message
    with pytest.raises(AccessForbidden) as refused:
        require_read(who("cast"))
    assert refused.value.data == {"scopes": ["read"]}


@pytest.mark.parametrize("scope", ["cast", "cast:x", "cast:x_*", "read"])
def test_any_scope_of_ours_lets_its_bearer_see_its_own_runs(scope: str) -> None:
    require_runs(who(scope))


@pytest.mark.parametrize("scopes", [(), ("openid", "profile")])
def test_scopes_of_somebody_else_allow_nothing(scopes: tuple[str, ...]) -> None:
    for require in (require_runs, require_read):
        with pytest.raises(AccessForbidden):
            require(who(*scopes))
    with pytest.raises(AccessForbidden):
        require_cast(who(*scopes), "echo")


def test_scopes_are_written_with_blanks_or_commas_between_them() -> None:
    assert parse_scopes(["cast:a, cast:b", "read  read"]) == {"cast:a", "cast:b", "read"}
    assert parse_scopes([" "]) == frozenset()


@pytest.mark.parametrize("text", ["Cast", "cast:", "cast:1a", "cast:a b*c", "write", "cast:a**"])
def test_what_is_no_scope_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_scopes([text])
    assert "cast:NAME" in refused.value.hint


def test_a_wider_scope_covers_a_narrower_one() -> None:
    assert covers("cast", "cast:a")
    assert covers("cast:a*", "cast:ab")
    assert covers("read", "read")
    assert not covers("cast:a", "cast")
    assert not covers("read", "cast:a")
