"""Callers: who they are is settled at the door, and only the door and the session change."""

from __future__ import annotations

import os

from llmspell.security.principals import Caller, anonymous_caller, local_caller


def test_the_person_of_this_process_is_the_same_at_every_door() -> None:
    caller = local_caller("mcp")
    assert caller.principal == local_caller("a2a").principal == f"local:{os.getuid()}"
    assert (caller.tenant, caller.session, caller.door) == ("default", "default", "mcp")


def test_nobody_is_a_tenant_of_his_own() -> None:
    nobody = anonymous_caller("mcp")
    assert nobody.principal == "anonymous"
    assert nobody.tenant != local_caller().tenant


def test_a_caller_at_another_door_is_the_same_person_in_the_same_session() -> None:
    caller = Caller(principal="p", tenant="t", session="s", door="cli", message={"a": 1})
    moved = caller.at("a2a")
    assert (moved.principal, moved.tenant, moved.session, moved.door) == ("p", "t", "s", "a2a")
    # What one door brought beyond the input is not what the next one brings.
    assert moved.message is None


def test_a_door_may_name_the_session_and_bring_a_message() -> None:
    caller = Caller(principal="p").at("a2a", session="context", message={"id": "m"})
    assert (caller.session, caller.message) == ("context", {"id": "m"})
    assert caller.at("a2a", session="").session == "context"
