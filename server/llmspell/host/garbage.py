"""How often a server looks for cyclic garbage: seldom, because looking stops everything.

A cast leaves next to no cycles, and everything else is freed at once. But a full
collection visits every object there is: with ten thousand branches waiting that
is a tenth of a second in which nobody is answered.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, FULL = 5_000, 10, 10_000
"""Objects more than before, young collections, and middle ones, until the next is made."""


def collect_seldom() -> None:
    """Let this process look at all its objects only after half a billion new ones."""
    gc.set_threshold(YOUNG, MIDDLE, FULL)
