"""The bundled spell `hello`."""

from __future__ import annotations

import pytest

from llmspell.errors import InputInvalid
from llmspell.host.host import Host


async def test_it_greets_whom_it_is_told_to_greet(host: Host) -> None:
    assert (await host.cast("hello", {"name": "Ada"})).output == "Hello, Ada!"


async def test_it_greets_the_world_when_it_is_told_nothing(host: Host) -> None:
    assert (await host.cast("hello", {})).output == "Hello, world!"


async def test_it_greets_only_by_name(host: Host) -> None:
    with pytest.raises(InputInvalid, match="name"):
        await host.cast("hello", {"name": 5})
    with pytest.raises(InputInvalid, match="nmae"):
        await host.cast("hello", {"nmae": "Ada"})
