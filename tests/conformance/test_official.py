"""The official conformance suite of MCP, run against a real server: one test a scenario.

Three runs: what each protocol version requires, on its wire, and every other
scenario for servers that the package has, side by side: most of their time is
waiting. Warnings count as failures here.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from tests.support.conformance import Results, required_scenarios, run_suite, server_scenarios
from tests.support.servers import make_project, running_server

REVISIONS = ("2025-11-25", "2026-07-28")
OTHERS = "others"

SETTINGS = """
publish = ["*", "bundle:conformance"]

[server]
auth = "none"

[mcp]
task_after = "200ms"
"""

EXPECTED_FAILURES = {
    (
        OTHERS,
        "sep-2640-skills-manifest",
    ): "skills are listed by skills/list only: in resources/list "
    "every spell would stand twice, as its source and as its skill",
}
"""Why a scenario cannot pass, by its run and name. It must fail as long as it stands here."""


@cache
def scenarios() -> dict[str, list[str]]:
    """Return the scenarios of each run."""
    required = {revision: required_scenarios(revision) for revision in REVISIONS}
    known = {name for names in required.values() for name in names}
    return {**required, OTHERS: [name for name in server_scenarios() if name not in known]}


def cases() -> list[tuple[str, str]]:
    return [(run, name) for run, names in scenarios().items() for name in names]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Results]]:
    project = make_project(tmp_path_factory.mktemp("served") / "project", ["hello"], SETTINGS)
    output = tmp_path_factory.mktemp("results")
    with running_server(project) as server, ThreadPoolExecutor(len(REVISIONS) + 1) as threads:
        url = f"{server.url}/mcp"

        def required(revision: str) -> Results:
            return run_suite(url, ["--requirements", revision], output / revision)

        def rest() -> Results:
            runs = [
                run_suite(url, ["--scenario", name], output / OTHERS)
                for name in scenarios()[OTHERS]
            ]
            return Results(
                max((run.status for run in runs), default=0),
                "".join(run.printed for run in runs),
                {name: checks for run in runs for name, checks in run.checks.items()},
            )

        others = threads.submit(rest)
        found = dict(zip(REVISIONS, threads.map(required, REVISIONS), strict=True))
        yield {**found, OTHERS: others.result()}


@pytest.mark.parametrize(("run", "scenario"), cases(), ids=map("/".join, cases()))
def test_a_scenario_passes(results: dict[str, Results], run: str, scenario: str) -> None:
    assert scenario in results[run].checks, results[run].printed
    complaints = results[run].complaints(scenario)
    reason = EXPECTED_FAILURES.get((run, scenario))
    if reason is None:
        assert complaints == []
    else:
        assert complaints, f"it passes now, so it must not be expected to fail because {reason}"


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_suite_finds_what_a_version_requires(
    results: dict[str, Results], revision: str
) -> None:
    assert results[revision].status == 0, results[revision].printed[-4000:]


def test_what_cannot_pass_is_among_what_is_run() -> None:
    assert EXPECTED_FAILURES.keys() <= set(cases())


def test_every_scenario_of_tasks_is_run() -> None:
    assert len([name for _, name in cases() if name.startswith("tasks-")]) >= 10
