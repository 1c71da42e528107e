"""`llmspell own`: the owner as a process of its own. Started by whoever finds none; hidden."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.errors import InternalError, LlmspellError
from llmspell.values import dumps


def own(
    context: typer.Context,
    ready: Annotated[
        int, typer.Option(metavar="FD", help="Descriptor told when connections are accepted.")
    ] = -1,
) -> None:
    """Own the state directory and serve its socket until stopped or idle."""
    # A detached process must not hold what the client that started it had open.
    os.closerange(3, max(3, ready))
    os.closerange(max(3, ready + 1), 256)
    try:
        _own(context, ready)
    except LlmspellError as error:
        _tell(ready, dumps(error.to_value()))
        raise
    # Whoever waits must be told before the traceback goes to the log.
    except Exception as error:
        _tell(ready, dumps(InternalError(f"{type(error).__name__}: {error}").to_value()))
        raise


def _own(context: typer.Context, ready: int) -> None:
    from llmspell.cli.logs import set_up_logging
    from llmspell.cli.owning import owning, run_loop

    project = place_of(context).open()
    set_up_logging(project.settings.log)
    os.chdir(project.root)
    log = logging.getLogger(__name__)

    async def serve() -> None:
        idle_seconds = project.settings.owner.idle_seconds
        async with owning(project, idle_seconds=idle_seconds) as (owner, _), owner.signals():
            log.info("owner %d of %s begins", os.getpid(), project.state)
            await owner.serve(lambda: _tell(ready, ""))
        log.info("owner %d ends", os.getpid())

    run_loop(serve())


def _tell(ready: int, text: str) -> None:
    if ready < 0:
        return
    try:
        os.write(ready, text.encode() + b"\n")
        os.close(ready)
    except OSError:
        logging.getLogger(__name__).info("nobody waits for this owner any more")
