"""What a test does without something it needs: it is left out at home, and fails in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

IN_CI = bool(os.environ.get("CI"))


def lacking(what: str) -> NoReturn:
    """Skip the test that calls this; in continuous integration fail it: nothing is left out there.

    Args:
        what: What is not there, as a sentence.
    """
    if IN_CI:
        pytest.fail(what)
    pytest.skip(what)
