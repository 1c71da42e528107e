"""The list of tools: the published spells and the tools beside them, as each client takes them.

Listing runs nothing. A `ToolList` is of one catalogue and is replaced whole when
the catalogue changes; what it says to the clients of one profile is made when
the first of them asks. What may be called does not depend on it: every spell
may be, by every client.

Beyond a number of tools, or with `mcp.catalogue = "search"`, a client is shown
only the tools by which it finds and casts the spells. What is left out of a
list, for its number or its name, can be reached with `cast`, or it is listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmspell.config import McpSettings
from llmspell.endpoints.mcp.bundles import in_bundle
from llmspell.endpoints.mcp.control_definitions import DEFINITIONS
from llmspell.endpoints.mcp.exchange import Client
from llmspell.endpoints.mcp.instructions import instructions
from llmspell.endpoints.mcp.lists import icon, page
from llmspell.endpoints.mcp.profiles import Profile, Profiles
from llmspell.endpoints.mcp.results import published_output
from llmspell.endpoints.mcp.schema_subset import subset
from llmspell.endpoints.mcp.spell_search import SpellIndex
from llmspell.host.catalogue import Catalogue, Published
from llmspell.values import Object, dumps

_SEARCHING = ("cast", "spell_search")
"""What a client needs that is not shown every spell."""

_KEPT_WHOLE = 50_000
"""Characters of a result that Claude Code keeps in the conversation unless a tool says more."""

_MOST_KEPT = 500_000


class ToolList:
    """The tools at one moment, of everything that is published or of one bundle.

    Args:
        bundle: Name of the bundle; "" = everything.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: McpSettings | None = None,
        *,
        profiles: Profiles | None = None,
        bundle: str = "",
    ) -> None:
        self._settings = settings or McpSettings()
        self._profiles = profiles or Profiles(self._settings)
        published = [spell for spell in catalogue.spells if spell.expose_mcp]
        if bundle:
            published = [
                spell
                for spell in published
                if in_bundle(bundle, self._settings.bundles, own=spell.bundle, spell=spell.name)
            ]
        self.spells: dict[str, Published] = {spell.name: spell for spell in published}
        """What may be called, by tool name."""
        self._control: dict[str, Object] = {
            tool["name"]: tool
            for tool in DEFINITIONS
            if tool["name"] in self._settings.control_tools and tool["name"] not in self.spells
        }
        self._views: dict[tuple[str, bool], list[Object]] = {}
        self._index: SpellIndex | None = None
        self.instructions = instructions(
            published,
            offered=self._control,
            searched=self._is_searched(self._profiles.of("")),
            bundle=bundle,
        )

    def get(self, name: str) -> Published | None:
        """Return the spell that may be called by a tool's name, or None."""
        return self.spells.get(name)

    def offers(self, name: str) -> bool:
        """Return whether the name is that of a tool beside the spells."""
        return name in self._control

    def input_schema(self, name: str) -> Mapping[str, object] | None:
        """Return the full input schema of a tool, or None when there is no such tool."""
        spell = self.spells.get(name)
        if spell is not None:
            return spell.input_schema
        tool = self._control.get(name)
        return None if tool is None else tool["inputSchema"]

    def profile(self, client: Client) -> Profile:
        """Return what is known of a client."""
        return self._profiles.of(client.name)

    def listing(self, client: Client, modern: bool, cursor: str | None = None) -> Object:
        """Return the page of `tools/list` that a client asks for.

        The order is that of the names.

        Raises:
            MCPError: The cursor is none of ours.
        """
        return page(
            "tools",
            self._view(self.profile(client), modern=modern),
            cursor,
            key=lambda tool: tool["name"],
            shown=lambda tool: tool,
            is_modern=modern,
            size=self._settings.page,
        )

    def same_as(self, other: ToolList) -> bool:
        """Return whether no client is listed anything else by the other."""
        default = self._profiles.of("")
        if self._settings.catalogue == "search":
            # Every client is listed the same there.
            return self._view(default, modern=True) == other._view(default, modern=True)
        return self._control == other._control and (
            self._listed(self.spells) == self._listed(other.spells)
        )

    def search(self, query: str, limit: int, client: Client) -> Object:
        """Return the spells that fit a query best: `{spells, total}`, the best first.

        Each is `{name, title?, description, input_schema}`. There are fewer than asked for where
        their text would be longer than a result may be.
        """
        if self._index is None:
            self._index = SpellIndex(self.spells.values())
        profile = self.profile(client)
        found: list[Object] = []
        room = self._settings.result_bytes
        for spell in self._index.find(query, limit):
            entry: Object = {"name": spell.name}
            if spell.title:
                entry["title"] = spell.title
            entry["description"] = _description(spell)
            entry["input_schema"] = subset(spell.input_schema, profile.schemas)
            room -= len(dumps(entry).encode())
            if room < 0 and found:
                break
            found.append(entry)
        result: Object = {"spells": found, "total": len(self.spells)}
        if not found:
            result["hint"] = 'no spell has these words; "" lists all'
        return result

    # -- inside

    def _view(self, profile: Profile, *, modern: bool) -> list[Object]:
        view = self._views.get((profile.name, modern))
        if view is None:
            view = self._views[profile.name, modern] = self._make(profile, modern=modern)
        return view

    def _make(self, profile: Profile, *, modern: bool) -> list[Object]:
        tools: dict[str, Object] = {}
        if not self._is_searched(profile):
            tools = self._listed(self.spells, profile, modern=modern)
        is_whole = len(tools) == len(self.spells)
        for name, tool in self._control.items():
            few = is_whole and len(self.spells) <= self._settings.search_above
            if name != "spell_search" or not few:
                schema = subset(tool["inputSchema"], profile.schemas)
                tools[name] = {**tool, "inputSchema": schema}
        return [tools[name] for name in sorted(tools)]

    def _listed(
        self,
        spells: Mapping[str, Published],
        profile: Profile | None = None,
        *,
        modern: bool = True,
    ) -> dict[str, Object]:
        """Return the tools of spells whose names a client takes, or whose only way that is."""
        reachable = self.offers("cast")
        longest = profile.name_length if profile is not None else 128
        return {
            name: self._tool(spell, profile, modern=modern)
            for name, spell in spells.items()
            if len(name) <= longest or not reachable
        }

    def _is_searched(self, profile: Profile) -> bool:
        """Return whether a client is shown no spells, but the tools to find and cast them."""
        if not all(self.offers(name) for name in _SEARCHING):
            return False
        if self._settings.catalogue == "search":
            return True
        # spell_search is one of them only where there is much to search.
        beside = len(self._control) - (len(self.spells) <= self._settings.search_above)
        return 0 < profile.tools < len(self.spells) + beside

    def _tool(self, spell: Published, profile: Profile | None, *, modern: bool) -> Object:
        tool: Object = {"name": spell.name}
        if spell.title:
            tool["title"] = spell.title
        tool["description"] = _description(spell)
        schemas = profile.schemas if profile is not None else "full"
        tool["inputSchema"] = subset(spell.input_schema, schemas)
        output = published_output(spell)
        # Up to 2025-11-25 it must describe an object, and clients of that time refuse the whole
        # list otherwise.
        if output is not None and (modern or output.get("type") == "object"):
            tool["outputSchema"] = output
        # All four are always set. Where the author said nothing, the answer is the
        # worst case the specification assumes too: whoever asks before acting, asks.
        tool["annotations"] = {
            "readOnlyHint": spell.read_only,
            "destructiveHint": (
                not spell.read_only if spell.destructive is None else spell.destructive
            ),
            "idempotentHint": spell.idempotent or spell.read_only,
            "openWorldHint": True if spell.open_world is None else spell.open_world,
        }
        if spell.icon:
            tool["icons"] = [icon(spell.icon)]
        if self._settings.result_bytes > _KEPT_WHOLE:
            most = min(self._settings.result_bytes, _MOST_KEPT)
            tool["_meta"] = {"anthropic/maxResultSizeChars": most}
        return tool


def _description(spell: Published) -> str:
    # Several model APIs refuse a tool without one.
    return spell.description or spell.title or f"The spell {spell.name!r}."
