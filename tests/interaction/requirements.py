"""What llmspell promises to whoever comes to one of its doors, each promise with its test.

A promise is an entry here and a test marked with its id; `test_manifest.py` holds the two
together. The test runs once for each door the promise is made at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import pytest

DoorName: TypeAlias = Literal["host", "cli", "mcp-stdio", "mcp-http", "a2a-http", "a2a-ws"]

MCP: tuple[DoorName, ...] = ("mcp-stdio", "mcp-http")
A2A: tuple[DoorName, ...] = ("a2a-http", "a2a-ws")
EDGES: tuple[DoorName, ...] = (*MCP, *A2A)
EVERY: tuple[DoorName, ...] = ("host", "cli", *EDGES)

ID = re.compile(r"[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]+")
"""`area:feature:variant`."""

MARK = "requirement_id"
"""Attribute of a test function: the promise it holds."""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Requirement:
    """One promise."""

    id: str
    sentence: str
    source: str
    """Where it is promised: a section of ARCHITECTURE.md, of the README, or of a specification."""
    doors: tuple[DoorName, ...] = EVERY


REQUIREMENTS: tuple[Requirement, ...] = (
    # -- the catalogue
    Requirement(
        "catalogue:list:every-door",
        "Every published spell is listed at every door.",
        "Architecture: one door",
    ),
    Requirement(
        "catalogue:expose:chosen-doors",
        "A spell that is not exposed at a door is neither listed nor cast there.",
        "Spell API: a file returns one thing, expose",
        EDGES,
    ),
    # -- what goes in and comes out
    Requirement(
        "cast:output:text",
        "A text that a spell returns arrives as the same text.",
        "Spell API: run(input, ctx)",
    ),
    Requirement(
        "cast:output:structured",
        "A structured output arrives as the same JSON value.",
        "Spell API: run(input, ctx)",
    ),
    Requirement(
        "cast:input:any-value",
        "Every JSON value, nested and in any script of Unicode, goes in and comes out unchanged.",
        "Spell API: schema",
    ),
    Requirement(
        "cast:input:defaults",
        "A field with a default may be left out.",
        "Spell API: schema",
    ),
    Requirement(
        "cast:child:own-run",
        "What a spell casts is cast for the same caller, and its result is used.",
        "Runs: the record",
    ),
    Requirement(
        "cast:workflow:agents",
        "A workflow of agents gives its last step's answer.",
        "Spell API: workflows, agents",
    ),
    # -- what goes wrong
    Requirement(
        "error:input:misfit",
        "Input that does not fit names the field, with code input.invalid.",
        "Runs: validate input; MCP 2026-07-28 server/tools, error handling; A2A 1.0 section 5.4",
    ),
    Requirement(
        "error:input:unknown-field",
        "A field the spell does not know is refused by name, with code input.invalid.",
        "Spell API: schema",
    ),
    Requirement(
        "error:input:too-large",
        "An argument of ten megabytes is refused, and the door goes on.",
        "Runs: limits",
    ),
    Requirement(
        "error:spell:unknown",
        "A spell that does not exist is an error with code spell.not_found.",
        "Errors: catalogue; MCP 2026-07-28 server/tools, unknown tool",
    ),
    Requirement(
        "error:spell:raised",
        "An error that a spell raises arrives with its message, hint, file and line, "
        "code spell.raised and the run's id.",
        "Spell API: errors an author sees",
    ),
    Requirement(
        "error:output:misfit",
        "A spell that returns what it did not declare fails with code output.invalid.",
        "Runs: validate output",
    ),
    Requirement(
        "error:limit:wall-clock",
        "A loop without end is ended with code limit.wall_clock, and the server goes on.",
        "Runs: limits",
    ),
    Requirement(
        "error:limit:memory",
        "A spell that eats memory is ended with a limit's code, and the server goes on.",
        "Runs: limits",
    ),
    Requirement(
        "error:needs:undeclared",
        "A spell that casts what it does not declare is refused with the line to add.",
        "Invariants: a spell acts only within its needs",
    ),
    Requirement(
        "error:model:unreachable",
        "A model that cannot be reached is an error with code model.unavailable.",
        "Errors: catalogue",
    ),
    # -- one core behind every door
    Requirement(
        "state:shared:every-door",
        "A note that is written through one door is read through every other.",
        "State: scopes",
    ),
    Requirement(
        "state:user:every-door",
        "What a spell keeps for a user is the same for one person at every door.",
        "Runs: who is calling",
    ),
    Requirement(
        "runs:visible:every-door",
        "A run begun at one door is in the list of runs, and a task of A2A, for the same person.",
        "Architecture: every cast is a durable run",
    ),
    # -- change
    Requirement(
        "reload:changed:without-reconnecting",
        "A changed spell is used at every door without reconnecting.",
        "Architecture: host, spellbook; MCP 2026-07-28 server/tools, list changed",
    ),
    Requirement(
        "reload:broken:older-version",
        "A spell that no longer loads goes on in its older version.",
        "Architecture: host, spellbook",
    ),
)

BY_ID = {requirement.id: requirement for requirement in REQUIREMENTS}


def requirement(id: str) -> Callable[[_F], _F]:
    """Mark a test as the one that holds a promise, and run it over the promise's doors.

    The test's argument `door` is each of them in turn.

    Raises:
        KeyError: There is no such promise.
    """
    doors = BY_ID[id].doors

    def mark(test: _F) -> _F:
        setattr(test, MARK, id)
        return pytest.mark.parametrize("door", doors, indirect=True)(test)

    return mark
