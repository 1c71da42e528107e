"""What an edge sees of the library: what there is to read, and what fills it in.

Resources are read, prompts are filled in, completions are proposed. What a
function of a spell's file makes is a cast, so a read may be a run that its
caller waits for; everything else is answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from llmspell.host.run_interface import WaitedHandle
from llmspell.runs.log import ListKind
from llmspell.runs.record import Outcome
from llmspell.security.principals import Caller
from llmspell.values import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResource:
    """A resource, or a template of resources, as the edges publish it."""

    uri: str
    """Its URI; of a template, its URI template (RFC 6570, level 1, and `?` queries)."""
    is_template: bool = False
    name: str = ""
    title: str = ""
    description: str = ""
    media_type: str = ""
    """"" = it is known when it is read."""
    icon: str = ""
    size: int | None = None
    """Bytes, where that is known without reading it."""
    spell: str = ""
    """The spell that it belongs to, or the name of its own file; "" = none."""
    bundle: str = ""
    """The bundle it comes from; "" = the project's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptArgument:
    """One argument of a prompt. Its value is a text at every door."""

    name: str
    title: str = ""
    description: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPrompt:
    """A prompt as the edges publish it."""

    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()
    icon: str = ""
    spell: str = ""
    """The spell that it belongs to, or the name of its own file; "" = none."""
    bundle: str = ""
    """The bundle it comes from; "" = the project's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceContent:
    """One content of a resource: text, or bytes."""

    uri: str
    media_type: str = ""
    text: str | None = None
    data: str | None = None
    """Bytes as base64; None when it is text."""
    next: str = ""
    """URI of what follows, where this is a page; "" = it is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMessage:
    """One message of a prompt; `part` is typed content as `Content.*` makes it."""

    role: Literal["user", "assistant"]
    part: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Completions:
    """Values proposed for an argument, the best first."""

    values: tuple[str, ...] = ()
    """At most 100."""
    total: int = 0
    """How many there are."""


PromptRef: TypeAlias = tuple[Literal["prompt"], str]
"""A prompt by its name."""

ResourceRef: TypeAlias = tuple[Literal["resource"], str]
"""A resource template by its URI template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """How to use a spell, as an Agent Skill of one file (SEP-2640)."""

    uri: str
    """Of its `SKILL.md`."""
    name: str
    description: str
    text: str
    """The whole file, its frontmatter (name and description) included."""
    digest: str
    """SHA-256 of the file as `sha256:{hex}`."""
    size: int
    """Its bytes."""


class Library(Protocol):
    """The resources, prompts and completions of a project. `Catalogue` lists them."""

    async def resources(self) -> Sequence[PublishedResource]:
        """Return what `Catalogue.resources` has and the project's files, sorted by URI."""
        ...

    async def read(self, uri: str, *, caller: Caller) -> Sequence[ResourceContent] | WaitedHandle:
        """Return a resource's contents, or the run that makes them.

        Raises:
            ResourceNotFound: There is none the caller may read.
            OutputTooLarge: It is larger than the setting `limits.output_bytes`.
            AccessForbidden: The caller's scopes do not have `read`.
        """
        ...

    def contents(self, uri: str, outcome: Outcome) -> Sequence[ResourceContent]:
        """Return the contents that a completed run of `read` made.

        Raises:
            ResourceNotFound: The function of the resource returned nothing.
            OutputInvalid: What it returned is no content.
            LlmspellError: The run did not complete.
        """
        ...

    async def prompt(
        self, name: str, arguments: Mapping[str, str], *, caller: Caller
    ) -> Sequence[PromptMessage] | WaitedHandle:
        """Return a prompt's messages, or the run that makes them.

        Raises:
            PromptNotFound: There is none of this name.
            InputInvalid: An argument is missing, unknown or does not fit.
            TemplateError: Its text has a placeholder that nothing fills.
            AccessForbidden: The caller's scopes do not have `read`.
        """
        ...

    def messages(self, outcome: Outcome) -> Sequence[PromptMessage]:
        """Return the messages that a completed run of `prompt` made.

        Raises:
            OutputInvalid: What the function returned is no list of messages.
            LlmspellError: The run did not complete.
        """
        ...

    async def complete(
        self,
        ref: PromptRef | ResourceRef,
        argument: str,
        value: str,
        context: Mapping[str, str],
        *,
        caller: Caller,
    ) -> Completions:
        """Return what an argument's value may go on to, from its schema or its own function.

        Raises:
            PromptNotFound: There is no such prompt.
            ResourceNotFound: There is no such template.
            InputInvalid: It has no such argument.
            AccessForbidden: The caller's scopes do not have `read`.
        """
        ...

    async def has(self, uri: str, *, caller: Caller) -> bool:
        """Return whether the caller may subscribe to this URI. Runs are not asked for here."""
        ...

    def skills(self, *, caller: Caller) -> Sequence[Skill]:
        """Return the documentation of the spells, sorted by URI.

        Raises:
            AccessForbidden: The caller may not read it.
        """
        ...

    def on_update(self, listener: Callable[[str, str | None], None]) -> Callable[[], None]:
        """Call `listener` with each URI whose content changed, and the tenant (None = for all).

        Returns what ends that.
        """
        ...

    def on_list(self, listener: Callable[[ListKind], None]) -> Callable[[], None]:
        """Call `listener` with each list that changed beside the catalogue: `resources` when files
        came or went, and `tools`, `prompts` or `resources` when a run says so.

        Returns what ends that.
        """
        ...
