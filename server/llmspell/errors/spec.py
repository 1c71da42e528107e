"""What a spell file declares and must not: found when it is loaded or checked, before a cast."""

from __future__ import annotations

from llmspell.errors.base import LlmspellError


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


class SpecUnknownPlaceholder(SpecError):
    """A step of a workflow names a placeholder that neither the input nor a step before fills."""

    code = "spec.unknown_placeholder"


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
