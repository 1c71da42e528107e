"""The closed catalogue: every code with its class, in the order the classes are defined in."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError
from llmspell.errors.internal import InternalError


def _tree(kind: type[LlmspellError]) -> dict[str, type[LlmspellError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found.update(_tree(child))
    return found


CATALOGUE: dict[str, type[LlmspellError]] = {**_tree(LlmspellError), "internal": InternalError}
"""Every code with its class: the closed catalogue that all edges answer from."""

LlmspellError.kinds = CATALOGUE
