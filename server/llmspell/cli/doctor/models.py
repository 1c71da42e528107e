"""Which models could be asked: the names of the keys there are, never a key."""

from __future__ import annotations

from llmspell.cli.doctor.finding import Finding
from llmspell.config import Project
from llmspell.errors import LlmspellError


def examine(project: Project) -> list[Finding]:
    """Look at where keys of model providers come from."""
    findings: list[Finding] = []
    for name, provider in project.settings.providers.items():
        if not provider.api_key:
            continue
        try:
            is_set = bool(project.secret(provider.api_key))
        except LlmspellError as error:
            findings.append(Finding(f"key of {name}", "problem", error.message, error.hint))
            continue
        if is_set:
            findings.append(Finding(f"key of {name}", "ok", f"from {provider.api_key}"))
        else:
            findings.append(
                Finding(
                    f"key of {name}",
                    "problem",
                    f"{provider.api_key} is empty",
                    "set it, or name a file: ${file:PATH}",
                )
            )
    variables = sorted(
        name for name, value in project.environment.items() if name.endswith("_API_KEY") and value
    )
    if variables:
        # An owner has the environment of whoever started it first.
        findings.append(
            Finding(
                "model keys",
                "warning",
                f"{', '.join(variables)}: in this environment only",
                "desktop applications do not pass them on: name them in llmspell.toml, "
                'e.g. [providers.NAME] api_key = "${file:PATH}"',
            )
        )
    elif not findings:
        findings.append(
            Finding("model keys", "ok", "none: only scripted models and local ones can be asked")
        )
    return findings
