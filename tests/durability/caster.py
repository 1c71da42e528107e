"""A process that casts a spell with an idempotency key and is killed on the way, for the tests.

Started with a project, a spell, a key and a failpoint. The host is open before the
failpoint is armed, so what is counted is what the cast does.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from llmspell import failpoints
from llmspell.host.host import Host
from tests.support.hosts import project


async def main(root: Path, spell: str, key: str, failpoint: str) -> None:
    """Cast, and print the output when nothing ended this before."""
    async with Host.open(project(root), watch=False) as host:
        failpoints.arm(failpoint)
        outcome = await host.cast(spell, {}, key=key)
        print(outcome.output, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
