"""`llmspell runs export`: everything recorded of a run, as one JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.runs.finding import RunId
from llmspell.cli.waiting import perform
from llmspell.errors import UsageError
from llmspell.values import JSON, Object, dumps


def export(
    context: typer.Context,
    id: RunId,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file, instead of stdout."),
    ] = None,
) -> None:
    """Print all that is recorded of a run as one JSON document.

    That is its record, its events and its steps. API keys the project uses, and what looks like
    a key, are replaced by ***.
    """
    import msgspec

    document = perform(_collect(place_of(context), id))
    text = msgspec.json.format(dumps(document), indent=2)
    if output is None:
        print(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise UsageError(f"--output {str(output)!r}: {error.strerror}", hint="") from None


async def _collect(place: Place, given: str) -> Object:
    import msgspec

    from llmspell.cli.runs.finding import find_run
    from llmspell.security.principals import local_caller

    async with await place.attach() as host:
        handle = await find_run(host, given)
        journal = await host.journal(handle.id, caller=local_caller("cli"))
        run = await handle.record()
        # A run under way goes on meanwhile: its events are those up to this record.
        events: list[Any] = []
        if run.generation:
            async for event in handle.events():
                events.append(event)
                if event.number >= run.generation:
                    break
    return _redacted(place, msgspec.to_builtins({"run": run, "events": events, "journal": journal}))


def _redacted(place: Place, document: Object) -> Object:
    from llmspell.security.redaction import Redactor

    redactor = Redactor(place.open().secrets())

    def walk(value: JSON) -> JSON:
        match value:
            case str():
                return redactor.redact(value)
            case list():
                return [walk(item) for item in cast("list[JSON]", value)]
            case dict():
                return {
                    redactor.redact(key): walk(item) for key, item in cast(Object, value).items()
                }
            case _:
                return value

    return walk(document)
