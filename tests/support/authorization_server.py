"""A small OAuth 2.1 authorization server on loopback, for tests of the resource server.

It knows the authorization code flow with PKCE, registers every client, consents to everything,
and signs with keys that a test rotates. `token` mints any token directly, wrong ones too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

METADATA_PATH = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True)
class SigningKey:
    """A key pair the server signs with."""

    kid: str
    algorithm: str
    private: Any

    @classmethod
    def make(cls, kid: str, algorithm: str = "RS256") -> SigningKey:
        """Make a key for RS256 or ES256."""
        if algorithm == "RS256":
            return cls(kid, algorithm, rsa.generate_private_key(65537, 2048))
        return cls(kid, algorithm, ec.generate_private_key(ec.SECP256R1()))

    def public(self) -> dict[str, Any]:
        """Return the public half as a JWK."""
        algorithm = RSAAlgorithm if self.algorithm == "RS256" else ECAlgorithm
        text = algorithm.to_jwk(self.private.public_key())
        return {**json.loads(text), "kid": self.kid, "alg": self.algorithm, "use": "sig"}


@dataclass
class _Grant:
    challenge: str
    redirect_uri: str
    scope: str
    resource: str


@dataclass
class AuthorizationServer:
    """The server; `serving_issuer` runs it."""

    url: str = ""
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey.make("first")])
    """The published keys; tokens are signed with the last."""
    subject: str = "alice"
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further claims of every token that the flow gives out."""
    asked: Counter[str] = field(default_factory=Counter[str])
    """How often each path was asked for."""
    scopes: list[str] = field(default_factory=list[str])
    """What clients asked for, in turn."""
    changed: dict[str, Callable[[], Response]] = field(
        default_factory=dict[str, Callable[[], Response]]
    )
    """Answers a test puts in place of the server's own, by path."""
    _grants: dict[str, _Grant] = field(default_factory=dict[str, _Grant])

    def metadata(self) -> dict[str, Any]:
        """Return what RFC 8414 asks for."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }

    def token(
        self, audience: Any, *, key: SigningKey | None = None, kid: str | None = None, **claims: Any
    ) -> str:
        """Return a token signed with the newest key, or with `key`.

        Args:
            kid: What the header calls the key; the key's own name when None.
            claims: Put over the usual ones; None leaves a claim out.
        """
        key = key or self.keys[-1]
        now = int(time.time())
        usual = {
            "iss": self.url,
            "sub": self.subject,
            "aud": audience,
            "iat": now,
            "exp": now + 300,
            "scope": "cast read",
        }
        body = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        headers = {"kid": kid or key.kid, "typ": "at+jwt"}
        return jwt.encode(body, key.private, algorithm=key.algorithm, headers=headers)

    def app(self) -> Starlette:
        """Return the application."""
        answers: dict[str, Callable[[Request], Any]] = {
            METADATA_PATH: lambda _: JSONResponse(self.metadata()),
            "/jwks": lambda _: JSONResponse({"keys": [key.public() for key in self.keys]}),
            "/authorize": self._authorize,
            "/token": self._token,
            "/register": self._register,
        }

        async def answer(request: Request) -> Response:
            path = request.url.path
            self.asked[path] += 1
            if path in self.changed:
                return self.changed[path]()
            found = answers[path](request)
            return await found if asyncio.iscoroutine(found) else found

        return Starlette(routes=[Route(path, answer, methods=["GET", "POST"]) for path in answers])

    def _authorize(self, request: Request) -> Response:
        asked = request.query_params
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        self.scopes.append(asked.get("scope", ""))
        code = secrets.token_urlsafe(16)
        self._grants[code] = _Grant(
            asked["code_challenge"],
            asked["redirect_uri"],
            asked.get("scope", ""),
            asked["resource"],
        )
        back = {"code": code, "state": asked["state"], "iss": self.url}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        grant = self._grants.pop(str(form["code"]))
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == grant.challenge
        assert form["redirect_uri"] == grant.redirect_uri
        # RFC 8707: the token is for the resource that was named, at both endpoints.
        assert form["resource"] == grant.resource
        token = self.token(grant.resource, scope=grant.scope, **self.claims)
        return JSONResponse(
            {
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": grant.scope,
            },
            headers={"cache-control": "no-store"},
        )

    async def _register(self, request: Request) -> Response:
        asked = await request.json()
        return JSONResponse(
            {**asked, "client_id": secrets.token_hex(8), "token_endpoint_auth_method": "none"}, 201
        )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the test runner's."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def serving_issuer() -> AsyncGenerator[AuthorizationServer]:
    """Serve an authorization server on a free port, in this process."""
    issuer = AuthorizationServer()
    config = uvicorn.Config(
        issuer.app(), port=0, log_config=None, lifespan="off", ws="none", access_log=False
    )
    listener = config.bind_socket()
    issuer.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = _Server(config)
    task = asyncio.ensure_future(server.serve([listener]))
    try:
        yield issuer
    finally:
        server.should_exit = True
        await task
