"""The owner that lives: which it is, what it publishes, and whether its database is sound."""

from __future__ import annotations

import asyncio

from llmspell import __version__
from llmspell.cli.doctor.finding import Finding
from llmspell.config import Project
from llmspell.errors import LlmspellError
from llmspell.host.lock import owner_pid
from llmspell.host.remote import RemoteHost

ANSWER_SECONDS = 15.0
VERIFY_SECONDS = 30.0


async def examine(project: Project) -> list[Finding]:
    """Look at the owner of a project. Starts none."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            owner = await RemoteHost.find(project.state)
    except TimeoutError:
        return [
            Finding(
                "owner",
                "problem",
                f"process {owner_pid(project.state)} does not answer",
                "kill it with 'llmspell stop --force': saved runs go on with the next owner",
            )
        ]
    except LlmspellError as error:
        return [Finding("owner", "problem", error.message, error.hint)]
    if owner is None:
        log = project.state / "log" / "owner.log"
        return [Finding("owner", "problem", "there is none", f"the end of {log} says why")]
    async with owner:
        # It speaks with the libraries of a wire, which take long to load.
        from llmspell.cli.doctor import catalogue

        return [
            await _who(owner),
            *_spells(owner),
            *catalogue.examine(owner.catalogue(), project.settings.mcp),
            await _database(owner),
        ]


async def _who(owner: RemoteHost) -> Finding:
    told = await owner.call("info")
    text = f"process {told['pid']}, llmspell {told['version']}, up {told['uptime_seconds']:.0f} s"
    if told["http"]:
        text += f", HTTP at {told['http']['url']}"
    if told["version"] == __version__:
        return Finding("owner", "ok", text)
    return Finding(
        "owner", "warning", f"{text}; this is {__version__}", "end it with 'llmspell stop'"
    )


def _spells(owner: RemoteHost) -> list[Finding]:
    catalogue = owner.catalogue()
    findings = [
        Finding(
            f"spell {problem.get('where') or '?'}",
            "problem",
            str(problem.get("message", "")),
            str(problem.get("hint") or "'llmspell check' shows all that is wrong with it"),
        )
        for problem in catalogue.problems
    ]
    for spell in catalogue.spells:
        if spell.problem is not None:
            findings.append(
                Finding(
                    f"spell {spell.name}",
                    "warning",
                    f"its newest source does not load: {spell.problem.get('message', '')}",
                    f"mend {spell.file}; until then the version before stays published",
                )
            )
    count = len(catalogue.spells)
    if count or findings:
        return [Finding("spells", "ok", f"{count} published"), *findings]
    advice = "write one into spells/; 'llmspell check' says what keeps those there are from it"
    return [Finding("spells", "warning", "none is published", advice)]


async def _database(owner: RemoteHost) -> Finding:
    try:
        async with asyncio.timeout(VERIFY_SECONDS):
            found = await owner.state.verify()
    except TimeoutError:
        return Finding(
            "database",
            "warning",
            f"reading all of it takes longer than {VERIFY_SECONDS:g} s",
            "let 'llmspell state verify' do it",
        )
    except LlmspellError as error:
        return Finding("database", "problem", error.message, error.hint or "see log/owner.log")
    if found.problems:
        return Finding(
            "database",
            "problem",
            "; ".join(found.problems[:3]),
            "copy the state directory aside, then see 'llmspell state restore --help'",
        )
    return Finding("database", "ok", f"{sum(found.rows.values())} rows, {found.bytes} bytes, sound")
