"""Redaction: secrets out of any text that leaves the place that needs them.

Knows values it was given, in the forms they travel in, and a few shapes that
keys have. It decides nothing about who may see what.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

REDACTED = "***"
"""What stands in the place of a secret."""

_SHORTEST = 6
"""Values shorter than this are no secrets, and removing them would eat ordinary words."""

_SHAPES = re.compile(
    r"\b(?:lsk|sk|pk|rk|gsk|xai|hf)[-_][\w*.-]{8,}"  # as providers echo keys, often with *** inside
    r"|\bAIza[\w-]{20,}"
    r"|(?<=\bBearer )[^\s\"',;]+"
    r"|(?<=://)[^\s/@\"']+(?=@)"  # who logs in to a URL
)


class Redactor:
    """Replaces secrets in texts.

    Args:
        secrets: The values, as they are used; empty and very short ones are ignored.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        # Longest first: a form may be the beginning of another.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._values = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def redact(self, text: str) -> str:
        """Return `text` without the secrets in any form, and without what looks like one."""
        if self._values is not None:
            text = self._values.sub(REDACTED, text)
        return _SHAPES.sub(REDACTED, text)


def _forms(secret: str) -> Iterator[str]:
    encoded = secret.encode(errors="surrogateescape")  # the environment may hold any bytes
    yield secret
    yield quote(encoded, safe="")
    yield quote_plus(encoded)
    yield repr(secret)[1:-1]
    for is_ascii in (True, False):
        yield json.dumps(secret, ensure_ascii=is_ascii)[1:-1]
    # Inside a longer text (`user:KEY`) base64 depends on where the secret begins, modulo 3.
    # The characters at both ends mix with what stands beside it, so they are left out.
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            mixed = encode(b"\0" * before + encoded).decode()
            begin = -(-before * 8 // 6)
            end = (before + len(encoded)) * 8 // 6
            yield mixed[begin:end]
