"""URI templates (RFC 6570): `{name}`, `{+path}` and a trailing `{?a,b}`, matched.

The three forms that servers use. Matching is exact: a value of `{name}` has no
`/`, one of `{+path}` may have.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

MAX_LENGTH = 2048
"""Longest template, and longest URI that is matched."""

_EXPRESSION = re.compile(r"\{([+?]?)([A-Za-z_]\w*(?:,[A-Za-z_]\w*)*)\}")


class TemplateInvalid(ValueError):
    """A URI template is none, or of a form that is not known."""


class UriTemplate:
    """A URI template.

    Raises:
        TemplateInvalid: It is too long, has no variable, names one twice, or a form not known.
    """

    __slots__ = ("_pattern", "_query", "variables")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise TemplateInvalid(f"a URI template has at most {MAX_LENGTH} characters")
        names: list[str] = []
        pattern: list[str] = []
        query: tuple[str, ...] = ()
        at = 0
        for found in _EXPRESSION.finditer(text):
            pattern.append(_literal(text[at : found.start()]))
            at = found.end()
            form, listed = found[1], found[2].split(",")
            names += listed
            if form == "?":
                if at != len(text):
                    raise TemplateInvalid("{?...} stands at the end")
                query = tuple(listed)
            elif len(listed) > 1:
                raise TemplateInvalid("only {?a,b} takes several names")
            else:
                pattern.append("(.+)" if form == "+" else "([^/?#]+)")
        pattern.append(_literal(text[at:]))
        if not names:
            raise TemplateInvalid("a URI template has at least one {name}")
        if len(set(names)) < len(names):
            raise TemplateInvalid("a URI template names each variable once")
        self.variables: tuple[str, ...] = tuple(names)
        """Its variables, in their order."""
        self._query = query
        self._pattern = re.compile("".join(pattern))

    def match(self, uri: str) -> dict[str, str] | None:
        """Return the values that make this URI, decoded; None when none do.

        Variables of the query may be missing.
        """
        if len(uri) > MAX_LENGTH:
            return None
        path, mark, query = uri.partition("?") if self._query else (uri, "", "")
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        names = self.variables[: len(found.groups())]
        values = {name: unquote(text) for name, text in zip(names, found.groups(), strict=True)}
        if mark:
            for name, text in parse_qsl(query, keep_blank_values=True):
                if name not in self._query or name in values:
                    return None
                values[name] = text
        return values


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise TemplateInvalid("write {name}, {+path} or {?a,b}")
    return re.escape(text)
