"""The generated reference has a place for everything; `make reference` says it is up to date."""

from __future__ import annotations

from pathlib import Path

from llmspell.config import Settings
from llmspell.errors import CATALOGUE
from tests.support.markdown import headings
from tools.generate_reference import PAGES, REFERENCE, outdated, render


def test_every_error_code_has_a_heading_and_every_heading_a_code() -> None:
    title, *codes = headings(REFERENCE / "errors.md")
    assert title == "Errors"
    assert sorted(codes) == sorted(CATALOGUE)


def test_every_section_of_the_settings_has_a_heading() -> None:
    found = headings(REFERENCE / "settings.md")
    for name, field in Settings.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            assert f"[{name}]" in found


def test_every_setting_says_what_it_does() -> None:
    assert "| None |" not in render()["settings.md"]


def test_a_page_that_differs_from_the_code_is_found(tmp_path: Path) -> None:
    for name, text in render().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert outdated(tmp_path) == []
    (tmp_path / "errors.md").write_text("# Errors\n", encoding="utf-8")
    (tmp_path / "cli.md").unlink()
    assert len(outdated(tmp_path)) == 2
    assert len(PAGES) == 3
