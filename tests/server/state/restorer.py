"""A process that makes or restores a checkpoint and dies on the way, for tests that kill it.

Usage: python restorer.py backup STATE POINT        dies at failpoint POINT of a checkpoint
       python restorer.py restore STATE NAME POINT  dies at failpoint POINT of a restore
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from llmspell import failpoints
from llmspell.clock import SystemClock
from llmspell.host.maintenance import restore_checkpoint
from llmspell.state.checkpoints import Checkpoints
from llmspell.state.rocks import RocksStore


async def main(what: str, state: str, *arguments: str) -> None:
    """Do what the command line says, up to the failpoint."""
    failpoints.arm(f"{arguments[-1]}:kill")
    if what == "restore":
        await restore_checkpoint(arguments[0], Path(state))
        return
    store = RocksStore.open(Path(state, "db"))
    await Checkpoints(store, Path(state, "checkpoints"), SystemClock()).backup()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
