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
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmspell import bridge
from llmspell.config.doors import ProfileSettings
from llmspell.config.models import ProviderSettings
from llmspell.config.runs import ScheduleSettings
from llmspell.config.settings import Settings
from llmspell.errors import ConfigError, nearest
from llmspell.values import Object

ENVIRONMENT_PREFIX = "LLMSPELL_"
_RESERVED = frozenset({"PROJECT", "STATE", "CONFIG", "FAILPOINT", "ALLOW_NETWORK"})
_UTF8 = "utf-8-sig"
"""Some editors write a byte order mark, which is no part of the text."""
_NOT_TOML = (ValueError, RecursionError)
"""Mostly `TOMLDecodeError`; but also what an integer of 5000 digits or lists in lists come to."""
_REFERENCE = re.compile(r"^\$\{(env|file):([^}]+)\}$")


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
            return (self.root / Path(name).expanduser()).read_text(encoding=_UTF8).strip()
        except UnicodeDecodeError:
            raise ConfigError(f"the secret file {name!r} is not UTF-8") from None
        except (OSError, RuntimeError) as error:  # the latter: of whom there is no home
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"the secret file {name!r} cannot be read: {reason}") from None

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
        found = tomllib.loads(f"v = {text}")
    except _NOT_TOML:
        return text
    return found["v"] if len(found) == 1 else text  # several lines, which are no one value


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
        return tomllib.loads(path.read_text(encoding=_UTF8))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except _NOT_TOML as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
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


_WANTED = {
    "bool": "true or false",
    "dict": "a table",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a table",
    "string": "a text",
    "tuple": "a list",
}
"""What a value must be, by the kind of what is wrong with it."""


def _explain(error: ValidationError, origin: str) -> ConfigError:
    errors = error.errors()
    # A name that is written wrong explains one that is missing.
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    location = first["loc"]
    name = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        allowed = _allowed(location)
        close = nearest(str(location[-1]), allowed)
        hint = f"did you mean {close!r}? " if close else ""
        return ConfigError(
            f"{origin}: unknown setting {name!r}", hint=f"{hint}allowed: {', '.join(allowed)}"
        )
    wanted, _, why = str(first["type"]).partition("_")
    if wanted in _WANTED and why in ("type", "parsing", "from_float"):
        return ConfigError(f"{origin}: setting {name!r} must be {_WANTED[wanted]}")
    message = str(first["msg"]).removeprefix("Value error, ")
    return ConfigError(f"{origin}: setting {name!r}: {message}")


def _is_network_allowed(environ: Mapping[str, str]) -> bool:
    name = f"{ENVIRONMENT_PREFIX}ALLOW_NETWORK"
    text = environ.get(name) or "1"
    if text not in ("0", "1"):  # whoever means to switch it off must not be taken for another
        raise ConfigError(f"environment: {name} is 0 or 1, not {text!r}")
    return text == "1"


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
        _validated(values, origin)
        merged = _merge(merged, values)
    # Each may be right by itself, and two of them not go together.
    return _validated(merged, " and ".join(origin for origin, values in sources if values))


def _validated(values: Object, origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise _explain(error, origin) from None


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
    if (project or env.get("LLMSPELL_PROJECT")) and not root.is_dir():
        if root.exists():
            raise ConfigError(
                f"the project {str(root)!r} is no directory",
                hint=f"name the directory that holds it: --project {root.parent}",
            )
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
        allow_network=_is_network_allowed(env),
    )
