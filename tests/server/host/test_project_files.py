"""Files of a project as resources: which are found, what is read, what never is."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmspell.config import McpSettings
from llmspell.errors import OutputTooLarge, ResourceNotFound
from llmspell.host.project_files import ProjectFiles

LIMIT = 1000


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in {
        "docs/a.md": "# A",
        "docs/deep/b.md": "# B",
        "docs/.hidden/c.md": "secret",
        "docs/.d.md": "secret",
        "docs/big.md": "x" * (LIMIT + 1),
        "docs/other.txt": "text",
        ".llmspell/token.md": "secret",
        "readme.md": "# R",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "docs/raw.bin.md").write_bytes(b"\xff\xfe")
    (tmp_path / "outside.md").write_text("secret")
    return root


def files(root: Path, *patterns: str) -> ProjectFiles:
    return ProjectFiles(root, patterns, state=root / ".llmspell", limit_bytes=LIMIT)


async def names(found: ProjectFiles) -> list[str]:
    return [each.name for each in await found.list()]


async def test_what_the_patterns_match_is_found_in_order(project: Path) -> None:
    expected = ["docs/a.md", "docs/big.md", "docs/deep/b.md", "docs/raw.bin.md"]
    assert await names(files(project, "docs/**/*.md")) == expected
    assert await names(files(project, "*.md", "docs/*.txt")) == ["docs/other.txt", "readme.md"]
    assert await names(files(project)) == []


async def test_a_text_is_read_as_text_and_bytes_as_bytes(project: Path) -> None:
    found = files(project, "docs/**/*.md")
    text = await found.read((project / "docs/a.md").as_uri())
    assert (text.text, text.media_type, text.data) == ("# A", "text/markdown", None)
    raw = await found.read((project / "docs/raw.bin.md").as_uri())
    assert raw.text is None
    assert raw.data is not None
    assert base64.b64decode(raw.data) == b"\xff\xfe"


async def test_a_file_over_the_limit_is_listed_and_not_read(project: Path) -> None:
    with pytest.raises(OutputTooLarge):
        await files(project, "docs/*.md").read((project / "docs/big.md").as_uri())


@pytest.mark.parametrize(
    "uri",
    [
        "{root}/readme.md",
        "{root}/docs/other.txt",
        "{root}/docs/.d.md",
        "{root}/docs/.hidden/c.md",
        "{root}/.llmspell/token.md",
        "{root}/docs/../readme.md",
        "{root}/docs/%2e%2e/readme.md",
        "{root}/docs/../../outside.md",
        "{root}/docs//a.md",
        "{root}/docs/%61.md",
        "{root}/docs/a.md%00",
        "{root}/docs",
        "/etc/passwd",
    ],
)
async def test_what_is_not_listed_is_not_read_however_it_is_spelled(
    project: Path, uri: str
) -> None:
    found = files(project, "docs/**/*")
    if uri == "{root}/docs/other.txt":
        found = files(project, "docs/**/*.md")
    address = "file://" + uri.replace("{root}", str(project))
    assert not await found.has(address)
    with pytest.raises(ResourceNotFound):
        await found.read(address)


@pytest.mark.parametrize("pattern", ["docs/**/*.md", "docs/*.md", "link/*.md"])
async def test_a_link_out_of_the_project_leads_nowhere(project: Path, pattern: str) -> None:
    (project / "docs/link.md").symlink_to(project.parent / "outside.md")
    (project / "link").symlink_to(project.parent)
    found = files(project, pattern)
    assert not [name for name in await names(found) if "link" in name]
    for name in ("docs/link.md", "link/outside.md"):
        with pytest.raises(ResourceNotFound):
            await found.read((project / name).as_uri())


async def test_a_link_to_a_hidden_file_leads_nowhere(project: Path) -> None:
    (project / "docs/token.md").symlink_to(project / ".llmspell/token.md")
    assert "docs/token.md" not in await names(files(project, "docs/*.md"))


async def test_a_changed_file_and_a_new_one_are_told_of(project: Path) -> None:
    found = files(project, "docs/**/*.md", "*.md")
    told: list[tuple[list[str], bool]] = []
    heard = asyncio.Event()

    def changed(uris: Sequence[str], is_list_changed: bool) -> None:
        told.append(([Path(uri).name for uri in uris], is_list_changed))
        heard.set()

    watching = asyncio.create_task(found.watch(changed))
    try:
        async with asyncio.timeout(20):
            number = 0
            while not heard.is_set():  # until the watcher has begun
                number += 1
                (project / "docs/a.md").write_text(f"# A {number}")
                await asyncio.wait([asyncio.create_task(heard.wait())], timeout=0.2)
            assert (["a.md"], False) in told
            (project / "docs/deep/new.md").write_text("# N")
            while not any(is_new for _, is_new in told):
                heard.clear()
                await heard.wait()
            (project / "readme.md").write_text("# R2")
            while not any("readme.md" in uris for uris, _ in told):
                heard.clear()
                await heard.wait()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.parametrize("pattern", ["/etc/*", "../*.md", "a/../../b", "", "docs/**.md"])
def test_a_pattern_that_leads_out_of_the_project_is_a_wrong_setting(pattern: str) -> None:
    with pytest.raises(ValueError, match="resources"):
        McpSettings(resources=[pattern])
