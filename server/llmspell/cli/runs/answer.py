"""`llmspell runs answer`: what a person says to a run that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import AsJson, RunId
from llmspell.cli.waiting import perform
from llmspell.errors import AskInvalid, RunNotWaiting, UsageError
from llmspell.values import dumps

if TYPE_CHECKING:
    from llmspell.runs.record import Question, Run


def answer(
    context: typer.Context,
    id: RunId,
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="[VALUE]",
            help="A JSON object, or the value of the only field; - reads stdin. Without it, and "
            "on a terminal, every field is asked for.",
        ),
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="One field of the answer.")
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(metavar="Q", help="Which question, by its id or how that begins."),
    ] = None,
    decline: Annotated[bool, typer.Option("--decline", help="Refuse to answer.")] = False,
    json: AsJson = False,
) -> None:
    """Answer what a run asks; it goes on by itself.

    'llmspell runs result ID' waits for what comes of it.
    """
    from llmspell.cli.outputs import say, show_json

    if decline and (value is not None or field):
        raise UsageError("--decline takes no answer", hint="")
    run = perform(_answer(place_of(context), id, value, field or [], question, decline=decline))
    if json:
        import msgspec

        show_json(msgspec.to_builtins(run))
    else:
        say("declined" if decline else "answered")


async def _answer(
    place: Place,
    given: str,
    value: str | None,
    fields: list[str],
    asked: str | None,
    *,
    decline: bool,
) -> Run:
    from llmspell.cli.asking import Unanswered, ask, has_terminal
    from llmspell.cli.inputs import read_answer
    from llmspell.cli.runs.finding import find_run

    async with await place.attach() as host:
        handle = await find_run(host, given)
        question = _chosen(await handle.record(), asked)
        if decline:
            return await handle.answer(None, question=question.id, action="decline")
        if value is not None or fields:
            read = read_answer(value, fields, question.schema)
            return await handle.answer(read, question=question.id)
        if not has_terminal():
            raise UsageError(
                f"no answer to: {question.message}",
                hint=f"give VALUE or --field; it has to fit {dumps(question.schema)}",
            )
        try:
            return await ask(handle, question)
        except Unanswered:
            raise AskInvalid("not answered: the question is still open", hint="") from None


def _chosen(run: Run, asked: str | None) -> Question:
    """Return the question that is meant.

    Raises:
        RunNotWaiting: The run asks nothing, or not this.
        AskInvalid: It asks several.
    """
    found = [each for each in run.questions if asked is None or each.id.startswith(asked)]
    if not found:
        what = "asks nothing" if asked is None else f"asks no question {asked!r}"
        raise RunNotWaiting(f"run {run.id} {what}: it is {run.state}", run_id=run.id)
    if len(found) > 1:
        listed = "; ".join(f"--question {each.id[:12]} for: {each.message}" for each in found)
        raise AskInvalid(f"run {run.id} asks {len(found)} questions", hint=listed)
    return found[0]
