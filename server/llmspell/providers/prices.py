"""What models cost, before they are asked: from litellm's list of prices, read without litellm.

The list comes with the library (`model_prices_and_context_window_backup.json`)
and is as old as it is. What a call did cost is the provider's to say; this is
for what a call may cost at most.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from llmspell.values import Object

LOCAL_PROVIDERS: Final = frozenset(
    {
        "scripted",
        "docker_model_runner",
        "lemonade",
        "llamafile",
        "lm_studio",
        "ollama",
        "ollama_chat",
        "oobabooga",
        "xinference",
    }
)
"""Providers whose models run on machines of one's own, and cost nothing."""

_LIST: Final = "model_prices_and_context_window_backup.json"
_TIER: Final = re.compile(r"(input|output)_cost_per_token_above_(\d+)k_tokens")
_SURCHARGED: Final = ("input_cost_per_token", "cache_creation_input_token_cost")
_WRITTEN: Final = ("output_cost_per_token", "output_cost_per_reasoning_token")


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a model's tokens cost, in US dollars for one token."""

    read: float
    written: float
    above: int = 0
    """From how many input tokens on `read_above` and `written_above` hold; 0 = never."""
    read_above: float = 0.0
    written_above: float = 0.0

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return what so many tokens cost at most."""
        if self.above and input_tokens > self.above:
            return input_tokens * self.read_above + output_tokens * self.written_above
        return input_tokens * self.read + output_tokens * self.written


FREE: Final = Price(read=0.0, written=0.0)
"""The price of models that cost nothing."""


class Prices:
    """The price of every model.

    Args:
        api_bases: Base URLs by provider; what one on this machine serves is free, unless the list
            has its price: it may be a proxy.
        worst_usd_per_million_tokens: The price of models the list does not have; None = unknown.
    """

    def __init__(
        self,
        *,
        api_bases: Mapping[str, str] | None = None,
        worst_usd_per_million_tokens: float | None = None,
    ) -> None:
        self._here = {name for name, base in (api_bases or {}).items() if _is_local(base)}
        self._worst: Price | None = None
        if worst_usd_per_million_tokens is not None:
            each = worst_usd_per_million_tokens / 1_000_000
            self._worst = Price(read=each, written=each)
        self._list: Mapping[str, Any] | None = None
        self._lock = asyncio.Lock()

    async def of(self, model: str) -> Price | None:
        """Return the price of a model (`provider/model`), or None when it is unknown."""
        provider, _, name = model.partition("/")
        if provider in LOCAL_PROVIDERS:
            return FREE
        if self._list is None:
            async with self._lock:
                self._list = self._list or await asyncio.to_thread(_read_list)
        for entry in (self._list.get(model), _of_provider(self._list.get(name), provider)):
            price = _price(entry)
            if price is not None:
                return price
        return FREE if provider in self._here else self._worst


def _is_local(base: str) -> bool:
    try:
        host = urlsplit(base).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, or no URL
        return False


def _read_list() -> Mapping[str, Any]:
    # Found, and not imported: that would take seconds and 190 MB.
    found = find_spec("litellm")
    places = found.submodule_search_locations if found else None
    for place in places or ():
        path = Path(place) / _LIST
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    return {}


def _of_provider(entry: Any, provider: str) -> Any:
    """Return an entry listed without its provider, when it is this provider's."""
    if isinstance(entry, dict) and cast(Object, entry).get("litellm_provider") == provider:
        return cast(Any, entry)
    return None


def _price(entry: Any) -> Price | None:
    if not isinstance(entry, dict):
        return None
    fields = cast(Object, entry)
    if not all(_number(fields.get(f"{way}_cost_per_token")) for way in ("input", "output")):
        return None
    read = max(fields[name] for name in _SURCHARGED if _number(fields.get(name)))
    written = max(fields[name] for name in _WRITTEN if _number(fields.get(name)))
    above, read_above, written_above = 0, read, written
    for name, value in fields.items():
        tier = _TIER.fullmatch(name)
        if tier is None or not _number(value):
            continue
        # Where there are several tiers, the dearest holds from the lowest on.
        above = min(above or 1 << 62, int(tier[2]) * 1000)
        if tier[1] == "input":
            # What is written to a cache is dearer by the same part.
            read_above = max(read_above, value * read / (fields["input_cost_per_token"] or 1.0))
        else:
            written_above = max(written_above, value)
    return Price(
        read=read,
        written=written,
        above=above,
        read_above=read_above,
        written_above=written_above,
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and value >= 0
