"""`llmspell stop`: ends the owner of the state directory, in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmspell.cli.place import place_of
from llmspell.cli.waiting import perform
from llmspell.errors import OwnerError, OwnerUnreachable

if TYPE_CHECKING:
    from llmspell.host.lock import Holder


ASK_SECONDS = 5.0
"""How long an owner may take to say that it will stop."""


def stop(
    context: typer.Context,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long to wait until it has ended, e.g. 1m.")
    ] = "15s",
    force: Annotated[
        bool,
        typer.Option("--force", help="Kill it. Saved runs go on with the next owner."),
    ] = False,
) -> None:
    """End the owner of this state directory, and wait for it."""
    from llmspell.cli.inputs import read_duration
    from llmspell.host.lock import holder_of, owner_pid

    seconds = read_duration("--timeout", timeout)
    state = place_of(context).address().state
    holder = holder_of(state)
    if holder is None:
        typer.echo(f"no owner of {state}", err=True)
        return
    pid = holder.pid
    if pid == 0:
        raise OwnerUnreachable(f"{state} is owned by a process that does not say which it is")
    if force:
        _kill(holder)
    elif not perform(_ask(state)):
        # It is of another version, or does not answer: its lock says who it is.
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    while owner_pid(state) == pid:
        if time.monotonic() > end:
            raise OwnerError(
                f"owner {pid} has not ended within {seconds:g} s",
                hint="kill it with 'llmspell stop --force': saved runs go on with the next owner",
                data={"pid": pid},
            )
        time.sleep(0.02)
    typer.echo(f"stopped owner {pid} of {state}", err=True)


def _kill(holder: Holder) -> None:
    """Kill an owner and first its keeper, which would put another one in its place."""
    for pid, number in ((holder.keeper, signal.SIGTERM), (holder.pid, signal.SIGKILL)):
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


async def _ask(state: Path) -> bool:
    """Tell the owner to stop; return whether it could be told."""
    from llmspell.host.remote import RemoteHost

    try:
        async with asyncio.timeout(ASK_SECONDS):
            owner = await RemoteHost.find(state)
            if owner is None:
                return False
            async with owner:
                await owner.call("stop")
    except (OwnerError, TimeoutError):
        return False
    return True
