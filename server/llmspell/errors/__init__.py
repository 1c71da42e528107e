"""Every error llmspell raises, each with a stable code, a message and a hint.

The tree:

    LlmspellError
    ├── UsageError                usage.invalid
    ├── ConfigError               config.invalid
    ├── SpecError                 spec.invalid
    │   ├── SpecSyntax            spec.syntax
    │   ├── SpecUnknownKey        spec.unknown_key
    │   ├── SpecMissing           spec.missing
    │   ├── SpecDuplicate         spec.duplicate_name
    │   ├── SpecEffect            spec.effect_while_loading
    │   ├── SpecUnstable          spec.unstable
    │   ├── SpecUnsupportedNeed   spec.unsupported_need
    │   ├── SpecUnknownPlaceholder spec.unknown_placeholder
    │   ├── SpecUnknownName       spec.unknown_name
    │   ├── SpecGlobal            spec.global
    │   ├── SpecUnpublished       spec.unpublished
    │   └── SpecTooLong           spec.too_long
    ├── InputInvalid              input.invalid
    │   └── InputTooLarge         input.too_large
    ├── OutputInvalid             output.invalid
    │   └── OutputTooLarge        output.too_large
    ├── SpellNotFound             spell.not_found
    ├── ResourceNotFound          resource.not_found
    ├── PromptNotFound            prompt.not_found
    ├── SpellRaised               spell.raised
    ├── NeedUndeclared            need.undeclared
    ├── LimitError                limit.exceeded
    │   ├── LimitWallClock        limit.wall_clock
    │   ├── LimitCpu              limit.cpu_time
    │   ├── LimitMemory           limit.memory
    │   ├── LimitBusy             limit.busy
    │   ├── WorkerDied            limit.worker_died
    │   ├── LimitHistory          limit.history
    │   └── BudgetExhausted       budget.exhausted
    │       └── BudgetUnknownPrice  budget.unknown_price
    ├── RunError                  run.failed
    │   ├── RunNotFound           run.not_found
    │   ├── RunCanceled           run.canceled
    │   ├── RunNotCancelable      run.not_cancelable
    │   ├── RunNotWaiting         run.not_waiting
    │   ├── RunInterrupted        run.interrupted
    │   ├── RunTooLong            run.too_long
    │   ├── RunProtocolError      run.protocol_error
    │   ├── RunDiverged           run.diverged
    │   ├── RunCollected          run.collected
    │   ├── IdempotencyConflict   idempotency.conflict
    │   └── AskError              ask.failed
    │       ├── AskDeclined       ask.declined
    │       ├── AskExpired        ask.expired
    │       └── AskInvalid        ask.invalid
    ├── WorkflowError             workflow.failed
    │   └── TemplateError         workflow.unknown_placeholder
    ├── ModelError                model.failed
    │   ├── ModelUnknown          model.unknown
    │   ├── ModelAuth             model.auth
    │   ├── ModelRateLimit        model.rate_limit
    │   ├── ModelTimeout          model.timeout
    │   ├── ModelUnavailable      model.unavailable
    │   ├── ModelContextLength    model.context_length
    │   ├── ModelContentPolicy    model.content_policy
    │   └── ModelBadRequest       model.bad_request
    ├── StateError                state.failed
    │   ├── StateConflict         state.conflict
    │   ├── StateOwned            state.owned
    │   ├── StateTooLarge         state.too_large
    │   ├── StateNewerFormat      state.newer_format
    │   ├── StateCorrupt          state.corrupt
    │   ├── StateDiskFull         state.disk_full
    │   ├── StateQuota            state.quota_exceeded
    │   └── StateForeign          state.cross_tenant
    ├── OwnerError                owner.failed
    │   ├── OwnerUnreachable      owner.unreachable
    │   ├── OwnerStopping         owner.stopping
    │   └── OwnerVersion          owner.version
    ├── AccessError               access.refused
    │   ├── AccessUnauthenticated access.unauthenticated
    │   ├── AccessForbidden       access.forbidden
    │   ├── AccessRateLimited     access.rate_limited
    │   ├── AccessUnavailable     access.unavailable
    │   ├── AccessHost            access.host
    │   └── AccessOrigin          access.origin
    ├── KeyNotFound               key.not_found
    ├── RemoteError               remote.failed
    │   └── RemoteUnreachable     remote.unreachable
    ├── ClientFileError           client.file
    └── InternalError             internal

An edge never formats an error of its own: it maps the class to its wire with
one table and sends `to_value()`. Authors' own codes, from `error{ code = ... }`
in a spell, travel in `data["code"]` of `spell.raised`, so that the catalogue
stays closed.

One module a family; whoever raises or catches one imports it from here.
"""

# isort: off
# In the order of the tree, which is the order of the catalogue and of its page in the docs.
from llmspell.errors.base import LlmspellError
from llmspell.errors.usage import UsageError, ConfigError
from llmspell.errors.spec import (
    SpecError,
    SpecSyntax,
    SpecUnknownKey,
    SpecMissing,
    SpecDuplicate,
    SpecEffect,
    SpecUnstable,
    SpecUnsupportedNeed,
    SpecUnknownPlaceholder,
    SpecUnknownName,
    SpecGlobal,
    SpecUnpublished,
    SpecTooLong,
)
from llmspell.errors.spell import (
    InputInvalid,
    InputTooLarge,
    OutputInvalid,
    OutputTooLarge,
    SpellNotFound,
    ResourceNotFound,
    PromptNotFound,
    SpellRaised,
    NeedUndeclared,
)
from llmspell.errors.limit import (
    LimitError,
    LimitWallClock,
    LimitCpu,
    LimitMemory,
    LimitBusy,
    WorkerDied,
    LimitHistory,
    BudgetExhausted,
    BudgetUnknownPrice,
)
from llmspell.errors.run import (
    RunError,
    RunNotFound,
    RunCanceled,
    RunNotCancelable,
    RunNotWaiting,
    RunInterrupted,
    RunTooLong,
    RunProtocolError,
    RunDiverged,
    RunCollected,
    IdempotencyConflict,
    AskError,
    AskDeclined,
    AskExpired,
    AskInvalid,
)
from llmspell.errors.workflow import WorkflowError, TemplateError
from llmspell.errors.model import (
    ModelError,
    ModelUnknown,
    ModelAuth,
    ModelRateLimit,
    ModelTimeout,
    ModelUnavailable,
    ModelContextLength,
    ModelContentPolicy,
    ModelBadRequest,
)
from llmspell.errors.state import (
    StateError,
    StateConflict,
    StateOwned,
    StateTooLarge,
    StateNewerFormat,
    StateCorrupt,
    StateDiskFull,
    StateQuota,
    StateForeign,
)
from llmspell.errors.owner import OwnerError, OwnerUnreachable, OwnerStopping, OwnerVersion
from llmspell.errors.access import (
    AccessError,
    AccessUnauthenticated,
    AccessForbidden,
    AccessRateLimited,
    AccessUnavailable,
    AccessHost,
    AccessOrigin,
    KeyNotFound,
)
from llmspell.errors.remote import RemoteError, RemoteUnreachable
from llmspell.errors.client import ClientFileError
from llmspell.errors.internal import InternalError
from llmspell.errors.catalogue import CATALOGUE
from llmspell.errors.names import nearest
# isort: on

__all__ = [
    "CATALOGUE",
    "AccessError",
    "AccessForbidden",
    "AccessHost",
    "AccessOrigin",
    "AccessRateLimited",
    "AccessUnauthenticated",
    "AccessUnavailable",
    "AskDeclined",
    "AskError",
    "AskExpired",
    "AskInvalid",
    "BudgetExhausted",
    "BudgetUnknownPrice",
    "ClientFileError",
    "ConfigError",
    "IdempotencyConflict",
    "InputInvalid",
    "InputTooLarge",
    "InternalError",
    "KeyNotFound",
    "LimitBusy",
    "LimitCpu",
    "LimitError",
    "LimitHistory",
    "LimitMemory",
    "LimitWallClock",
    "LlmspellError",
    "ModelAuth",
    "ModelBadRequest",
    "ModelContentPolicy",
    "ModelContextLength",
    "ModelError",
    "ModelRateLimit",
    "ModelTimeout",
    "ModelUnavailable",
    "ModelUnknown",
    "NeedUndeclared",
    "OutputInvalid",
    "OutputTooLarge",
    "OwnerError",
    "OwnerStopping",
    "OwnerUnreachable",
    "OwnerVersion",
    "PromptNotFound",
    "RemoteError",
    "RemoteUnreachable",
    "ResourceNotFound",
    "RunCanceled",
    "RunCollected",
    "RunDiverged",
    "RunError",
    "RunInterrupted",
    "RunNotCancelable",
    "RunNotFound",
    "RunNotWaiting",
    "RunProtocolError",
    "RunTooLong",
    "SpecDuplicate",
    "SpecEffect",
    "SpecError",
    "SpecGlobal",
    "SpecMissing",
    "SpecSyntax",
    "SpecTooLong",
    "SpecUnknownKey",
    "SpecUnknownName",
    "SpecUnknownPlaceholder",
    "SpecUnpublished",
    "SpecUnstable",
    "SpecUnsupportedNeed",
    "SpellNotFound",
    "SpellRaised",
    "StateConflict",
    "StateCorrupt",
    "StateDiskFull",
    "StateError",
    "StateForeign",
    "StateNewerFormat",
    "StateOwned",
    "StateQuota",
    "StateTooLarge",
    "TemplateError",
    "UsageError",
    "WorkerDied",
    "WorkflowError",
    "nearest",
]
