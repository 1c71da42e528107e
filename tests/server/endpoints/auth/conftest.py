"""One authorization server for all tests of a module; each begins with the same keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.support.authorization_server import AuthorizationServer, serving_issuer
from tests.support.resource_server import KEYS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_issuer() -> AsyncGenerator[AuthorizationServer]:
    async with asyncio.timeout(60), serving_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(running_issuer: AuthorizationServer) -> AuthorizationServer:
    running_issuer.keys = list(KEYS)
    running_issuer.asked.clear()
    running_issuer.changed.clear()
    return running_issuer
