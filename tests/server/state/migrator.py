"""Makes a state database of format 1, and opens it as this version does, for tests that kill it.

Usage: python migrator.py PATH make ROWS   writes a database of format 1
       python migrator.py PATH open        opens it, and so migrates it
       python migrator.py PATH die         dies at the first failpoint of its migration

It prints `open` once the database is open.
"""

from __future__ import annotations

import asyncio
import sys

from rocksdict import Options, Rdict, WriteBatch

from llmspell import failpoints
from llmspell.state.keys import pack
from llmspell.state.rocks import RocksStore

FAMILIES = ("meta", "kv", "run", "event")


def value(number: int) -> bytes:
    """Return the value of row `number`."""
    return b"v" * (number % 50)


def key(number: int) -> tuple[str | int, ...]:
    """Return the key of row `number`: two tenants, two scopes each."""
    return f"tenant{number % 2}", f"scope{number // 2 % 2}", "owner", number


def make(path: str, count: int) -> None:
    """Write `count` rows as format 1 had them: no usage, no oldest reader."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    database = Rdict(path, options, column_families=dict.fromkeys(FAMILIES, options))
    handles = {name: database.get_column_family_handle(name) for name in FAMILIES}
    batch = WriteBatch(raw_mode=True)
    for number in range(count):
        header = (number + 2).to_bytes(8, "big") + b"\0"
        batch.put(pack(key(number)), header + value(number), handles["kv"])
        batch.put(pack(("run", number)), header, handles["run"])
    last = (count + 1).to_bytes(8, "big") + b"\0"
    batch.put(pack(("format",)), last + b"1", handles["meta"])
    batch.put(pack(("commit",)), last, handles["meta"])
    database.write(batch)
    database.close()


async def main(path: str, what: str, *arguments: str) -> None:
    """Do what the command line says."""
    match what:
        case "make":
            make(path, int(arguments[0]))
        case "die":
            failpoints.arm("state.migrate:kill")
            RocksStore.open(path)
        case "open":
            print("begin", flush=True)
            store = RocksStore.open(path)
            print("open", flush=True)
            await store.close()
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
