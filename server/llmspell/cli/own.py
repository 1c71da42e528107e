"""`llmspell own`: the owner as a process of its own. Started by whoever finds none.

It is no command for people, and does without the library that reads theirs:
somebody waits for it to be ready.
"""

from __future__ import annotations

import logging
import os
import sys

from llmspell.cli.place import Place
from llmspell.errors import InternalError, LlmspellError
from llmspell.values import dumps


def main(options: dict[str, str], arguments: list[str]) -> int:
    """Own the state directory and serve its socket until stopped or idle; return the exit status.

    Args:
        options: The global options, by name.
        arguments: `--ready FD`: the descriptor that is told when connections are accepted.
    """
    ready = int(arguments[1]) if arguments[:1] == ["--ready"] else -1
    # A detached process must not hold what the client that started it had open.
    os.closerange(3, max(3, ready))
    os.closerange(max(3, ready + 1), 256)
    parent = Parent(ready)
    try:
        _own(
            Place(
                project=options.get("--project"),
                state=options.get("--state"),
                config=options.get("--config"),
                log_level=options.get("--log-level"),
                log_format=options.get("--log-format"),
            ),
            parent,
        )
    except LlmspellError as error:
        parent.tell(dumps(error.to_value()))
        print(error.report(), file=sys.stderr)
        return 1
    # Whoever waits must be told before the traceback goes to the log.
    except Exception as error:
        parent.tell(dumps(InternalError(f"{type(error).__name__}: {error}").to_value()))
        raise
    return 0


class Parent:
    """The process that started this one and waits, once, to hear how that went.

    Args:
        descriptor: Where it listens; negative when nobody does.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, text: str = "") -> None:
        """Say that this owner serves, or which error it failed with. Later calls say nothing."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.write(descriptor, text.encode() + b"\n")
        except BrokenPipeError:
            logging.getLogger(__name__).info("nobody waits for this owner any more")
        finally:
            os.close(descriptor)


def _own(place: Place, parent: Parent) -> None:
    from llmspell.cli.logs import set_up_logging
    from llmspell.cli.owning import owning, run_loop

    project = place.open()
    set_up_logging(project.settings.log)
    os.chdir(project.root)
    log = logging.getLogger(__name__)

    async def serve() -> None:
        idle_seconds = project.settings.owner.idle_seconds
        async with owning(project, idle_seconds=idle_seconds) as (owner, _), owner.signals():
            log.info("owner %d of %s begins", os.getpid(), project.state)
            await owner.serve(parent.tell)
        log.info("owner %d ends", os.getpid())

    run_loop(serve())
