"""The extension `io.modelcontextprotocol/skills` (SEP-2640): how to use the spells, as skills.

A skill's file is a resource; here are its two methods. Directories are not
served: every skill has one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mcp.server.lowlevel import Server
from mcp_types import PaginatedRequestParams, RequestParams

from llmspell.endpoints.mcp.changes import Context, not_found
from llmspell.endpoints.mcp.exchange import Exchange
from llmspell.endpoints.mcp.lists import FRESH_MS, cacheable, page
from llmspell.endpoints.mcp.reading import refused
from llmspell.errors import AccessForbidden
from llmspell.host.interface import DoorHost
from llmspell.host.library_interface import Skill
from llmspell.values import Object

SKILLS = "io.modelcontextprotocol/skills"


class SkillParams(RequestParams):
    """The params of `skills/get`."""

    uri: str


def register_skills(
    server: Server[dict[str, Any]], host: DoorHost, exchange_of: Callable[[Context], Exchange]
) -> None:
    """Serve `skills/*` on a server of the SDK, and declare the extension."""

    def skills_for(context: Context) -> Sequence[Skill]:
        try:
            return host.library.skills(caller=exchange_of(context).caller)
        except AccessForbidden as error:
            raise refused(error) from None

    async def list(context: Context, params: PaginatedRequestParams) -> Object:
        # The extension is of 2026-07-28, so its results are of that form for everybody.
        return page(
            "skills",
            skills_for(context),
            params.cursor,
            key=lambda skill: skill.uri,
            shown=_shown,
            is_modern=True,
        )

    async def get(context: Context, params: SkillParams) -> Object:
        for skill in skills_for(context):
            if skill.uri == params.uri:
                return cacheable({"skill": _shown(skill)}, FRESH_MS)
        raise not_found(params.uri, is_modern=True)

    server.extensions[SKILLS] = {}
    server.add_request_handler("skills/list", PaginatedRequestParams, list)
    server.add_request_handler("skills/get", SkillParams, get)


def _shown(skill: Skill) -> Object:
    return {
        "uri": skill.uri,
        "frontmatter": {"name": skill.name, "description": skill.description},
        "resources": [{"uri": skill.uri, "digest": skill.digest, "size": skill.size}],
    }
