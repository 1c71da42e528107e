"""Settings: one module a group of sections, and `project`, which reads them."""

from llmspell.config.doors import A2ASettings, McpSettings, ProfileSettings
from llmspell.config.limits import LimitSettings, RuntimeSettings
from llmspell.config.models import ModelSettings, ProviderSettings
from llmspell.config.project import ENVIRONMENT_PREFIX, Project, load_settings, open_project
from llmspell.config.runs import OwnerSettings, RunSettings, ScheduleSettings, StateSettings
from llmspell.config.server import OAuthSettings, ServerSettings
from llmspell.config.settings import LogSettings, Settings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "A2ASettings",
    "LimitSettings",
    "LogSettings",
    "McpSettings",
    "ModelSettings",
    "OAuthSettings",
    "OwnerSettings",
    "ProfileSettings",
    "Project",
    "ProviderSettings",
    "RunSettings",
    "RuntimeSettings",
    "ScheduleSettings",
    "ServerSettings",
    "Settings",
    "StateSettings",
    "load_settings",
    "open_project",
]
