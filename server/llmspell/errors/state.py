"""The state layer: the store, its format, its limits."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class StateError(LlmspellError):
    """The state layer could not do what was asked."""

    code = "state.failed"


class StateConflict(StateError):
    """The key changed meanwhile. Read it again and retry."""

    code = "state.conflict"
    retryable = True


class StateOwned(StateError):
    """Another process owns this state directory; `data["pid"]` is its pid."""

    code = "state.owned"
    hint_text = "attach to it (leave out --standalone), or end it with 'llmspell stop'"


class StateTooLarge(StateError):
    """A key or a value is larger than the limit."""

    code = "state.too_large"


class StateNewerFormat(StateError):
    """The database was written by a newer llmspell."""

    code = "state.newer_format"
    hint_text = "upgrade llmspell, or use another state directory"


class StateCorrupt(StateError):
    """The database is damaged. Nothing was repaired or deleted."""

    code = "state.corrupt"
    hint_text = "copy the state directory aside, then restore a checkpoint: llmspell state restore"


class StateDiskFull(StateError):
    """The disk is full: reading goes on, writing does not."""

    code = "state.disk_full"
    hint_text = "free some space, then try again"
    retryable = True


class StateQuota(StateError):
    """The tenant or the scope would hold more than it may; `data["limit"]` names the limit."""

    code = "state.quota_exceeded"
    hint_text = "delete what is not needed, or raise the setting in [state]"


class StateForeign(StateError):
    """A transaction touched the keys of two tenants."""

    code = "state.cross_tenant"
