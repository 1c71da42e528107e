"""What a cast meets at a spell's border: its name, its input and output, its author's errors."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


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
