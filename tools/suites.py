"""Run suites of the Makefile one after another and print how long each took.

    python tools/suites.py MAKE SUITE...

Ends at the first suite that fails, with its exit status.
"""

from __future__ import annotations

import subprocess
import sys
import time


def main(make: str, suites: list[str]) -> int:
    """Run `suites` with the command `make`, and return the status of the last one run."""
    rows: list[tuple[str, float]] = []
    status = 0
    for suite in suites:
        print(f"== {suite}", flush=True)
        begun = time.monotonic()
        status = subprocess.run([make, "--no-print-directory", suite], check=False).returncode
        rows.append((suite, time.monotonic() - begun))
        if status:
            break
    print("== seconds")
    for suite, seconds in [*rows, ("total", sum(seconds for _, seconds in rows))]:
        print(f"{suite:<10} {seconds:7.1f}")
    if status:
        print(f"failed: {rows[-1][0]}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
