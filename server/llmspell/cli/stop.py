"""`llmspell stop`: ends the owner of the state directory, in order."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform
from llmspell.errors import OwnerError, OwnerUnreachable


def stop(
    context: typer.Context,
    timeout: Annotated[
        float, typer.Option(metavar="S", help="Seconds to wait until it has ended.")
    ] = 15.0,
) -> None:
    """End the owner of this state directory and wait until it has ended."""
    from llmspell.host.lock import owner_pid

    state = place_of(context).address().state
    pid = owner_pid(state)
    if pid is None:
        typer.echo(f"no owner of {state}", err=True)
        return
    if not perform(_ask(state)):
        # It is of another version, or does not answer: its lock says who it is.
        if pid == 0:
            raise OwnerUnreachable(f"{state} is owned by a process that can't be told to stop")
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + timeout
    while owner_pid(state) == pid:
        if time.monotonic() > end:
            raise OwnerError(f"owner {pid} has not ended within {timeout:g} s")
        time.sleep(0.02)
    typer.echo(f"stopped owner {pid} of {state}", err=True)


async def _ask(state: Path) -> bool:
    """Tell the owner to stop; return whether it could be told."""
    from llmspell.host.remote import RemoteHost

    try:
        owner = await RemoteHost.find(state)
    except OwnerError:
        return False
    if owner is None:
        return False
    async with owner:
        await owner.call("stop")
    return True
