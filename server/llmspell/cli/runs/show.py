"""`llmspell runs show`: the record of one run, its questions, its steps and its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson, RunId
from llmspell.cli.waiting import perform
from llmspell.errors import LlmspellError
from llmspell.values import dumps

if TYPE_CHECKING:
    from llmspell.host.run_interface import Step
    from llmspell.runs.record import Question, Run

_SHOWN = 400


def show(
    context: typer.Context,
    id: RunId,
    json: AsJson = False,
    full: Annotated[
        bool, typer.Option("--full", help="Do not shorten long inputs and outputs.")
    ] = False,
) -> None:
    """Show one run: what it asks, what it did, what went wrong."""
    run, steps = perform(_load(place_of(context), id))
    if json:
        import msgspec

        from llmspell.cli.outputs import show_json

        show_json(msgspec.to_builtins({"run": run, "journal": steps}))
        return
    _show_record(run, full=full)
    for question in run.questions:
        _show_question(run, question)
    _show_steps(steps)
    if run.error is not None:
        typer.echo(LlmspellError.from_value(run.error).report())


async def _load(place: Place, given: str) -> tuple[Run, Sequence[Step]]:
    from llmspell.cli.runs.finding import find_run
    from llmspell.security.principals import local_caller

    async with await place.attach() as host:
        handle = await find_run(host, given)
        journal = await host.journal(handle.id, caller=local_caller("cli"))
        return await handle.record(), journal


def _show_record(run: Run, *, full: bool) -> None:
    from llmspell.cli.tables import moment, show_fields

    def text(value: object) -> str:
        written = value if isinstance(value, str) else dumps(value)
        return written if full or len(written) <= _SHOWN else f"{written[:_SHOWN]}..."

    fields = [
        ("run", run.id),
        ("spell", f"{run.spell or '-'} {run.spell_version[:12]}".rstrip()),
        ("state", f"{run.state}, parked" if run.parked else run.state),
        ("door", run.door),
        ("session", run.session),
        ("begun", moment(run.created_at)),
        ("changed", moment(run.updated_at)),
    ]
    if run.wake_at is not None:
        fields.append(("wakes", moment(run.wake_at)))
    if run.parent is not None:
        fields.append(("parent", run.parent))
    if run.forked_from is not None:
        fields.append(("fork of", run.forked_from))
    if run.usage.calls:
        usage = run.usage
        tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
        fields.append(("models", f"{usage.calls} calls, {tokens}, {usage.usd:g} usd"))
    fields.append(("input", text(run.input)))
    if run.state == "completed":
        fields.append(("output", text(run.output if run.content is None else run.content)))
    show_fields(fields)


def _show_question(run: Run, question: Question) -> None:
    from llmspell.cli.tables import clean, moment

    typer.echo(f"question {question.id}, open until {moment(question.expires_at)}")
    typer.echo(f"  {clean(question.message)}")
    typer.echo(f"  answer: llmspell runs answer {run.id}")


def _show_steps(steps: Sequence[Step]) -> None:
    from llmspell.cli.tables import moment, show_table

    if steps:
        rows = [
            # What a question is called inside says nothing to a person.
            (
                str(step.number),
                step.kind,
                "" if step.kind == "ask" else step.name,
                "ok" if step.ok else "failed",
                moment(step.at),
            )
            for step in steps
        ]
        show_table(("step", "kind", "name", "ended", "at"), rows)
