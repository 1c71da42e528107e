"""The models of what a file may declare: spells, agents, tools, workflows.

Unknown keys are refused (`spec.fields` adds file, line and a suggestion).
Everything published becomes a `SpellSpec` with exactly one of `run`,
`workflow` and `agent`, so the rest of the product knows one form.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llmspell.durations import seconds_of
from llmspell.schedule import Schedule
from llmspell.values import JSON, FunctionRef, Object

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,47}$"
"""Names of what is published; unique ignoring case."""

Kind: TypeAlias = Literal["spell", "agent", "tool", "workflow", "resource", "prompt", "completion"]
"""What is cast. The last three are parts of a file: functions that are cast when somebody reads
a resource, fills a prompt in, or completes an argument."""

ALIASES = {"input": "params"}
"""Fields of a spell that may be called otherwise."""

STEP_TARGETS = ("agent", "tool", "spell", "workflow")
"""Keys of a workflow's step that name what it casts; a step has one of them."""


def _empty_list_is_object(value: Any) -> Any:
    # A bare `{}` in Lua has no kind of its own; where an object is meant it is one.
    return {} if value == [] else value


def _empty_object_is_list(value: Any) -> Any:
    return [] if value == {} else value


Table = Annotated[Object, BeforeValidator(_empty_list_is_object)]
Names = Annotated[tuple[str, ...], BeforeValidator(_empty_object_is_list)]
Seconds = Annotated[float, BeforeValidator(seconds_of)]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Budget(_Declared):
    """What a cast and all it begins may spend."""

    usd: float | None = Field(default=None, gt=0, description="US dollars of model calls.")
    tokens: int | None = Field(default=None, gt=0, description="Tokens read and written by models.")
    seconds: Seconds | None = Field(
        default=None, gt=0, description="Seconds from beginning to end, or a text like `10m`."
    )
    calls: int | None = Field(default=None, gt=0, description="Model calls.")
    tool_calls: int | None = Field(default=None, gt=0, description="Tool calls of its agents.")
    children: int | None = Field(default=None, gt=0, description="Casts begun below this one.")
    depth: int | None = Field(
        default=None, gt=0, description="How deep casts may nest below this one."
    )


class Limits(_Declared):
    """What the code of one cast may use; the settings' limits hold besides."""

    slice_seconds: float | None = Field(
        default=None, gt=0, description="CPU seconds before it gives way to an effect."
    )
    cpu_seconds: float | None = Field(default=None, gt=0, description="CPU seconds in all.")
    heap_bytes: int | None = Field(default=None, ge=4 << 20, description="Size of its Lua heap.")
    host_calls: int | None = Field(default=None, gt=0, description="Effects it may ask for.")
    log_events: int | None = Field(default=None, gt=0, description="Log lines and parts it emits.")
    output_bytes: int | None = Field(default=None, gt=0, description="Size of its output as JSON.")


class Needs(_Declared):
    """What the code of a spell may reach beyond itself."""

    tools: Names = Field(
        default=(), description="Names it may cast, besides those its file declares."
    )
    net: Names = Field(default=(), description="Hosts it may call.")
    secrets: Names = Field(default=(), description="Secrets it may hand to tools.")
    files: Table = Field(default={}, description="Paths it may read and write.")


class Expose(_Declared):
    """The doors a spell is published at."""

    mcp: bool = Field(default=True, strict=True, description="As an MCP tool.")
    a2a: bool = Field(default=True, strict=True, description="As an A2A skill.")


class Example(_Declared):
    """One example of a cast."""

    input: JSON = Field(default=None, description="The input.")
    output: JSON = Field(default=None, description="What comes of it.")


class AgentLimits(_Declared):
    """Where an agent's loop ends."""

    turns: int = Field(default=8, gt=0, le=100, description="Model calls of one answer.")
    tokens: int | None = Field(default=None, gt=0, description="Tokens of one answer.")
    usd: float | None = Field(default=None, gt=0, description="US dollars of one answer.")
    seconds: float | None = Field(default=None, gt=0, description="Seconds of one answer.")
    parallel_tools: int = Field(default=4, gt=0, le=64, description="Tools called side by side.")


class AgentSpec(_Declared):
    """A model with instructions and tools."""

    name: str = Field(default="agent", pattern=NAME_PATTERN, description="Its name.")
    title: str = Field(default="", description="Its name for people.")
    description: str = Field(default="", description="What it does; models choose by it.")
    model: str = Field(default="", description="provider/model or a role; default from settings.")
    system: str = Field(default="", description="Its instructions.")
    tools: tuple[str | Object, ...] = Field(
        default=(), description="What it may call: names, or spells, agents and tools themselves."
    )
    output: Object | None = Field(default=None, description="Schema of a structured answer.")
    limits: AgentLimits = Field(
        default=AgentLimits.model_construct(), description="Where its loop ends."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="Sampling temperature.")
    max_tokens: int | None = Field(
        default=None, gt=0, description="Longest answer of one model call."
    )


class ResourceSpec(_Declared):
    """Something to read, or a template of such."""

    name: str = Field(
        default="", pattern=NAME_PATTERN, description="Its name; default: the file's."
    )
    title: str = Field(default="", max_length=200, description="Its name for people.")
    description: str = Field(default="", max_length=4096, description="What it holds.")
    uri: str = Field(default="", max_length=2048, description="Its URI.")
    template: str = Field(
        default="", max_length=2048, description="Or a template of URIs, like `notes://{name}`."
    )
    params: Object | None = Field(
        default=None, description="The variables of the template; all are texts by default."
    )
    media_type: str = Field(
        default="", max_length=200, description="What it is; default: by what `read` returns."
    )
    icon: str = Field(
        default="", max_length=65536, description="An https or data URL of an image that shows it."
    )
    read: FunctionRef = Field(
        description="Returns a text, `Content.*`, or a table that is shown as JSON."
    )
    complete: dict[str, FunctionRef] = {}
    """Functions that complete its variables, by their names."""
    line: int = 0


class PromptSpec(_Declared):
    """A text for a model that a person fills in and sends."""

    name: str = Field(
        default="", pattern=NAME_PATTERN, description="Its name; default: the file's."
    )
    title: str = Field(default="", max_length=200, description="Its name for people.")
    description: str = Field(default="", max_length=4096, description="What it is for.")
    arguments: Object = Field(
        default_factory=lambda: {"type": "object", "properties": {}},
        description="What is filled in.",
    )
    messages: FunctionRef | str = Field(
        description="A text with placeholders like `{{input.topic}}`, or a function that returns "
        "a text, `Content.*`, or a list of `{ role =, text = | content = }`."
    )
    icon: str = Field(
        default="", max_length=65536, description="An https or data URL of an image that shows it."
    )
    complete: dict[str, FunctionRef] = {}
    """Functions that complete its arguments, by their names."""
    line: int = 0


class SpellSpec(_Declared):
    """A spell: what it is called, what it takes and gives, and how it runs."""

    kind: Kind = "spell"
    name: str = Field(
        default="", pattern=NAME_PATTERN, description="Its name; default: the file's."
    )
    title: str = Field(default="", max_length=200, description="Its name for people.")
    description: str = Field(
        default="", max_length=4096, description="What it does; models choose by it."
    )
    input: Object = Field(default_factory=lambda: {"type": "object"}, description="Input schema.")
    output: Object | None = Field(default=None, description="Output schema.")
    run: FunctionRef | None = Field(default=None, description="The function that does it.")
    workflow: Object | None = Field(default=None, description="The workflow that does it.")
    agent: AgentSpec | None = Field(default=None, description="The agent that does it.")
    budget: Budget = Field(default=Budget.model_construct(), description="What a cast may spend.")
    limits: Limits = Field(
        default=Limits.model_construct(), description="What one cast's code may use."
    )
    schedule: Schedule | None = Field(
        default=None, description="When it is cast by itself: a cron expression, or a table."
    )
    concurrency: int | None = Field(
        default=None, gt=0, description="Casts of it at the same time; more wait for their turn."
    )
    needs: Needs = Field(default=Needs.model_construct(), description="What its code may reach.")
    wait: Seconds | None = Field(
        default=None,
        gt=0,
        description="How long a caller waits before `when_long` decides; the setting `runs.wait`.",
    )
    when_long: Literal["handle", "wait", "fail"] = Field(
        default="handle",
        description="What a caller gets then: a handle of the run, more waiting, or an error.",
    )
    detached: bool = Field(
        default=False, strict=True, description="It goes on when every caller has left."
    )
    join: bool = Field(
        default=False,
        strict=True,
        description="The same cast at the same time is cast once, and shared.",
    )
    task: Literal["optional", "required", "never"] = Field(
        default="optional", description="Whether a client that knows tasks gets one of it."
    )
    icon: str = Field(
        default="", max_length=65536, description="An https or data URL of an image that shows it."
    )
    read_only: bool = Field(default=False, strict=True, description="It changes nothing.")
    destructive: bool | None = Field(
        default=None, strict=True, description="It may delete or overwrite."
    )
    idempotent: bool = Field(
        default=False, strict=True, description="Casting twice is as casting once."
    )
    open_world: bool | None = Field(
        default=None, strict=True, description="It reaches beyond this server."
    )
    tags: Names = Field(default=(), description="Words to find it by.")
    examples: tuple[Example, ...] = Field(default=(), description="Examples of casts.")
    expose: Expose = Field(default=Expose.model_construct(), description="Where it is published.")
    prompt: bool | str = Field(
        default=False,
        description="Whether it is a prompt too: true, or a text like `Sum up {{input.topic}}`.",
    )
    prompts: tuple[PromptSpec, ...] = Field(
        default=(), description="Prompts that come with it, made by `Prompt.create`."
    )
    resources: tuple[ResourceSpec, ...] = Field(
        default=(), description="Resources that come with it, made by `Resource.create`."
    )
    complete: dict[str, FunctionRef] = {}
    """Functions that complete fields of its input, by their names."""
    line: int = 0
    """Line of the declaration in the author's file."""
