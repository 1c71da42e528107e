"""The parts of a host, made from a project's settings: store, engine, models, services."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from llmspell import plugins
from llmspell.clock import Clock
from llmspell.config import Project
from llmspell.host.spellbook import Spellbook
from llmspell.host.versions import Versions
from llmspell.providers.registry import Providers
from llmspell.runs.archive import Archive
from llmspell.runs.castable import Castable
from llmspell.runs.live import LiveRun
from llmspell.runs.log import ListKind
from llmspell.runs.record import Run
from llmspell.runs.services import Services
from llmspell.runs.turns import Turns
from llmspell.runtime.engine import Engine, ScriptLimits
from llmspell.state.restoring import finish_restore
from llmspell.state.scopes import Scopes
from llmspell.state.store import Quotas, Store

DEFAULT_MODELS = (
    ("ANTHROPIC_API_KEY", "anthropic/claude-sonnet-4-5"),
    ("OPENAI_API_KEY", "openai/gpt-5"),
    ("GEMINI_API_KEY", "gemini/gemini-2.5-flash"),
    ("MISTRAL_API_KEY", "mistral/mistral-large-latest"),
)
"""The default model when the settings name none: the first whose provider has a key."""


def make_store(project: Project, kind: Literal["rocksdb", "memory"], clock: Clock) -> Store:
    """Open the store of a project.

    Raises:
        StateOwned: Another process has it.
        StateNewerFormat: It is of a newer llmspell.
    """
    project.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if kind == "rocksdb":
        finish_restore(project.state)  # a restore may have been killed between its two renames
    settings = project.settings.state
    quotas = Quotas(
        tenant_bytes=settings.quota_bytes,
        tenant_keys=settings.quota_keys,
        scope_bytes=settings.scope_quota_bytes,
        scope_keys=settings.scope_quota_keys,
    )
    return plugins.load("stores", kind).open(project.state / "db", clock=clock, quotas=quotas)


def make_engine(project: Project) -> Engine:
    """Return the engine of a project's spells. Starts nothing."""
    limits, runtime = project.settings.limits, project.settings.runtime
    return plugins.load("engines", "lua")(
        isolation=runtime.isolation,
        casts=limits.casts,
        queue=limits.queue,
        idle_workers=runtime.idle_workers,
        max_workers=limits.workers,
        warm_workers=runtime.warm_workers,
        worker_casts=runtime.worker_casts,
        warm_seconds=runtime.warm_seconds,
    )


def make_models(project: Project, clock: Clock) -> Providers:
    """Return the models of a project's settings. Asks none."""
    settings = project.settings
    return Providers(
        default=settings.models.default or _default_model(project.environment),
        roles=settings.models.roles,
        keys=_keys(project),
        api_bases={name: item.api_base for name, item in settings.providers.items()},
        project=project.root,
        clock=clock,
        allow_network=project.allow_network,
        timeout_seconds=settings.models.timeout_seconds,
        worst_usd_per_million_tokens=settings.models.worst_usd_per_million_tokens,
    )


def make_services(
    project: Project,
    archive: Archive,
    models: Providers,
    book: Spellbook,
    versions: Versions,
    clock: Clock,
    *,
    new_live: Callable[[Run, Castable], LiveRun],
    resource_changed: Callable[[str, str], None],
    list_changed: Callable[[ListKind], None],
) -> Services:
    """Return what performing needs of the house; the last three are told, see `Services`."""
    settings, limits = project.settings, project.settings.limits
    return Services(
        archive=archive,
        scopes=Scopes(archive.store, clock=clock),
        models=models,
        clock=clock,
        limits=limits,
        model_settings=settings.models,
        script_limits=ScriptLimits(
            heap_bytes=limits.heap_bytes,
            slice_seconds=limits.slice_seconds,
            cpu_seconds=limits.cpu_seconds,
            host_calls=limits.host_calls,
        ),
        turns=Turns(queue=limits.queue),
        find=book.get,
        suggest=book.suggest,
        castable_of=versions.of,
        resource_changed=resource_changed,
        list_changed=list_changed,
        new_live=new_live,
        history=settings.runs.history,
        ask_seconds=settings.runs.ask,
    )


def load_limits(project: Project) -> ScriptLimits:
    """Return what the top level of a file may use."""
    limits = project.settings.limits
    return ScriptLimits(heap_bytes=limits.heap_bytes, slice_seconds=limits.load_seconds)


def _keys(project: Project) -> dict[str, str]:
    """Return the API keys by provider: settings first, then `NAME_API_KEY` of the environment."""
    keys = {
        name.removesuffix("_API_KEY").lower(): value
        for name, value in project.environment.items()
        if name.endswith("_API_KEY") and value
    }
    for name, item in project.settings.providers.items():
        if item.api_key or item.api_base:
            # A key of the environment is for the provider's own address, and goes to no other.
            keys[name] = project.secret(item.api_key)
    return keys


def _default_model(environment: Mapping[str, str]) -> str:
    """Return the model used where none is set: that of the first provider with a key, or ""."""
    for variable, model in DEFAULT_MODELS:
        if environment.get(variable):
            return model
    return ""
