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
from llmspell.endpoints.auth.authenticator import Authenticator, Scheme
from llmspell.host.catalogue import Catalogue, Published
from llmspell.host.interface import HostInterface
from llmspell.values import Object, canonical, content_hash, dumps
from llmspell_protocols.a2a.connection import BINDING

SKILL_EXTENSION = "urn:llmspell:a2a:skill:v1"
"""Extension that names the metadata key a client may choose a skill with."""

CACHE_CONTROL = "public, max-age=10"
"""Short, because a spell changes while its author looks."""

_MAX_NAMES = 16


def build_card(catalogue: Catalogue, base_url: str, *, scheme: Scheme | None) -> Object:
    """Return the card as A2A JSON (specification 4.4.1).

    Args:
        base_url: `http://name[:port]` under which the server was reached.
        scheme: How to authenticate; None where everybody may call.
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
    if scheme is not None:
        card["securitySchemes"] = {scheme.kind: _security(scheme)}
        needed = {"list": list(scheme.scopes)} if scheme.scopes else {}
        card["securityRequirements"] = [{"schemes": {scheme.kind: needed}}]
    return card


def _security(scheme: Scheme) -> Object:
    """Return a scheme as the card has it (specification 4.5)."""
    if scheme.kind == "bearer":
        return {"httpAuthSecurityScheme": {"scheme": "Bearer", "description": scheme.description}}
    flow = {
        "authorizationUrl": scheme.authorization_url,
        "tokenUrl": scheme.token_url,
        "scopes": dict(scheme.scopes),
        "pkceRequired": True,
    }
    return {
        "oauth2SecurityScheme": {
            "description": scheme.description,
            "flows": {"authorizationCode": flow},
            "oauth2MetadataUrl": scheme.metadata_url,
        }
    }


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
    scheme: Scheme | None
    body: bytes
    headers: Mapping[str, str]


class CardEndpoint:
    """Serves the hub's card with an ETag (specification 8.6)."""

    def __init__(self, host: HostInterface, auth: Authenticator, *, public_url: str = "") -> None:
        self._host = host
        self._auth = auth
        self._public_url = public_url.rstrip("/")
        self._served: dict[str, _Served] = {}

    async def __call__(self, request: Request) -> Response:
        """Return the card, or 304 when the client has it."""
        # The Host header was checked before this: it is a name this server answers to.
        reached = f"{request.url.scheme}://{request.url.netloc}"
        served = self._card(self._public_url or reached, await self._auth.scheme())
        if served.headers["etag"] in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=served.headers)
        return Response(served.body, headers=served.headers, media_type="application/json")

    def _card(self, base_url: str, scheme: Scheme | None) -> _Served:
        catalogue = self._host.catalogue()
        served = self._served.get(base_url)
        if served is None or (served.generation, served.scheme) != (catalogue.generation, scheme):
            card = build_card(catalogue, base_url, scheme=scheme)
            tag = content_hash(canonical(card))[:32]
            headers = {"etag": f'"{tag}"', "cache-control": CACHE_CONTROL}
            served = _Served(catalogue.generation, scheme, dumps(card).encode(), headers)
            if len(self._served) >= _MAX_NAMES:
                self._served.clear()
            self._served[base_url] = served
        return served


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
