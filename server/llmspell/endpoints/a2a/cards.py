"""The hub's agent card: every published spell as a skill, public, made from the catalogue.

Nothing runs when a card is asked for. It is made anew when the catalogue
changes or the server is reached under another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from llmspell import __version__
from llmspell.endpoints.a2a.dispatch import SUPPORTED_VERSIONS
from llmspell.endpoints.a2a.requests import INPUT_MODES, SKILL_KEY
from llmspell.endpoints.a2a.routing import skills
from llmspell.host.interface import Catalogue, HostInterface, Published
from llmspell.values import Object, canonical, content_hash, dumps
from llmspell_protocols.a2a.connection import BINDING

SKILL_EXTENSION = "urn:llmspell:a2a:skill:v1"
"""Extension that names the metadata key a client may choose a skill with."""

CACHE_CONTROL = "public, max-age=10"
"""Short, because a spell changes while its author looks."""

_MAX_NAMES = 16


def build_card(catalogue: Catalogue, base_url: str, *, requires_token: bool) -> Object:
    """Return the card as A2A JSON (specification 4.4.1).

    Args:
        base_url: `http://name[:port]` under which the server was reached.
        requires_token: Whether to declare the bearer scheme.
    """
    socket_url = "ws" + base_url.removeprefix("http") + "/a2a/ws"
    version = SUPPORTED_VERSIONS[0]
    card: Object = {
        "name": "llmspell",
        "description": "Casts the spells of a project. Name a skill in the metadata key "
        f"{SKILL_KEY}, or answer the question which one is meant.",
        "version": __version__,
        "supportedInterfaces": [
            {
                "url": f"{base_url}/a2a",
                "protocolBinding": "JSONRPC",
                "protocolVersion": version,
            },
            {"url": socket_url, "protocolBinding": BINDING, "protocolVersion": version},
        ],
        "capabilities": {
            "streaming": True,
            "pushNotifications": False,
            "extendedAgentCard": False,
            "extensions": [
                {
                    "uri": SKILL_EXTENSION,
                    "description": f"A message's metadata key {SKILL_KEY} names its skill by id.",
                    "params": {"metadataKey": SKILL_KEY},
                }
            ],
        },
        "defaultInputModes": list(INPUT_MODES),
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [_skill(spell) for spell in skills(catalogue)],
    }
    if requires_token:
        card["securitySchemes"] = {
            "bearer": {
                "httpAuthSecurityScheme": {
                    "scheme": "Bearer",
                    "description": "The token of the server's state directory.",
                }
            }
        }
        card["securityRequirements"] = [{"schemes": {"bearer": {}}}]
    return card


def _skill(spell: Published) -> Object:
    skill: Object = {
        "id": spell.name,
        "name": spell.title or spell.name,
        "description": spell.description or spell.title or spell.name,
        "tags": list(spell.tags) or [spell.kind],
    }
    examples = [_example(example.get("input")) for example in spell.examples]
    if examples:
        skill["examples"] = examples
    return skill


def _example(value: object) -> str:
    return value if isinstance(value, str) else dumps(value)


@dataclass(frozen=True, slots=True)
class _Served:
    generation: int
    body: bytes
    headers: Mapping[str, str]


class CardEndpoint:
    """Serves the hub's card with an ETag (specification 8.6)."""

    def __init__(self, host: HostInterface, *, requires_token: bool) -> None:
        self._host = host
        self._requires_token = requires_token
        self._served: dict[str, _Served] = {}

    async def __call__(self, request: Request) -> Response:
        """Return the card, or 304 when the client has it."""
        # The Host header was checked before this: it is a name this server answers to.
        served = self._card(f"{request.url.scheme}://{request.url.netloc}")
        if served.headers["etag"] in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=served.headers)
        return Response(served.body, headers=served.headers, media_type="application/json")

    def _card(self, base_url: str) -> _Served:
        catalogue = self._host.catalogue()
        served = self._served.get(base_url)
        if served is None or served.generation != catalogue.generation:
            card = build_card(catalogue, base_url, requires_token=self._requires_token)
            tag = content_hash(canonical(card))[:32]
            headers = {"etag": f'"{tag}"', "cache-control": CACHE_CONTROL}
            served = _Served(catalogue.generation, dumps(card).encode(), headers)
            if len(self._served) >= _MAX_NAMES:
                self._served.clear()
            self._served[base_url] = served
        return served


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
