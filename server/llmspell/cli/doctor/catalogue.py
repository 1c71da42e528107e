"""What the list of tools costs the clients' models, and what of it some clients would lose."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from llmspell.cli.doctor.finding import Finding
from llmspell.config import McpSettings
from llmspell.endpoints.mcp.control_definitions import DEFINITIONS
from llmspell.endpoints.mcp.exchange import Client
from llmspell.endpoints.mcp.profiles import Profile, Profiles
from llmspell.endpoints.mcp.tools import ToolList
from llmspell.host.catalogue import Catalogue
from llmspell.values import JSON, Object, dumps

MANY_TOKENS = 2000
"""Tokens of a list that are worth a thought: every conversation pays them."""

_BYTES_PER_TOKEN = 4
"""Of the JSON of tools; measured with two tokenizers, it is 4.1 to 4.4."""

_LONG_DESCRIPTION = 2048
"""Claude Code cuts what is longer."""

_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names of fields that Anthropic's API takes; for another it refuses the whole request."""


@dataclass(frozen=True, slots=True)
class _Bill:
    tools: int
    bytes: int
    """Of `tools/list`."""
    tokens: int
    """Of what a model is shown of it: names, descriptions, input schemas."""


def examine(catalogue: Catalogue, settings: McpSettings) -> list[Finding]:
    """Look at the list of tools as each known client is given it."""
    profiles = Profiles(settings)
    tools = ToolList(catalogue, settings, profiles=profiles)
    findings = [_cost(tools, profiles)]
    findings += _lost(tools, profiles)
    findings += _taken(tools, settings)
    for spell in tools.spells.values():
        odd = [name for name in _fields(spell.input_schema) if not _FIELD.fullmatch(name)]
        if odd:
            findings.append(
                Finding(
                    f"spell {spell.name}",
                    "warning",
                    f"Claude takes no request with a tool that has the field {odd[0]!r}",
                    "name fields with letters, digits, _, . and -, 64 at most",
                )
            )
        if len(spell.description) > _LONG_DESCRIPTION:
            findings.append(
                Finding(
                    f"spell {spell.name}",
                    "warning",
                    f"its description has {len(spell.description)} characters; Claude Code shows "
                    f"{_LONG_DESCRIPTION}",
                    "say the most important first, or say less",
                )
            )
    return findings


def _cost(tools: ToolList, profiles: Profiles) -> Finding:
    bills = {profile.name: _bill(tools, profile) for profile in profiles.all}
    usual = bills["default"]
    text = _told(usual)
    others = [f"{name} {_told(bill)}" for name, bill in bills.items() if bill.tools != usual.tools]
    if others:
        text += f"; {', '.join(others)}"
    if usual.tokens <= MANY_TOKENS:
        return Finding("catalogue", "ok", text)
    return Finding(
        "catalogue",
        "warning",
        f"{text}: every conversation of a client pays that",
        'publish less, serve [mcp.bundles], or set mcp.catalogue = "search"',
    )


def _bill(tools: ToolList, profile: Profile) -> _Bill:
    client = Client(name=profile.clients[0] if profile.clients else "")
    listed: list[Object] = []
    cursor: str | None = None
    while True:
        page = tools.listing(client, modern=True, cursor=cursor)
        listed += page["tools"]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    shown = [[tool["name"], tool["description"], tool["inputSchema"]] for tool in listed]
    size = len(dumps(shown).encode())
    return _Bill(len(listed), len(dumps(listed).encode()), round(size / _BYTES_PER_TOKEN))


def _told(bill: _Bill) -> str:
    return f"{bill.tools} tools, {bill.bytes} bytes, about {bill.tokens} tokens"


def _lost(tools: ToolList, profiles: Profiles) -> list[Finding]:
    """Return what clients lose for the number or the names of the tools."""
    findings: list[Finding] = []
    for profile in profiles.all:
        if 0 < profile.tools < len(tools.spells) and not tools.offers("cast"):
            findings.append(
                Finding(
                    f"catalogue ({profile.name})",
                    "warning",
                    f"{len(tools.spells)} tools, and it takes {profile.tools}",
                    "have cast and spell_search in mcp.control_tools, or serve [mcp.bundles]",
                )
            )
        long = [name for name in tools.spells if len(name) > profile.name_length]
        if long:
            findings.append(
                Finding(
                    f"catalogue ({profile.name})",
                    "warning",
                    f"it takes names of {profile.name_length} characters, and drops {long[0]!r}"
                    + (f" and {len(long) - 1} more" if len(long) > 1 else ""),
                    "shorten the names"
                    + ("; the tool cast reaches these spells" if tools.offers("cast") else ""),
                )
            )
    return findings


def _taken(tools: ToolList, settings: McpSettings) -> list[Finding]:
    return [
        Finding(
            f"spell {tool['name']}",
            "warning",
            f"it takes the place of the tool {tool['name']!r} of llmspell",
            "rename it, or leave the tool out of mcp.control_tools",
        )
        for tool in DEFINITIONS
        if tool["name"] in settings.control_tools and tool["name"] in tools.spells
    ]


def _fields(schema: JSON) -> list[str]:
    """Return the names of all fields a schema speaks of."""
    found: list[str] = []
    pending: list[JSON] = [schema]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            inner = cast(Object, here)
            fields = inner.get("properties")
            if isinstance(fields, dict):
                found += cast(Object, fields)
            pending += inner.values()
        elif isinstance(here, list):
            pending += cast(list[JSON], here)
    return found
