"""What a run used up: time, memory, places, money."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


class LimitError(LlmspellError):
    """A run went over one of its limits."""

    code = "limit.exceeded"


class LimitWallClock(LimitError):
    """A spell computed, or a run lasted, longer than allowed."""

    code = "limit.wall_clock"
    hint_text = "look for a loop that does not end; the limits are settings under [limits]"


class LimitCpu(LimitError):
    """A spell used up the CPU time of a whole cast."""

    code = "limit.cpu_time"
    hint_text = "compute less, or raise the setting limits.cpu_seconds"


class LimitMemory(LimitError):
    """A spell's Lua heap outgrew its limit."""

    code = "limit.memory"
    hint_text = "work in smaller pieces; the limit is the setting limits.heap_bytes"


class LimitBusy(LimitError):
    """Too many casts are under way; `data["retry_after"]` is in seconds."""

    code = "limit.busy"
    hint_text = "try again in a moment"
    retryable = True


class WorkerDied(LimitError):
    """The process that ran the spell ended by itself."""

    code = "limit.worker_died"


class LimitHistory(LimitError):
    """The run recorded more effects than one run may."""

    code = "limit.history"
    hint_text = "begin anew with what is left to do: ctx:continue_as_new(input)"


class BudgetExhausted(LimitError):
    """A cast and its children spent what they were given; `data` says which limit."""

    code = "budget.exhausted"
    hint_text = "raise the spell's budget, or make it do less"


class BudgetUnknownPrice(BudgetExhausted):
    """A budget in usd is set, and the price of the model is unknown."""

    code = "budget.unknown_price"
    hint_text = "leave usd out of the budget, or use a model whose price is known"
