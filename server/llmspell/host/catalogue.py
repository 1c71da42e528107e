"""What is published: the spells, what else their files declare, and the files that do not load."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from llmspell.errors import nearest
from llmspell.host.library_interface import PublishedPrompt, PublishedResource
from llmspell.values import Object

_LINE = re.compile(r":\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A spell as the edges publish it. Nothing of it runs when it is listed."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: Object = field(default_factory=dict[str, Any])
    output_schema: Object | None = None
    read_only: bool = False
    destructive: bool | None = None
    idempotent: bool = False
    open_world: bool | None = None
    tags: tuple[str, ...] = ()
    examples: tuple[Object, ...] = ()
    """Each `{input, output?}`."""
    expose_mcp: bool = True
    expose_a2a: bool = True
    version: str = ""
    """Content hash of the sources."""
    file: str = ""
    kind: str = "spell"
    """What the file returned: spell, agent, tool or workflow."""
    bundle: str = ""
    """The bundle it comes from; "" = the project's own."""
    wait: float | None = None
    """Seconds a caller waits before `when_long` decides; None = the setting `runs.wait`."""
    when_long: Literal["handle", "wait", "fail"] = "handle"
    task: Literal["optional", "required", "never"] = "optional"
    """Whether a client that knows tasks gets one of it."""
    icon: str = ""
    """URL of an image that shows it; "" = none."""
    problem: Object | None = None
    """The error of a newer source that does not load, while this older version stays."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The published spells at one moment, sorted by name."""

    generation: int
    """Grows with every change."""
    spells: tuple[Published, ...]
    problems: tuple[Object, ...] = ()
    """Errors of files that publish nothing, each an error object with `where`."""
    resources: tuple[PublishedResource, ...] = ()
    """What can be read, sorted: resources before templates, each by URI. The project's files are
    not among them; see `Library.resources`."""
    prompts: tuple[PublishedPrompt, ...] = ()
    """What can be filled in, sorted by name."""

    def get(self, name: str) -> Published | None:
        """Return the spell of this name, or None."""
        return next((spell for spell in self.spells if spell.name == name), None)

    def suggest(self, name: str) -> str:
        """Return a hint for a name that is not published: its file may not load."""
        for problem in self.problems:
            where = str(problem.get("where", ""))
            if PurePath(_LINE.sub("", where)).stem == name:
                return f"{where} does not load: 'llmspell check' says why"
        names = [spell.name for spell in self.spells]
        close = nearest(name, names)
        if close:
            return f"did you mean {close!r}?"
        known = ", ".join(names[:20])
        return f"published: {known}" if known else "nothing is published: see 'llmspell check'"
