"""What the published files offer to read, fill in and complete, prebuilt for each catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from llmspell.errors import LlmspellError, PromptNotFound, SpecDuplicate
from llmspell.host.library_interface import PromptArgument, PublishedPrompt, PublishedResource
from llmspell.host.run_resources import TEMPLATES
from llmspell.runs.castable import Castable
from llmspell.runs.parts import completion_label, prompt_label, resource_label
from llmspell.spec.declaration import PromptSpec, ResourceSpec, SpellSpec
from llmspell.spec.uri_template import UriTemplate
from llmspell.values import FunctionRef, Object

SOURCE_TYPE = "text/x-lua"


@dataclass(frozen=True, slots=True)
class ResourceEntry:
    """A resource that a function reads."""

    spec: ResourceSpec
    castable: Castable
    """Of the function."""
    template: UriTemplate | None
    completions: Mapping[str, Castable]


@dataclass(frozen=True, slots=True)
class PromptEntry:
    """A prompt, filled in by a function, from a text, or from the input of its spell."""

    published: PublishedPrompt
    castable: Castable
    """What its arguments are checked by; its function is cast where `text` is None."""
    text: str | None
    is_call: bool
    """Whether it asks for a call of the spell, with no text of its own."""
    completions: Mapping[str, Castable]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The resources and prompts at one moment."""

    resources: tuple[PublishedResource, ...] = TEMPLATES
    """Sorted: resources before templates, each by URI."""
    prompts: tuple[PublishedPrompt, ...] = ()
    """Sorted by name."""
    sources: Mapping[str, Castable] = field(default_factory=dict[str, Castable])
    """The spells whose sources can be read, by URI."""
    by_uri: Mapping[str, ResourceEntry] = field(default_factory=dict[str, ResourceEntry])
    by_template: Mapping[str, ResourceEntry] = field(default_factory=dict[str, ResourceEntry])
    by_name: Mapping[str, PromptEntry] = field(default_factory=dict[str, PromptEntry])

    def find(self, uri: str) -> tuple[ResourceEntry, dict[str, str]] | None:
        """Return what reads a URI, with the values of its template; None when nothing does."""
        entry = self.by_uri.get(uri)
        if entry is not None:
            return entry, {}
        for entry in self.by_template.values():
            values = entry.template.match(uri) if entry.template is not None else None
            if values is not None:
                return entry, values
        return None

    def prompt(self, name: str) -> PromptEntry:
        """Return the prompt of a name.

        Raises:
            PromptNotFound: There is none.
        """
        entry = self.by_name.get(name)
        if entry is None:
            raise PromptNotFound(f"there is no prompt {name[:64]!r}")
        return entry


def build_shelf(
    castables: Iterable[tuple[Castable, str]],
) -> tuple[Shelf, list[LlmspellError]]:
    """Return the shelf of what is published, and what is wrong with it: names given twice.

    Args:
        castables: Each with its bundle, sorted by name; the first that takes a URI or a prompt's
            name keeps it.
    """
    problems: list[LlmspellError] = []
    sources: dict[str, Castable] = {}
    resources: dict[str, PublishedResource] = {each.uri: each for each in TEMPLATES}
    by_uri: dict[str, ResourceEntry] = {}
    by_template: dict[str, ResourceEntry] = {}
    by_name: dict[str, PromptEntry] = {}
    for castable, bundle in castables:
        spec = castable.spec
        if not spec.expose.mcp:
            continue
        if spec.kind not in ("resource", "prompt"):
            source = _source(spec, bundle)
            sources[source.uri] = castable
            resources[source.uri] = source
        for resource in spec.resources:
            published = _resource(resource, spec, bundle)
            if published.uri in resources:
                problems.append(_taken(castable, f"the URI {published.uri!r}", resource.line))
                continue
            resources[published.uri] = published
            entry = _resource_entry(castable, resource)
            (by_template if entry.template is not None else by_uri)[published.uri] = entry
        for prompt in _prompts(castable, bundle):
            name = prompt.published.name
            if name in by_name:
                problems.append(_taken(castable, f"the prompt name {name!r}", spec.line))
                continue
            by_name[name] = prompt
    shelf = Shelf(
        resources=tuple(sorted(resources.values(), key=lambda each: (each.is_template, each.uri))),
        prompts=tuple(by_name[name].published for name in sorted(by_name)),
        sources=sources,
        by_uri=by_uri,
        by_template=dict(sorted(by_template.items())),
        by_name=by_name,
    )
    return shelf, problems


def _taken(castable: Castable, what: str, line: int) -> SpecDuplicate:
    return SpecDuplicate(f"{what} is taken", where=castable.origin.where(line))


def _source(spec: SpellSpec, bundle: str) -> PublishedResource:
    return PublishedResource(
        uri=f"spell://{spec.name}",
        name=spec.name,
        title=f"Source of {spec.title or spec.name}",
        description=spec.description,
        media_type=SOURCE_TYPE,
        icon=spec.icon,
        spell=spec.name,
        bundle=bundle,
    )


def _resource(resource: ResourceSpec, spec: SpellSpec, bundle: str) -> PublishedResource:
    return PublishedResource(
        uri=resource.uri or resource.template,
        is_template=bool(resource.template),
        name=resource.name,
        title=resource.title,
        description=resource.description or (spec.description if spec.kind == "resource" else ""),
        media_type=resource.media_type,
        icon=resource.icon,
        spell=spec.name,
        bundle=bundle,
    )


def _resource_entry(castable: Castable, resource: ResourceSpec) -> ResourceEntry:
    label = resource_label(resource.name)
    return ResourceEntry(
        spec=resource,
        castable=castable.parts[label],
        template=UriTemplate(resource.template) if resource.template else None,
        completions=_completions(castable, label, resource.complete),
    )


def _completions(castable: Castable, of: str, names: Iterable[str]) -> dict[str, Castable]:
    return {name: castable.parts[completion_label(of, name)] for name in names}


def _prompts(castable: Castable, bundle: str) -> Iterable[PromptEntry]:
    spec = castable.spec
    if spec.prompt:
        yield PromptEntry(
            published=_published(spec, spec.input, spec, bundle),
            castable=castable,
            text=spec.prompt if isinstance(spec.prompt, str) else None,
            is_call=spec.prompt is True,
            completions=_completions(castable, spec.name, spec.complete),
        )
    for prompt in spec.prompts:
        label = prompt_label(prompt.name)
        yield PromptEntry(
            published=_published(prompt, prompt.arguments, spec, bundle),
            castable=castable.parts[label],
            text=None if isinstance(prompt.messages, FunctionRef) else prompt.messages,
            is_call=False,
            completions=_completions(castable, label, prompt.complete),
        )


def _published(
    prompt: PromptSpec | SpellSpec, schema: Object, spec: SpellSpec, bundle: str
) -> PublishedPrompt:
    fields: Any = schema.get("properties")
    required: Any = schema.get("required")
    return PublishedPrompt(
        name=prompt.name,
        title=prompt.title,
        description=prompt.description or (spec.description if spec.kind == "prompt" else ""),
        arguments=tuple(
            _argument(name, about, name in (required or ()))
            for name, about in (cast(Object, fields).items() if isinstance(fields, dict) else ())
        ),
        icon=prompt.icon,
        spell=spec.name,
        bundle=bundle,
    )


def _argument(name: str, schema: Any, required: bool) -> PromptArgument:
    about = cast(Object, schema) if isinstance(schema, dict) else {}
    return PromptArgument(
        name=name,
        title=str(about.get("title") or ""),
        description=str(about.get("description") or ""),
        required=required,
    )
