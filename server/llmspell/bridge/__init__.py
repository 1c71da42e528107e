"""The bottom layer: how any process finds the owner, and the stdio bridge to it.

Standard library only, no asyncio, nothing of ours but the version: `llmspell
stdio` loads these modules and no other, because a client waits for it. What
else must find the project or reach the owner asks here, so that there is one
set of rules.
"""

from llmspell.bridge.places import (
    PROJECT_FILE,
    find_project,
    state_directory,
    user_config_file,
    user_data_directory,
)

__all__ = [
    "PROJECT_FILE",
    "find_project",
    "state_directory",
    "user_config_file",
    "user_data_directory",
]
