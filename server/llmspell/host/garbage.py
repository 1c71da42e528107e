"""How often a server looks for cyclic garbage: seldom, because looking stops everything.

A cast leaves next to no cycles, and everything else is freed at once. But a full
collection visits every object there is: with ten thousand branches waiting that
is a tenth of a second in which nobody is answered. The collections of what is new
must stay small for the same reason, so there are many of them.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, FULL = 250, 20, 20_000
"""Objects more than before, young collections, and middle ones, until the next is made.

`YOUNG` is less than what one turn of a crowd of effects makes (see `runs.pacing`). What is freed
is counted against what is made: were it more, a crowd that ends would hide all of another that
begins, until both are looked at in one go.
"""


def collect_seldom() -> None:
    """Let this process look at all its objects only after a hundred million new ones."""
    gc.set_threshold(YOUNG, MIDDLE, FULL)
