"""The public API: what `llmspell` shows, and the closed catalogue of errors."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

import llmspell
from llmspell import errors
from llmspell.errors import CATALOGUE, InternalError, LlmspellError


def error_classes(
    kind: type[LlmspellError] = LlmspellError, depth: int = 0
) -> Iterator[tuple[int, type[LlmspellError]]]:
    """Yield every error class below `kind` with its depth, in the order of their definition."""
    for child in kind.__subclasses__():
        yield depth, child
        yield from error_classes(child, depth + 1)


def test_the_package_shows_its_public_names_and_no_others() -> None:
    assert dir(llmspell) == sorted(llmspell.__all__)
    # Another process, because what tests have imported would be visible here.
    program = "from llmspell import *; print(sorted(n for n in globals() if n[:2] != '__'))"
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    public = [name for name in sorted(llmspell.__all__) if not name.startswith("__")]
    assert shown.stdout.strip() == str(public)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'llmspell' has no attribute 'Hots'"):
        _ = llmspell.Hots


def test_every_public_name_and_every_method_of_it_is_documented() -> None:
    silent: list[str] = []
    for name in llmspell.__all__:
        value = getattr(llmspell, name)
        if not inspect.isclass(value):
            continue
        silent += [name] if not value.__doc__ else []
        for member, method in inspect.getmembers(value, callable):
            if not member.startswith("_") and not inspect.getdoc(method):
                silent.append(f"{name}.{member}")
    assert silent == []


def test_every_error_has_a_code_of_its_own_and_a_docstring() -> None:
    classes = [kind for _, kind in error_classes()]
    assert [
        code for code, count in Counter(kind.code for kind in classes).items() if count > 1
    ] == []
    assert [kind.__name__ for kind in classes if not kind.__doc__] == []
    assert {kind.code: kind for kind in classes} == CATALOGUE
    assert CATALOGUE[LlmspellError.code] is InternalError


def test_every_error_is_declared_in_the_package_of_errors() -> None:
    package = f"{errors.__name__}."
    elsewhere = [kind for _, kind in error_classes() if not kind.__module__.startswith(package)]
    assert elsewhere == []


def test_a_code_is_lower_case_words_and_begins_with_the_family_it_belongs_to() -> None:
    assert [code for code in CATALOGUE if not re.fullmatch(r"[a-z]+(\.[a-z_]+)?", code)] == []


def test_the_diagram_in_the_docstring_is_the_tree_of_classes() -> None:
    drawn = re.findall(r"^ {4}([│ ]*)[├└]── (\w+) +(\S+)$", errors.__doc__ or "", re.MULTILINE)
    assert [(len(indent) // 4, name, code) for indent, name, code in drawn] == [
        (depth, kind.__name__, kind.code) for depth, kind in error_classes()
    ]


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_an_error_survives_its_journey_as_a_value(code: str) -> None:
    error = CATALOGUE[code](
        "it failed", hint="do this", where="a.lua:7", data={"field": "x"}, run_id="r1"
    )
    again = LlmspellError.from_value(error.to_value())
    assert type(again) is type(error)
    assert again.to_value() == error.to_value()


def test_a_value_with_an_unknown_code_becomes_an_internal_error() -> None:
    error = LlmspellError.from_value({"code": "no.such", "message": "m"})
    assert isinstance(error, InternalError)
    assert error.message == "m"
