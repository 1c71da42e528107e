"""`llmspell own`: the owner as a process of its own. Started by whoever finds none.

It is no command for people, and does without the library that reads theirs:
somebody waits for it to be ready.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from importlib import import_module
from pathlib import Path

from llmspell.cli.keeper import keep
from llmspell.cli.place import Place
from llmspell.errors import InternalError, LlmspellError, StateOwned
from llmspell.values import dumps


def main(options: dict[str, str], arguments: list[str]) -> int:
    """Own the state directory and serve its socket until stopped or idle; return the exit status.

    The process that is started becomes the keeper; the owner is its child.

    Args:
        options: The global options, by name.
        arguments: `--ready FD`: the descriptor that is told when connections are accepted;
            `--speak ROLE`: what will be spoken first.
    """
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    ready = int(given.get("--ready", -1))
    # A detached process must not hold what the client that started it had open.
    os.closerange(3, max(3, ready))
    os.closerange(max(3, ready + 1), 256)
    parent = Parent(ready)
    # What is loaded here stays for good: there is nothing to be collected meanwhile.
    gc.disable()
    try:
        place = Place(
            project=options.get("--project"),
            state=options.get("--state"),
            config=options.get("--config"),
            log_level=options.get("--log-level"),
            log_format=options.get("--log-format"),
        )
        refuse_if_served(place.address().state)
        import_module("llmspell.cli.owning")
    except LlmspellError as error:
        return parent.refuse(error)
    if given.get("--speak") == "mcp":
        load_wire()
    gc.freeze()
    return keep(lambda keeper: _owner(place, parent, keeper), parent.leave, load_wire)


def load_wire() -> None:
    """Load what MCP is spoken with, so that an owner forked later has it at once."""
    import_module("llmspell.endpoints.mcp.opening")


def refuse_if_served(state: Path) -> None:
    """End a start that has come too late before it loads anything.

    Raises:
        StateOwned: Another process owns the directory, and is served.
    """
    from llmspell.bridge.sockets import is_served
    from llmspell.host.lock import owner_pid

    pid = owner_pid(state)
    if pid is not None and is_served(state):
        raise StateOwned(
            f"the state directory {str(state)!r} is owned by process {pid or 'unknown'}",
            data={"pid": pid, "state": str(state)},
        )


def _owner(place: Place, parent: Parent, keeper: int) -> int:
    """Be the owner; return the exit status."""
    gc.enable()
    try:
        _own(place, parent, keeper)
    except LlmspellError as error:
        return parent.refuse(error)
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

    def refuse(self, error: LlmspellError) -> int:
        """Say which error this owner failed with, here and in the log; return the exit status."""
        self.tell(dumps(error.to_value()))
        print(error.report(), file=sys.stderr)
        return 1

    def leave(self) -> None:
        """Leave the telling to a process that was forked off."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _own(place: Place, parent: Parent, keeper: int) -> None:
    from llmspell.cli.logs import set_up_logging
    from llmspell.cli.owning import owning, run_loop

    project = place.open()
    set_up_logging(project.settings.log)
    os.chdir(project.root)
    log = logging.getLogger(__name__)

    async def serve() -> None:
        idle_seconds = project.settings.owner.idle_seconds
        async with (
            owning(project, idle_seconds=idle_seconds, keeper=keeper) as (owner, _),
            owner.signals(),
        ):
            log.info("owner %d of %s begins", os.getpid(), project.state)
            await owner.serve(parent.tell)
        log.info("owner %d ends", os.getpid())

    run_loop(serve())
