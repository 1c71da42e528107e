"""What a spell does when it is cast: its function is called, its workflow driven, its agent asked.

A spec has exactly one of the three. What becomes of the result is `casting`'s part.
"""

from __future__ import annotations

from typing import cast

from llmspell.components.workflow import run_workflow
from llmspell.errors import BudgetExhausted
from llmspell.runs.castable import Castable, make_castable
from llmspell.runs.own_script import OwnScript
from llmspell.runs.performing import Performer
from llmspell.spec.declaration import SpellSpec
from llmspell.spec.reading import read_spec
from llmspell.values import JSON, Object, dumps


async def perform_body(
    spec: SpellSpec,
    input: JSON,
    *,
    performer: Performer,
    script: OwnScript,
    path: str,
    is_first: bool,
) -> JSON:
    """Do what a spell does with an input, and return what that gave.

    Args:
        performer: Of the run.
        script: Where the functions of the spec live.
        path: What the keys of the run's effects begin with.
        is_first: Whether nobody else can use the script before this asks for an effect.

    Raises:
        LlmspellError: It failed.
    """
    if spec.run is not None:
        session = await script.session()
        return await session.call(
            spec.run,
            _arguments(spec, input),
            with_context=True,
            path=path,
            perform=performer.perform,
            is_first=is_first,
        )
    if spec.workflow is not None:
        return await performer.drive(run_workflow(spec.workflow, input))
    assert spec.agent is not None  # a spec has exactly one of the three
    result = await performer.run_agent(spec.agent, _prompt(input), stream=True)
    if spec.agent.output is None:
        return result["text"]
    if result["output"] is None and result["stopped"] == "budget":
        raise BudgetExhausted(
            f"agent {spec.agent.name!r} spent its limits before it had a structured answer",
            data={"limit": "limits", "spent": result["usage"], "text": result["text"]},
        )
    return result["output"]


def returned_castable(returned: JSON, file: Castable) -> Castable | None:
    """Return what a file declared that is cast itself; None when it returned something else.

    Raises:
        SpecError: The declaration is wrong.
    """
    if not isinstance(returned, dict):
        return None
    declared = cast(Object, returned)
    if declared.get("$kind") not in ("spell", "agent", "tool", "workflow"):
        return None
    spec = read_spec(declared, file.origin, default_name=file.name)
    return make_castable(spec, file.origin, file.engine, unrestricted=True)


def _arguments(spec: SpellSpec, input: JSON) -> tuple[JSON, ...]:
    """Return what a spec's function is called with, before its `ctx`."""
    if spec.kind == "completion":
        fields = cast(Object, input)
        return (fields["value"], fields["context"])
    return (input,)


def _prompt(input: JSON) -> JSON:
    if isinstance(input, dict):
        table = cast(Object, input)
        if set(table) == {"prompt"}:
            return table["prompt"]
    return dumps(input)
