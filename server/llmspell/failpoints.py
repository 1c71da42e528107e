"""Named points at which a test can make the process die or fail, always in the same place.

`LLMSPELL_FAILPOINT=run.after_end:kill` arms one; several are separated by commas.
`kill@3` lets it be passed twice before.
Unarmed, `hit` costs one truth test of an empty dict.
"""

from __future__ import annotations

import os
import signal

_ACTIONS = ("kill", "error")
_armed: dict[str, tuple[str, int]] = {}


class FailpointError(RuntimeError):
    """What an armed `error` failpoint raises."""


def arm(spec: str) -> None:
    """Arm the failpoints of `spec`, `name:action[@n][,...]`; the empty text disarms all.

    Raises:
        ValueError: The action is neither `kill` nor `error`, or n is no number.
    """
    _armed.clear()
    for part in filter(None, (piece.strip() for piece in spec.split(","))):
        name, _, rest = part.partition(":")
        action, _, number = rest.partition("@")
        if action not in _ACTIONS:
            raise ValueError(f"failpoint {name!r}: action {action!r} is none of {_ACTIONS}")
        _armed[name] = (action, int(number or 1))


def hit(name: str) -> None:
    """Do what failpoint `name` was armed for: nothing, SIGKILL to itself, or raise."""
    if not _armed or name not in _armed:
        return
    action, left = _armed[name]
    if left > 1:
        _armed[name] = (action, left - 1)
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise FailpointError(f"failpoint {name!r}")
