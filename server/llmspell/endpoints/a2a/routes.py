"""What the A2A door adds to the application: its routes."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from llmspell.endpoints.a2a.cards import CardEndpoint
from llmspell.endpoints.a2a.dispatch import Dispatcher
from llmspell.endpoints.a2a.jsonrpc import MAX_BODY_BYTES, JsonRpcEndpoint
from llmspell.endpoints.a2a.websocket import WebSocketEndpoint
from llmspell.endpoints.auth.gate import Gate
from llmspell.host.interface import HostInterface


def routes(
    host: HostInterface,
    dispatcher: Dispatcher,
    gate: Gate,
    *,
    public_url: str = "",
    max_body_bytes: int = MAX_BODY_BYTES,
) -> list[BaseRoute]:
    """Return the routes of the card and of both bindings.

    Args:
        dispatcher: Answers what comes by both.
        public_url: The setting `server.public_url`: what the card's addresses begin with.
        max_body_bytes: Largest JSON-RPC request over HTTP.
    """
    card = CardEndpoint(host, gate.auth, public_url=public_url)
    rpc = JsonRpcEndpoint(dispatcher, gate, max_body_bytes=max_body_bytes)
    return [
        Route("/.well-known/agent-card.json", card.__call__),
        # The name of A2A 0.2, which some clients still ask for.
        Route("/.well-known/agent.json", card.__call__),
        # With and without a slash: a redirect of a POST is one that clients do not follow.
        Route("/a2a", rpc.__call__, methods=["POST"]),
        Route("/a2a/", rpc.__call__, methods=["POST"]),
        WebSocketRoute("/a2a/ws", WebSocketEndpoint(dispatcher, gate).__call__),
    ]
