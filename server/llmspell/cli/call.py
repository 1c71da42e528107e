"""`llmspell call`: sends a message to an A2A agent and shows what comes back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.endpoints.a2a.remote_call import RemoteEvent


def call(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the agent is, or its card.")],
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="A text; a JSON object is sent as data.")
    ],
    skill: Annotated[
        str | None, typer.Option(metavar="NAME", help="The skill the message is for.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="Bearer token; on this machine the token of the state directory is tried.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole task as JSON.")] = False,
) -> None:
    """Send a message to a remote agent: what it says on stderr, its answer alone on stdout.

    Exit status: 0 completed, 1 failed, 3 the agent asks something, 130 interrupted.
    """
    from llmspell.cli.outputs import COMPLETED, FAILED, QUESTION, say, show_json
    from llmspell.endpoints.a2a.remote_call import call as call_agent
    from llmspell.values import loads

    try:
        value = loads(message)
    except ValueError:
        value = message
    shown = _Shown()
    outcome = perform(
        call_agent(
            url,
            value if isinstance(value, dict) else message,
            skill=skill,
            token=token or _own_token(place_of(context), url),
            on_event=shown.show,
        )
    )
    shown.end()
    if json:
        show_json(outcome.task)
    if outcome.state in ("input_required", "auth_required"):
        say(outcome.text)
        raise typer.Exit(QUESTION)
    if outcome.state != "completed":
        say(f"the task is {outcome.state}: {outcome.text}")
        raise typer.Exit(FAILED)
    if not json:
        if isinstance(outcome.output, str) or outcome.output is None:
            print(outcome.text)
        else:
            show_json(outcome.output)
    raise typer.Exit(COMPLETED)


class _Shown:
    """What the agent says while it works, on stderr: whole lines, and text as it streams."""

    def __init__(self) -> None:
        self._source: str | None = None

    def show(self, event: RemoteEvent) -> None:
        if event.kind == "text":
            return  # the answer itself: it goes to stdout, whole
        if event.source != self._source:
            self.end()
            if event.source:
                sys.stderr.write(f"{event.source}: ")
            self._source = event.source
        sys.stderr.write(event.text if event.source else f"{event.text}\n")
        sys.stderr.flush()
        if not event.source:
            self._source = None

    def end(self) -> None:
        if self._source:
            sys.stderr.write("\n")
            sys.stderr.flush()
        self._source = None


def _own_token(place: Place, url: str) -> str | None:
    """Return the token of this state directory when `url` is on this machine."""
    from llmspell.endpoints.auth import is_loopback, read_token

    host = urlsplit(url if "://" in url else f"http://{url}").hostname
    if host is None or not is_loopback(host):
        return None
    return read_token(place.address().state)
