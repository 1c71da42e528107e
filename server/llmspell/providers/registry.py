"""The providers of one host: from a model's name to the provider that has it.

Makes no call of its own, retries nothing and keeps no account.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from llmspell import plugins
from llmspell.clock import Clock, SystemClock
from llmspell.effects.messages import ModelEvent, ModelRequest
from llmspell.errors import ModelUnavailable, ModelUnknown, nearest
from llmspell.providers.litellm import LiteLLMProvider
from llmspell.providers.prices import Price, Prices
from llmspell.providers.provider import Provider
from llmspell.providers.scripted import ScriptedProvider

FALLBACK_MODEL = "scripted/echo"
"""What answers when no default model is set. It is no language model, and says so."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a model's name leads."""

    provider: Provider
    model: str
    """The name as the provider takes it."""
    full_name: str
    """`provider/model`, with roles and the default resolved."""


class Providers:
    """The scripted provider, those of installed packages, and litellm for every other name.

    Args:
        default: Model of requests that name none; `FALLBACK_MODEL` when empty.
        roles: Names that stand for a model, e.g. `{"smart": "anthropic/claude-sonnet-4-5"}`.
        keys: API keys by provider, e.g. `{"openai": ...}`.
        api_bases: Base URLs by provider.
        secrets: Further values that no error text may show.
        project: Directory that `scripted/PATH` is read from.
        clock: Measures delays and timeouts.
        allow_network: Whether models other than scripted ones may be asked.
        timeout_seconds: Longest time one call may take.
        worst_usd_per_million_tokens: What a model of unknown price is taken to cost.
    """

    def __init__(
        self,
        *,
        default: str = "",
        roles: Mapping[str, str] | None = None,
        keys: Mapping[str, str] | None = None,
        api_bases: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        project: Path | None = None,
        clock: Clock | None = None,
        allow_network: bool = True,
        timeout_seconds: float = 120.0,
        worst_usd_per_million_tokens: float | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self._default = default
        self._roles = dict(roles or {})
        self._allow_network = allow_network
        self._scripted = ScriptedProvider(project, clock=clock)
        self._litellm = LiteLLMProvider(
            keys=keys,
            api_bases=api_bases,
            secrets=secrets,
            timeout_seconds=timeout_seconds,
            clock=clock,
        )
        self._installed: dict[str, Provider] = {}
        self._prices = Prices(
            api_bases=api_bases, worst_usd_per_million_tokens=worst_usd_per_million_tokens
        )

    @property
    def is_fallback(self) -> bool:
        """Whether requests that name no model are answered by `FALLBACK_MODEL`."""
        return not self._default

    def resolve(self, model: str) -> Resolved:
        """Return the provider of a model.

        Args:
            model: `provider/model`, a role, or "" for the default.

        Raises:
            ModelUnknown: It is neither a role nor written provider/model.
            ModelUnavailable: It needs the network, and the network is switched off.
        """
        name = model or self._default or FALLBACK_MODEL
        name = self._roles.get(name, name)
        provider, slash, rest = name.partition("/")
        if not slash or not provider or not rest:
            raise self._unknown(name)
        if provider == self._scripted.name:
            return Resolved(self._scripted, rest, name)
        if not self._allow_network:
            raise ModelUnavailable(
                f"{name!r} needs the network, which LLMSPELL_ALLOW_NETWORK=0 has switched off",
                hint="unset LLMSPELL_ALLOW_NETWORK, or use a scripted model",
            )
        if (installed := self._plugin(provider)) is not None:
            return Resolved(installed, rest, name)
        full_name = rest if provider == self._litellm.name else name
        return Resolved(self._litellm, full_name, full_name)

    def _plugin(self, name: str) -> Provider | None:
        """Return the provider that an installed package registers under a name, or None."""
        if name == self._litellm.name or name not in plugins.names("providers"):
            return None
        if name not in self._installed:
            self._installed[name] = plugins.load("providers", name)()
        return self._installed[name]

    def stream(
        self, request: ModelRequest, *, idempotency_key: str = ""
    ) -> AsyncGenerator[ModelEvent]:
        """Ask the request's model; as `Provider.stream`.

        Raises:
            ModelError: As `resolve`, at once, or as the provider, while it streams.
        """
        found = self.resolve(request.model)
        return found.provider.stream(request, model=found.model, idempotency_key=idempotency_key)

    async def price(self, model: str) -> Price | None:
        """Return the most that a request's model costs, or None when that is unknown.

        Raises:
            ModelUnknown, ModelUnavailable: As `resolve`.
        """
        return await self._prices.of(self.resolve(model).full_name)

    async def close(self) -> None:
        """Close every provider. Closing twice is no error."""
        for provider in (self._scripted, self._litellm, *self._installed.values()):
            await provider.close()

    def _unknown(self, name: str) -> ModelUnknown:
        roles = sorted(self._roles)
        close = nearest(name, roles)
        suggestion = f"did you mean {close!r}? " if close else ""
        known = f"The roles are: {', '.join(roles)}. " if roles else ""
        return ModelUnknown(
            f"{name!r} is no model and no role",
            hint=f"{suggestion}{known}A model is named provider/model, "
            "e.g. anthropic/claude-sonnet-4-5",
        )
