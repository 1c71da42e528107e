"""What clients are told that cannot take what the others can, chosen by the name they give.

A profile says which part of JSON Schema a client passes on to its model, how
long a tool's name may be, how many tools it takes and how long its calls may
wait. It never says what may be called: every client may call every tool.

A client's name comes with `initialize`, and with each request of 2026-07-28.
There a list "MUST NOT vary per-connection" (server/tools): it varies by a
parameter of the request alone, so the same request is answered the same way on
every connection, a cache that keys by parameters is right, and the cache scope
of lists is `private` because a shared one might not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmspell.config import McpSettings, ProfileSettings
from llmspell.endpoints.mcp.schema_subset import Schemas

_SERVER = "llmspell"
"""The name under which `llmspell install` adds the server; clients put it before tool names."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The clients of one kind."""

    name: str
    clients: tuple[str, ...] = ()
    """Beginnings of the names they give themselves, in lower case."""
    schemas: Schemas = "full"
    """Which part of JSON Schema they take."""
    name_length: int = 128
    """Longest tool name they take, without the server's name before it."""
    tools: int = 0
    """Most tools they take; 0 = any number."""
    wait: float | None = None
    """Seconds after which their calls are given a handle; None = the setting `runs.wait`."""


DEFAULT = Profile("default")
"""Every client that no other profile fits. 128 is the limit of the specification."""

BUILT_IN: tuple[Profile, ...] = (
    # Names become mcp__SERVER__TOOL, which the model's API takes up to 64 characters of; a tool
    # whose schema has anyOf, oneOf or allOf at its root is dropped or fails the whole request
    # (claude-code#95504). It ends a call after 60 s to 4 min, whatever is configured
    # (claude-code#44032, #63379).
    Profile(
        "claude-desktop",
        ("claude-ai",),
        schemas="plain_root",
        name_length=64 - len(f"mcp__{_SERVER}__"),
        wait=40.0,
    ),
    # The same, but names are dropped above 128; its tool search copes with any number of tools.
    Profile(
        "claude-code",
        ("claude-code",),
        schemas="plain_root",
        name_length=128 - len(f"mcp__{_SERVER}__"),
    ),
    # At most 128 tools in a request; names become mcp_SERVER_TOOL, up to 64 characters. OpenAI's
    # models take no composition at the root either (langchainjs#9804).
    Profile(
        "vscode",
        ("visual studio code", "visual-studio-code", "vscode"),
        schemas="plain_root",
        name_length=64 - len(f"mcp_{_SERVER}_"),
        tools=128,
    ),
    # Sends the first 40 tools of all servers; server and tool name have 60 characters together.
    # Its gateway refuses a whole request for one schema with anyOf, oneOf or allOf
    # (senpi#952, opencode#14234).
    Profile(
        "cursor",
        ("cursor",),
        schemas="no_composition",
        name_length=60 - len(f"{_SERVER}:"),
        tools=40,
    ),
    # Refuses $ref, $defs, $schema and additionalProperties (gemini-cli#13326, #13142), several
    # types (gemini-cli#21094) and enums of anything but texts; names become mcp_SERVER_TOOL,
    # shortened in their middle above 63 characters.
    Profile(
        "gemini",
        ("gemini-cli",),
        schemas="plain",
        name_length=63 - len(f"mcp_{_SERVER}_"),
    ),
    Profile(
        "codex",
        ("codex",),
        schemas="plain_root",
        name_length=64 - len(f"mcp__{_SERVER}__"),
    ),
)
"""What is known of clients, from reports about them; settings may say otherwise."""


class Profiles:
    """The profiles in force: the built-in ones, as the settings `[mcp.profiles]` change them."""

    def __init__(self, settings: McpSettings) -> None:
        built_in = {profile.name: profile for profile in (DEFAULT, *BUILT_IN)}
        changed = {
            name: _changed(built_in.get(name), name, profile)
            for name, profile in settings.profiles.items()
        }
        self._by_name: Mapping[str, Profile] = {**built_in, **changed}
        # The longest beginning decides; of equal ones that of the settings.
        self._beginnings = sorted(
            (
                (beginning, name in changed, name)
                for name, profile in self._by_name.items()
                for beginning in profile.clients
            ),
            key=lambda item: (-len(item[0]), not item[1], item[2]),
        )

    @property
    def all(self) -> tuple[Profile, ...]:
        """Every profile, `default` first."""
        return tuple(self._by_name.values())

    def of(self, client: str) -> Profile:
        """Return the profile of a client by the name it gives itself ("" = none given)."""
        folded = client.lower()
        for beginning, _, name in self._beginnings:
            if folded.startswith(beginning):
                return self._by_name[name]
        return self._by_name["default"]


def _changed(old: Profile | None, name: str, settings: ProfileSettings) -> Profile:
    said = settings.model_dump(exclude_none=True)
    if settings.clients is not None:
        said["clients"] = tuple(client.lower() for client in settings.clients)
    # One that is not built in is for the clients of its own name unless it says otherwise.
    return replace(old or Profile(name, (name.lower(),)), **said)
