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
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from typing import Any, ClassVar, Self, cast


class LlmspellError(Exception):
    """Base of every error a caller can meet.

    Args:
        message: What happened, with identifiers in `!r`.
        hint: What to do about it; the class's own hint when absent.
        where: `file:line` in the author's file, when there is one.
        data: JSON object with the details a program may want.
        run_id: The run this ended, once it is known.
        traceback: Lines of the author's own call stack, when there is one.
    """

    code: ClassVar[str] = "internal"
    hint_text: ClassVar[str] = ""
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        where: str | None = None,
        data: dict[str, Any] | None = None,
        run_id: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint if hint is not None else self.hint_text
        self.where = where
        self.data = data or {}
        self.run_id = run_id
        self.traceback = traceback

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message} {{code: {self.code}}}"

    def report(self) -> str:
        """Return the text shown to a person: the error, its hint, its run, one a line."""
        lines = [str(self)]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        if self.traceback:
            lines += [f"  {line}" for line in self.traceback.splitlines()]
        if self.run_id:
            lines.append(f"  run: {self.run_id}")
        return "\n".join(lines)

    def to_value(self) -> dict[str, Any]:
        """Return the error as a JSON object; absent parts are left out."""
        value: dict[str, Any] = {"code": self.code, "message": self.message}
        for name in ("hint", "where", "data", "run_id", "traceback"):
            part = getattr(self, name)
            if part:
                value[name] = part
        return value

    @classmethod
    def from_value(cls, value: dict[str, Any]) -> LlmspellError:
        """Rebuild an error from `to_value()`; an unknown code becomes `InternalError`."""
        kind = CATALOGUE.get(str(value.get("code")), InternalError)
        data: Any = value.get("data")
        # Values can come from a script: parts of another type than they should have are dropped.
        texts = {
            name: text if isinstance(text := value.get(name), str) else None
            for name in ("hint", "where", "run_id", "traceback")
        }
        return kind(
            str(value.get("message", "")),
            data=cast("dict[str, Any]", data) if isinstance(data, dict) else None,
            **texts,
        )

    def with_run(self, run_id: str) -> Self:
        """Set the run this error ended, unless one is set, and return the error."""
        if self.run_id is None:
            self.run_id = run_id
        return self


class UsageError(LlmspellError):
    """A command or call was made in a way that has no meaning."""

    code = "usage.invalid"
    hint_text = "see 'llmspell --help'"


class ConfigError(LlmspellError):
    """A setting is unknown or has a value that is not allowed."""

    code = "config.invalid"
    hint_text = "the settings and where they may stand are in docs/reference/settings.md"


class SpecError(LlmspellError):
    """A spell file declares something that is not allowed."""

    code = "spec.invalid"
    hint_text = "run 'llmspell check' to see every finding"


class SpecSyntax(SpecError):
    """A spell file is not Lua."""

    code = "spec.syntax"


class SpecUnknownKey(SpecError):
    """A declaration has a key that does not exist."""

    code = "spec.unknown_key"


class SpecMissing(SpecError):
    """A file in spells/ returned nothing that can be published."""

    code = "spec.missing"
    hint_text = "end the file with: return Spell.create { ... }"


class SpecDuplicate(SpecError):
    """Two files declare the same name; names are unique ignoring case."""

    code = "spec.duplicate_name"
    hint_text = "rename one of the two"


class SpecEffect(SpecError):
    """A file tried to act while it was being loaded."""

    code = "spec.effect_while_loading"
    hint_text = "return the spell; whatever acts belongs into its run function"


class SpecUnstable(SpecError):
    """A file declared something else when it was loaded for a cast."""

    code = "spec.unstable"
    hint_text = "a file must declare the same spell each time it is loaded"


class SpecUnsupportedNeed(SpecError):
    """A spell needs something this version can't grant."""

    code = "spec.unsupported_need"


class SpecUnknownName(SpecError):
    """A file uses a global, or a member of one, that does not exist."""

    code = "spec.unknown_name"


class SpecGlobal(SpecError):
    """A file assigns a global, which every file of the same cast sees."""

    code = "spec.global"
    hint_text = "write 'local' in front of it"


class SpecUnpublished(SpecError):
    """A file names something to cast that the project does not publish."""

    code = "spec.unpublished"


class SpecTooLong(SpecError):
    """A file is too long for its names and keys to be checked without running it."""

    code = "spec.too_long"
    hint_text = "move parts of it into modules"


class InputInvalid(LlmspellError):
    """The input does not fit the spell's schema; `data["errors"]` names each field."""

    code = "input.invalid"
    hint_text = "'llmspell spells show NAME' prints the schema"


class InputTooLarge(InputInvalid):
    """The input is larger than the limit."""

    code = "input.too_large"
    hint_text = "pass a reference to large data instead of the data"


class OutputInvalid(LlmspellError):
    """A spell returned what its own output schema does not allow."""

    code = "output.invalid"
    hint_text = "the spell's author must return what 'output' declares"


class OutputTooLarge(OutputInvalid):
    """A spell returned more than the limit."""

    code = "output.too_large"


class SpellNotFound(LlmspellError):
    """No published spell, agent or tool has this name."""

    code = "spell.not_found"
    hint_text = "'llmspell spells' lists what is published"


class ResourceNotFound(LlmspellError):
    """No resource has this URI, or it is not the caller's to read."""

    code = "resource.not_found"
    hint_text = "resources/list and resources/templates/list name what there is"


class PromptNotFound(LlmspellError):
    """No published prompt has this name."""

    code = "prompt.not_found"
    hint_text = "prompts/list names what is published"


class SpellRaised(LlmspellError):
    """The author's code raised an error; `data["code"]` is the author's own code."""

    code = "spell.raised"


class NeedUndeclared(LlmspellError):
    """A spell used what its `needs` do not declare."""

    code = "need.undeclared"


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


class RunError(LlmspellError):
    """Something about a run, not about the spell it casts."""

    code = "run.failed"


class RunNotFound(RunError):
    """No run of this id is visible to the caller."""

    code = "run.not_found"


class RunCanceled(RunError):
    """The run was stopped before it ended by itself."""

    code = "run.canceled"
    hint_text = "cast the spell again if this was not meant"


class RunNotCancelable(RunError):
    """The run has ended already."""

    code = "run.not_cancelable"
    hint_text = "its result is there to be read"


class RunNotWaiting(RunError):
    """An answer was given to a run that asked nothing."""

    code = "run.not_waiting"


class RunInterrupted(RunError):
    """The process that performed the run ended while it was under way."""

    code = "run.interrupted"
    hint_text = "cast the spell again"
    retryable = True


class RunTooLong(RunError):
    """The run took longer than a caller waits (`when_long = "fail"`), and was ended."""

    code = "run.too_long"
    hint_text = "cast it with less to do, or let the spell say when_long = 'handle'"


class RunProtocolError(RunError):
    """The spell ended its run with an error of the caller's protocol (`ctx:protocol_error`).

    `data` is `{code, message}` as the wire is to carry them.
    """

    code = "run.protocol_error"


class RunDiverged(RunError):
    """A resumed run asked for something else than it did before; `data` shows both sides."""

    code = "run.diverged"
    hint_text = "go on from the last good step: llmspell runs fork ID --step N"


class RunCollected(RunError):
    """The run was deleted: it ended longer ago than runs are kept."""

    code = "run.collected"
    hint_text = "raise the setting runs.keep to keep runs longer"


class IdempotencyConflict(RunError):
    """The idempotency key was used for another input."""

    code = "idempotency.conflict"
    hint_text = "use a new key for a new cast"


class AskError(RunError):
    """A question to a person brought no answer."""

    code = "ask.failed"


class AskDeclined(AskError):
    """The person declined to answer."""

    code = "ask.declined"


class AskExpired(AskError):
    """Nobody answered in time."""

    code = "ask.expired"


class AskInvalid(AskError):
    """The answer does not fit the question; the question is still open."""

    code = "ask.invalid"
    hint_text = "answer what the question's schema asks for"


class WorkflowError(LlmspellError):
    """A step of a workflow failed; `data["step"]` names it."""

    code = "workflow.failed"


class TemplateError(WorkflowError):
    """A text names a placeholder that has no value."""

    code = "workflow.unknown_placeholder"


class ModelError(LlmspellError):
    """A model did not answer as asked."""

    code = "model.failed"


class ModelUnknown(ModelError):
    """No provider knows this model."""

    code = "model.unknown"
    hint_text = "models are named provider/model, e.g. anthropic/claude-sonnet-4-5"


class ModelAuth(ModelError):
    """The provider refused the key, or there is none."""

    code = "model.auth"


class ModelRateLimit(ModelError):
    """The provider asks to slow down; `data["retry_after"]` is in seconds where it said so."""

    code = "model.rate_limit"
    retryable = True


class ModelTimeout(ModelError):
    """The provider took too long."""

    code = "model.timeout"
    retryable = True


class ModelUnavailable(ModelError):
    """The provider can't be reached or is out of order."""

    code = "model.unavailable"
    hint_text = "check the network and the provider's address, then cast again"
    retryable = True


class ModelContextLength(ModelError):
    """The conversation is longer than the model takes."""

    code = "model.context_length"


class ModelContentPolicy(ModelError):
    """The provider refused the content."""

    code = "model.content_policy"


class ModelBadRequest(ModelError):
    """The provider did not accept the request."""

    code = "model.bad_request"


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


class OwnerError(LlmspellError):
    """The process that owns the state directory could not be used."""

    code = "owner.failed"


class OwnerUnreachable(OwnerError):
    """No owner answered, and none could be started."""

    code = "owner.unreachable"
    hint_text = "the state directory's log/owner.log says why"


class OwnerStopping(OwnerError):
    """The server is ending, or not open yet: it takes nothing new."""

    code = "owner.stopping"
    hint_text = "try again in a moment"
    retryable = True


class OwnerVersion(OwnerError):
    """The owner is of another version of llmspell."""

    code = "owner.version"
    hint_text = "end it with 'llmspell stop', then try again"


class AccessError(LlmspellError):
    """A request was refused before it reached anything."""

    code = "access.refused"


class AccessUnauthenticated(AccessError):
    """The request carries no token, or a wrong one."""

    code = "access.unauthenticated"
    hint_text = (
        "send 'Authorization: Bearer TOKEN'; the token is in the file 'token' of the state "
        "directory (.llmspell in the project)"
    )


class AccessForbidden(AccessError):
    """The caller is known, and may not do this; `data.scopes` names what it would need."""

    code = "access.forbidden"
    hint_text = "ask for a key or token with these scopes"


class AccessRateLimited(AccessError):
    """The caller sends more requests than the settings allow; `data.retry_after` is in seconds."""

    code = "access.rate_limited"
    retryable = True
    hint_text = "wait, then try again; the setting is server.requests_per_minute"


class AccessUnavailable(AccessError):
    """Nobody can be let in now: the issuer whose tokens count can't be asked for its keys."""

    code = "access.unavailable"
    retryable = True
    hint_text = "try again in a moment; the server's log says what the issuer answered"


class AccessHost(AccessError):
    """The request names a host this server does not answer to (DNS rebinding)."""

    code = "access.host"
    hint_text = "add the name to the setting server.allowed_hosts"


class AccessOrigin(AccessError):
    """A web page of another origin sent the request."""

    code = "access.origin"
    hint_text = "add the origin to the setting server.allowed_origins"


class KeyNotFound(LlmspellError):
    """There is no API key of this id."""

    code = "key.not_found"
    hint_text = "'llmspell keys list' shows those there are"


class RemoteError(LlmspellError):
    """A remote agent answered with an error."""

    code = "remote.failed"


class RemoteUnreachable(RemoteError):
    """A remote agent could not be reached."""

    code = "remote.unreachable"
    retryable = True


class ClientFileError(LlmspellError):
    """A file of an MCP client cannot be read, or not be changed without harm to what it holds."""

    code = "client.file"
    hint_text = "'llmspell install CLIENT --print' shows what to put into it by hand"


class InternalError(LlmspellError):
    """A fault of llmspell itself."""

    code = "internal"
    hint_text = "please report it, with the lines of log/owner.log around it"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name most like `name`, or None. Looks at 100 names of up to 64 letters at most:
    names may come from a stranger's data, and comparing takes quadratic time.
    """
    short = [each for each in itertools.islice(names, 100) if len(each) <= 64]
    found = difflib.get_close_matches(name, short, n=1) if len(name) <= 64 else []
    return found[0] if found else None


def _tree(kind: type[LlmspellError]) -> dict[str, type[LlmspellError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found.update(_tree(child))
    return found


CATALOGUE: dict[str, type[LlmspellError]] = {**_tree(LlmspellError), "internal": InternalError}
"""Every code with its class: the closed catalogue that all edges answer from."""
