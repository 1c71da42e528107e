"""Settings: read once, from flags, environment, project, user and defaults, in that order.

The only module that reads the environment (the stdio bridge, which may import
nothing of ours, excepted). Secrets are named here (`${env:NAME}`,
`${file:PATH}`) and resolved when a provider is made; they are never stored.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from llmspell import bridge
from llmspell.durations import seconds_of
from llmspell.errors import ConfigError, nearest
from llmspell.schedule import Schedule
from llmspell.sizes import bytes_of
from llmspell.values import Object

ENVIRONMENT_PREFIX = "LLMSPELL_"
_RESERVED = frozenset({"PROJECT", "STATE", "CONFIG", "FAILPOINT", "ALLOW_NETWORK"})
Seconds = Annotated[float, BeforeValidator(seconds_of)]
Bytes = Annotated[int, BeforeValidator(bytes_of)]
_CONTROL_TOOLS = ("cast", "run_result", "run_cancel", "spell_search")
_BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REFERENCE = re.compile(r"^\$\{(env|file):([^}]+)\}$")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ModelSettings(_Section):
    """`[models]`: which model answers when a spell names none, and the roles spells may name."""

    default: str = Field(
        default="", description="Model used when an agent names none, as provider/model."
    )
    roles: dict[str, str] = Field(
        default_factory=dict[str, str],
        description='Names spells may use instead of a model, e.g. smart = "anthropic/...".',
    )
    timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest time one model call may take."
    )
    worst_usd_per_million_tokens: float | None = Field(
        default=None,
        gt=0,
        description="What a model of unknown price is taken to cost; "
        "without it no such model is asked where a spell limits its US dollars.",
    )


class ProviderSettings(_Section):
    """`[providers.NAME]`: where a provider is and which key opens it."""

    api_key: str = Field(
        default="", description="The key, by reference: ${env:NAME} or ${file:PATH}."
    )
    api_base: str = Field(
        default="", description="Base URL of an OpenAI-compatible or local server."
    )


class LimitSettings(_Section):
    """`[limits]`: what one cast may use. Every limit has a finite default."""

    cast_seconds: float = Field(
        default=3600.0, gt=0, description="Longest time a cast may take in all."
    )
    slice_seconds: float = Field(
        default=2.0, gt=0, description="CPU time a script may take before it gives way."
    )
    cpu_seconds: float = Field(default=60.0, gt=0, description="CPU time of one cast in all.")
    load_seconds: float = Field(
        default=2.0, gt=0, description="CPU time the top level of a file may take."
    )
    heap_bytes: int = Field(default=64 << 20, ge=4 << 20, description="Lua heap of one cast.")
    input_bytes: int = Field(
        default=4 << 20, gt=0, le=4 << 20, description="Largest input, as JSON."
    )
    output_bytes: int = Field(
        default=4 << 20, gt=0, le=4 << 20, description="Largest output, as JSON."
    )
    casts: int = Field(default=16, gt=0, description="Casts that may compute at the same time.")
    queue: int = Field(
        default=1000, ge=0, description="New casts that may wait for their turn; more are refused."
    )
    workers: int = Field(
        default=256,
        gt=0,
        description="Casts that may have a worker, those that wait for an effect included.",
    )
    host_calls: int = Field(
        default=50_000, gt=0, description="Effects one cast may ask for, its children apart."
    )
    depth: int = Field(default=16, gt=0, description="How deep casts may nest.")
    model_calls: int = Field(
        default=200, gt=0, description="Model calls of one cast and its children."
    )
    tool_calls: int = Field(
        default=1_000, gt=0, description="Tool calls of the agents of one cast and its children."
    )
    children: int = Field(default=10_000, gt=0, description="Casts begun below one cast.")
    tokens: int = Field(
        default=10_000_000,
        gt=0,
        description="Tokens that models read and write for one cast and its children.",
    )
    usd: float = Field(
        default=20.0,
        gt=0,
        description="US dollars of one cast and its children; models of unknown price count as 0.",
    )
    log_events: int = Field(
        default=10_000, gt=0, description="Log lines and parts one run may emit."
    )
    log_bytes: int = Field(
        default=16 << 20, gt=0, description="Size of these log lines and parts, as JSON."
    )


_ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"EdDSA"}


class OAuthSettings(_Section):
    """`[server.oauth]`: whose tokens let in, with `auth = "oauth"`."""

    issuer: str = Field(
        default="",
        description="URL of the authorization server, as its tokens name it (the claim iss).",
    )
    audience: list[str] = Field(
        default_factory=list[str],
        description="What tokens must be for (the claim aud); empty = this server's own URL, "
        "with /mcp or /a2a.",
    )
    jwks_uri: str = Field(
        default="",
        description="Where the issuer's keys are; empty = what its metadata says, if that is on "
        "the issuer's own host.",
    )
    algorithms: list[str] = Field(
        default_factory=lambda: ["RS256", "ES256"],
        min_length=1,
        description="Algorithms that tokens may be signed with.",
    )
    scopes: list[str] = Field(
        default_factory=lambda: ["cast", "read"],
        min_length=1,
        description="Scopes the issuer gives out for this server: a client is told to ask for "
        "these.",
    )
    required_scopes: list[str] = Field(
        default_factory=list[str], description="Scopes that every token must have."
    )
    scope_claim: str = Field(
        default="scope", min_length=1, description="Claim with the scopes, a text or a list."
    )
    tenant_claim: str = Field(
        default="",
        description="Claim that is the tenant; empty = everybody is in the tenant default.",
    )
    leeway: Seconds = Field(
        default="30s",
        validate_default=True,
        ge=0,
        le=300,
        description="How far the issuer's clock may be off.",
    )

    @field_validator("issuer", "jwks_uri")
    @classmethod
    def _safe(cls, url: str) -> str:
        if url and not _is_safe(url):
            raise ValueError("must be an https URL (http on this machine only)")
        return url

    @field_validator("algorithms")
    @classmethod
    def _asymmetric(cls, algorithms: list[str]) -> list[str]:
        for algorithm in algorithms:
            if algorithm not in _ALGORITHMS:
                # A symmetric one would take the issuer's public key for a shared secret.
                raise ValueError(f"{algorithm!r} is none of {', '.join(sorted(_ALGORITHMS))}")
        return algorithms


def _is_safe(url: str) -> bool:
    """Return whether what is fetched from a URL comes from who it says."""
    try:
        parts = urlsplit(url)
        name = parts.hostname
    except ValueError:
        return False
    if not name or parts.query or parts.fragment or parts.username is not None:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and name in ("localhost", "127.0.0.1", "::1")
    )


class ServerSettings(_Section):
    """`[server]`: the HTTP door."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=7777, ge=0, le=65535, description="Port to listen on; 0 = any free one."
    )
    auth: Literal["token", "none", "keys", "oauth"] = Field(
        default="token",
        description="token: the bearer token of the state directory; keys: API keys, see "
        "'llmspell keys'; oauth: tokens of [server.oauth] issuer; none: everybody, on loopback "
        "only.",
    )
    oauth: OAuthSettings = OAuthSettings()
    public_url: str = Field(
        default="",
        pattern=r"^$|^https?://[^/?#\s]+$",
        description="URL under which clients reach the server where that is not its address, "
        "e.g. a proxy's: scheme and name alone.",
    )
    requests_per_minute: int = Field(
        default=60_000,
        gt=0,
        description="Requests one principal may send in a minute, all at once or evenly.",
    )
    sessions: int = Field(
        default=1000,
        gt=0,
        description="MCP sessions of one principal (protocol versions before 2026-07-28); "
        "one more ends the one that was unused longest.",
    )
    session_idle: Seconds = Field(
        default=7 * 86400.0, gt=0, description='How long an unused MCP session is kept, "7d".'
    )
    resume_within: Seconds = Field(
        default=60.0,
        ge=0,
        description="How long an MCP call goes on once its client has left, in case it comes back "
        "for the answer (protocol versions before 2026-07-28).",
    )
    streams: int = Field(
        default=1000, gt=0, description="Streams of changes one principal may hold open over MCP."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list[str], description="Host names answered besides loopback ones."
    )
    allowed_origins: list[str] = Field(
        default_factory=list[str], description="Browser origins that may call."
    )


class RuntimeSettings(_Section):
    """`[runtime]`: how scripts are run."""

    isolation: Literal["process", "inline"] = Field(
        default="process",
        description="process: jailed worker processes; inline: in the server, for trusted spells.",
    )
    idle_workers: int = Field(default=2, ge=0, le=64, description="Workers kept ready.")
    warm_workers: int = Field(
        default=16,
        ge=0,
        description="Workers kept for the next cast of the same spell by the same principal.",
    )
    warm_seconds: float = Field(default=30.0, gt=0, description="How long such a worker is kept.")
    worker_casts: int = Field(
        default=200, gt=0, description="Casts a worker serves before it is replaced."
    )


class RunSettings(_Section):
    """`[runs]`: how long runs are kept, and what they may gather meanwhile."""

    keep: Seconds = Field(
        default="30d", validate_default=True, description="How long an ended run is kept."
    )
    keep_plain: Seconds = Field(
        default="24h",
        validate_default=True,
        description="How long a cast is kept that had no effects.",
    )
    keep_count: int = Field(
        default=100_000, gt=0, description="Runs kept of one principal, the newest."
    )
    keep_bytes: Bytes = Field(
        default="1GB",
        validate_default=True,
        description="Size of the runs kept of one principal, the newest.",
    )
    wait: Seconds = Field(
        default="40s",
        validate_default=True,
        gt=0,
        description="How long a caller of an MCP tool waits before it gets a handle of the run.",
    )
    ask: Seconds = Field(
        default="24h", validate_default=True, description="How long a question waits for an answer."
    )
    history: int = Field(default=10_000, gt=0, description="Effects that one run may record.")
    idempotency: Seconds = Field(
        default="24h",
        validate_default=True,
        description="How long an idempotency key leads to the run it began.",
    )


class ScheduleSettings(Schedule):
    """`[[schedules]]`: a spell that is cast by itself."""

    spell: str = Field(max_length=48, description="Name of the spell.")
    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="Name of the schedule; made of the rest when empty.",
    )
    principal: str = Field(
        default="", description="Whose run it is; the person who runs llmspell when empty."
    )


class StateSettings(_Section):
    """`[state]`: the database."""

    checkpoint_every: Seconds = Field(
        default="1h",
        validate_default=True,
        ge=60,
        description="How often the database is copied into checkpoints/, while it changes.",
    )
    checkpoints_hourly: int = Field(default=24, ge=1, description="Checkpoints kept, the newest.")
    checkpoints_daily: int = Field(
        default=7, ge=0, description="Days of which the last checkpoint is kept besides."
    )
    quota_bytes: Bytes = Field(
        default="2GB",
        validate_default=True,
        gt=0,
        description="What spells may keep for one tenant, keys and values together.",
    )
    quota_keys: int = Field(default=2_000_000, gt=0, description="Keys they may keep for it.")
    scope_quota_bytes: Bytes = Field(
        default="1GB",
        validate_default=True,
        gt=0,
        description="What they may keep of it in one scope: spell, session, user, shared or run.",
    )
    scope_quota_keys: int = Field(
        default=1_000_000, gt=0, description="Keys they may keep in one scope."
    )


class OwnerSettings(_Section):
    """`[owner]`: the process that owns the state directory."""

    idle_seconds: float = Field(
        default=600.0,
        gt=0,
        description="An auto-started owner ends after this long without anybody.",
    )


class A2ASettings(_Section):
    """`[a2a]`: the A2A door."""

    default: str = Field(default="", description="Spell a message goes to when it names none.")


class ProfileSettings(_Section):
    """`[mcp.profiles.NAME]`: what the MCP clients of one kind are told; the rest as built in."""

    clients: list[str] | None = Field(
        default=None,
        description="Beginnings of the names these clients give themselves, in any case.",
    )
    schemas: Literal["full", "plain_root", "no_composition", "plain"] | None = Field(
        default=None,
        description="Input schemas as they are; without anyOf, oneOf and allOf at their root, or "
        "anywhere; or of types, fields and enums only.",
    )
    name_length: int | None = Field(
        default=None, gt=0, description="Longest tool name they take; longer ones are not listed."
    )
    tools: int | None = Field(
        default=None, ge=0, description="Most tools they take, 0 = any; beyond it they search."
    )
    wait: Seconds | None = Field(
        default=None, gt=0, description="How long their calls wait before they are given a handle."
    )


class McpSettings(_Section):
    """`[mcp]`: the MCP door."""

    catalogue: Literal["direct", "search"] = Field(
        default="direct",
        description="direct: every spell is a listed tool; search: only the tools to find and cast "
        "them are.",
    )
    control_tools: list[Literal["cast", "run_result", "run_cancel", "spell_search"]] = Field(
        default_factory=lambda: list(_CONTROL_TOOLS),
        description="Tools offered beside the spells.",
    )
    search_above: int = Field(
        default=30, ge=0, description="With more spells than this, spell_search is listed too."
    )
    page: int = Field(
        default=1000, gt=0, le=10_000, description="Entries on one page of a list of tools."
    )
    result_bytes: Bytes = Field(
        default="48KiB",
        validate_default=True,
        ge=1024,
        description="Longest text of one result; a longer one is cut, with a way to the rest.",
    )
    task_after: Seconds = Field(
        default="1s",
        validate_default=True,
        ge=0,
        description="How long a call waits before a client that knows tasks is given one.",
    )
    profiles: dict[str, ProfileSettings] = Field(
        default_factory=dict[str, ProfileSettings],
        description="What clients are told that differ from the others.",
    )
    bundles: dict[str, list[str]] = Field(
        default_factory=dict[str, list[str]],
        description='Spells served at /mcp/NAME, by name: reports = ["report", "export_*"].',
    )

    resources: list[str] = Field(
        default_factory=list[str],
        description='Files of the project that are resources, by pattern: ["docs/**/*.md"].',
    )

    @field_validator("resources")
    @classmethod
    def _resources_are_in_the_project(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            parts = PurePosixPath(pattern).parts
            if not parts or pattern.startswith("/") or ".." in parts:
                raise ValueError(f"{pattern!r} is no pattern of files below the project")
            if any("**" in part and part != "**" for part in parts):
                raise ValueError(
                    f"{pattern!r}: ** stands for whole directories, as in docs/**/*.md"
                )
        return patterns

    @field_validator("bundles")
    @classmethod
    def _bundles_fit_an_address(cls, bundles: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in bundles:
            if not _BUNDLE.fullmatch(name):
                raise ValueError(
                    f"the bundle {name!r}: a name is letters, digits, - and _, 64 at most"
                )
        return bundles

    @model_validator(mode="after")
    def _search_can_be_used(self) -> Self:
        missing = {"cast", "spell_search"} - set(self.control_tools)
        if self.catalogue == "search" and missing:
            raise ValueError(
                f'catalogue = "search" lists no spells; control_tools must have '
                f"{' and '.join(sorted(missing))}"
            )
        return self


class LogSettings(_Section):
    """`[log]`: what is written to the log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="One line of text, or JSON."
    )


class Settings(_Section):
    """All settings, after merging."""

    models: ModelSettings = ModelSettings()
    providers: dict[str, ProviderSettings] = Field(default_factory=dict[str, ProviderSettings])
    limits: LimitSettings = LimitSettings()
    server: ServerSettings = ServerSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    runs: RunSettings = RunSettings()
    state: StateSettings = StateSettings()
    owner: OwnerSettings = OwnerSettings()
    a2a: A2ASettings = A2ASettings()
    mcp: McpSettings = McpSettings()
    log: LogSettings = LogSettings()
    publish: list[str] = Field(
        default_factory=lambda: ["*"],
        description="Spells published, by name; * = all of the project, bundle:NAME = a bundle of "
        "llmspell.",
    )
    schedules: list[ScheduleSettings] = Field(
        default_factory=list[ScheduleSettings], description="What is cast by itself, and when."
    )

    @field_validator("schedules")
    @classmethod
    def _names_differ(cls, schedules: list[ScheduleSettings]) -> list[ScheduleSettings]:
        names = [schedule.name for schedule in schedules if schedule.name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two schedules have the name {twice!r}")
        return schedules


class Project(BaseModel):
    """Where a project is, and its settings."""

    model_config = ConfigDict(frozen=True)

    root: Path
    """Directory with `llmspell.toml` and `spells/`; else the user's data directory."""
    state: Path
    """State directory: database, socket, token, log."""
    settings: Settings
    environment: dict[str, str] = Field(default_factory=dict[str, str], repr=False)
    """The environment as it was read: what `${env:...}` refers to."""
    allow_network: bool = True
    """False (LLMSPELL_ALLOW_NETWORK=0) refuses every model that is not scripted."""

    @property
    def spells(self) -> Path:
        """The directory of the project's own spells."""
        return self.root / "spells"

    def secret(self, text: str) -> str:
        """Return what a setting refers to: `${env:NAME}` or `${file:PATH}`; "" for neither set.

        Raises:
            ConfigError: The text is not a reference, or the file cannot be read.
        """
        if not text:
            return ""
        match = _REFERENCE.match(text)
        if match is None:
            raise ConfigError(
                "a secret is written into the settings",
                hint="name it instead: ${env:NAME} or ${file:PATH}",
            )
        kind, name = match.groups()
        if kind == "env":
            return self.environment.get(name, "")
        try:
            return (self.root / Path(name).expanduser()).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"the secret file {name!r} cannot be read: {error.strerror}"
            ) from None

    def secrets(self) -> list[str]:
        """Return what must not be shown: providers' keys, and what the environment calls a secret.

        Raises:
            ConfigError: See `secret`.
        """
        named = [self.secret(provider.api_key) for provider in self.settings.providers.values()]
        suffixes = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
        return named + [
            value for name, value in self.environment.items() if name.upper().endswith(suffixes)
        ]


def _parse(text: str) -> Any:
    """Read an environment value as TOML does; a bare word is a string."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(base: Object, extra: Mapping[str, Any]) -> Object:
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge(old, value)  # pyright: ignore[reportUnknownArgumentType]  # TOML tables
        else:
            merged[key] = value
    return merged


def _from_environment(environ: Mapping[str, str]) -> Object:
    found: Object = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        rest = name[len(ENVIRONMENT_PREFIX) :]
        if rest in _RESERVED:
            continue
        path = [part.lower() for part in rest.split("__")]
        here = found
        for part in path[:-1]:
            inner: Any = here.setdefault(part, {})
            if not isinstance(inner, dict):
                # `A=...` sorts before `A__B=...`: the section has been given a value already.
                raise ConfigError(
                    f"environment: {name} sets a key of {part!r}, which is set as a whole too",
                    hint="unset one of the two",
                )
            here = cast(Object, inner)
        here[path[-1]] = _parse(text)
    return found


def _read(path: Path) -> Object:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed beside the last part of `location`."""
    model: Any = Settings
    for part in location[:-1]:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        if part in _ITEMS:
            model = _ITEMS[str(part)]
            break
        model = field.annotation
    return sorted(model.model_fields) if hasattr(model, "model_fields") else []


_ITEMS: dict[str, type[BaseModel]] = {
    "providers": ProviderSettings,
    "schedules": ScheduleSettings,
    "profiles": ProfileSettings,
}
"""Sections of which there are several: what one of them is."""


def _explain(error: ValidationError, origin: str) -> ConfigError:
    first = error.errors()[0]
    location = first["loc"]
    name = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        allowed = _allowed(location)
        close = nearest(str(location[-1]), allowed)
        hint = f"did you mean {close!r}? " if close else ""
        return ConfigError(
            f"{origin}: unknown setting {name!r}", hint=f"{hint}allowed: {', '.join(allowed)}"
        )
    message = str(first["msg"]).removeprefix("Value error, ")
    return ConfigError(f"{origin}: setting {name!r}: {message}")


def load_settings(
    root: Path,
    *,
    config: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge all sources and return the settings.

    Args:
        root: The project; its `llmspell.toml` is read when it exists.
        config: A file read instead of the project's own.
        flags: What the command line set, as nested sections.

    Raises:
        ConfigError: A key is unknown (with a suggestion) or a value is not allowed.
    """
    user = bridge.user_config_file(environ)
    sources: list[tuple[str, Object]] = []
    if user.is_file():
        sources.append((str(user), _read(user)))
    own = config or root / bridge.PROJECT_FILE
    if config is not None or own.is_file():
        sources.append((str(own), _read(own)))
    sources.append(("environment", _from_environment(environ)))
    sources.append(("command line", dict(flags or {})))
    merged: Object = {}
    for origin, values in sources:
        try:
            Settings.model_validate(values)
        except ValidationError as error:
            raise _explain(error, origin) from None
        merged = _merge(merged, values)
    return Settings.model_validate(merged)


def open_project(
    project: str | Path | None = None,
    *,
    state: str | Path | None = None,
    config: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Project:
    """Find the project and read its settings.

    Args:
        project: Directory; else `LLMSPELL_PROJECT`, else the nearest
            `llmspell.toml` upwards, else the user's data directory.
        state: State directory; else `LLMSPELL_STATE`, else `.llmspell` in the project.
        config: A file read instead of the project's `llmspell.toml`.
        flags: What the command line set, as nested sections.
        environ: The environment; the process's own when None.

    Raises:
        ConfigError: The project does not exist, or a setting is wrong.
    """
    env = dict(os.environ if environ is None else environ)
    root = bridge.find_project(str(project) if project else None, Path.cwd(), env)
    if project is not None and not root.is_dir():
        raise ConfigError(
            f"the project directory {str(root)!r} does not exist",
            hint=f"make it with: llmspell init {root}",
        )
    config = config or env.get("LLMSPELL_CONFIG")
    settings = load_settings(
        root, config=Path(config) if config else None, environ=env, flags=flags
    )
    return Project(
        root=root,
        state=bridge.state_directory(root, str(state) if state else None, env),
        settings=settings,
        environment=env,
        allow_network=env.get("LLMSPELL_ALLOW_NETWORK", "1") != "0",
    )
