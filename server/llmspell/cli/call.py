"""`llmspell call`: sends a message to an A2A agent and shows what comes back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast
from urllib.parse import urlsplit

import typer

from llmspell.cli.place import Place, place_of
from llmspell.cli.waiting import perform

if TYPE_CHECKING:
    from llmspell.endpoints.a2a.remote_call import RemoteEvent, RemoteOutcome
    from llmspell.values import Object


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
            help="Bearer token; our own server on this machine gets its own.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole task as JSON.")] = False,
) -> None:
    """Send a message to a remote agent and print its answer.

    What it says meanwhile goes to stderr, the answer alone to stdout. Exit status: 0 completed,
    1 failed, 3 the agent asks something, 130 interrupted.
    """
    from llmspell.cli.outputs import COMPLETED, FAILED, QUESTION, say, show_json
    from llmspell.endpoints.a2a.remote_call import call as call_agent

    shown = _Shown()

    async def work() -> RemoteOutcome:
        bearer = token or await _own_token(place_of(context), url)
        return await call_agent(
            url, _content(message), skill=skill, token=bearer, on_event=shown.show
        )

    outcome = perform(work())
    shown.end()
    if json:
        show_json(outcome.task)
    if outcome.state in ("input_required", "auth_required"):
        if outcome.text != shown.last:
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
        self.last = ""
        """What was said last."""

    def show(self, event: RemoteEvent) -> None:
        if event.kind == "text":
            return  # the answer itself: it goes to stdout, whole
        self.last = event.text
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


def _content(message: str) -> str | Object:
    """Return a JSON object as such, anything else as the text it is."""
    from llmspell.values import loads

    try:
        value = loads(message)
    except ValueError:
        return message
    return cast("Object", value) if isinstance(value, dict) else message


async def _own_token(place: Place, url: str) -> str | None:
    """Return the token of this state directory when its own owner listens at `url`.

    Whoever else listens on this machine must not be shown it.
    """
    from llmspell.endpoints.auth.bind import is_loopback
    from llmspell.endpoints.auth.token import read_token
    from llmspell.host.remote import RemoteHost

    asked = urlsplit(url if "://" in url else f"http://{url}")
    if asked.hostname is None or not is_loopback(asked.hostname):
        return None
    state = place.address().state
    owner = await RemoteHost.find(state)
    if owner is None:
        return None
    async with owner:
        http = await owner.call("http.info")
    if http is None or urlsplit(str(http["url"])).port != (asked.port or 80):
        return None
    return read_token(state)
