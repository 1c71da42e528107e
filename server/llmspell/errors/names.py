"""What somebody may have meant: for the hints of errors about names that do not exist."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name most like `name`, or None. Looks at 100 names of up to 64 letters at most:
    names may come from a stranger's data, and comparing takes quadratic time.
    """
    short = [each for each in itertools.islice(names, 100) if len(each) <= 64]
    found = difflib.get_close_matches(name, short, n=1) if len(name) <= 64 else []
    return found[0] if found else None
