"""What an author probably meant, where Lua only says that it does not understand.

Most who write a first spell know another language: what they bring from there is named. Looks at
the message of the Lua compiler and at the line it names, and runs nothing.
"""

from __future__ import annotations

import re

from llmspell.errors import nearest

_KEYWORDS = (
    "break",
    "else",
    "elseif",
    "end",
    "for",
    "function",
    "goto",
    "local",
    "repeat",
    "return",
)

_RULES: tuple[tuple[str, str, str], ...] = (
    # of the message, of the line (strings and comments taken out), the hint
    (
        r"near '<\\239>'",
        r"",
        "the file begins with a byte order mark: save it as UTF-8 without one",
    ),
    (r"", r"\x00", "the file is UTF-16, or no text at all: save it as UTF-8"),
    (r"", r"!=", "Lua writes ~= for 'is not equal'"),
    (r"", r"&&|\|\||!", "Lua writes 'and', 'or' and 'not'"),
    (r"", r"(\+|-|\*|\.\.)=(?!=)", "Lua has no such assignment: write x = x + 1"),
    (r"", r"\+\+\s*$", "Lua has no ++: write x = x + 1"),
    (r"", r"=>", "a function is written: function(input) ... end"),
    (r"", r"^\s*(//|/\*|#)", "a comment begins with --"),
    (r"", r"^\s*(const|let|var)\b", "write local"),
    (r"", r"^\s*(import|from)\b", 'write: local name = require "name"'),
    (r"", r"^\s*(def|fn|func)\b", "a function is written: local function name(...) ... end"),
    (r"", r"\belse\s+if\b", "write elseif, or give each if an end of its own"),
    (r"'(then|do)' expected near '='", r"", "write == to compare"),
    (r"<name> expected", r"\w\s*:", "a field is written: name = value"),
    (r"'\}' expected \(to close", r"", "is a comma missing at the end of the line before?"),
    (r"'end' expected near '\}'", r"", "a function, an if or a loop above has no 'end'"),
    (r"near ','", r"^\s*end\s*,", "an if or a loop above has no 'end'"),
    (
        r"(?<!error) near <eof>",
        r"",
        "it ends in the middle of something: is an 'end' or a '}' missing?",
    ),
    (
        r"<eof> expected",
        r"",
        "nothing may follow the last return: is there an 'end' or '}' too many?",
    ),
    (r"unfinished string", r"", "a text in quotes ends on its line; one in [[ ]] may go on"),
)

_LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|--.*')


def syntax_hint(message: str, line: str) -> str:
    """Return what to do about a message of the Lua compiler; "" when that is not clear.

    Args:
        message: What it said, without the place.
        line: The line it named, as far as it is known.
    """
    code = _LITERALS.sub("''", line)
    for in_message, in_line, hint in _RULES:
        if re.search(in_message, message) and re.search(in_line, code):
            return hint
    near = re.search(r"^syntax error near '(.+)'$", message)
    word = near and re.search(rf"\b([A-Za-z_]\w*)\s+{re.escape(near[1])}", code)
    if word and word[1] not in _KEYWORDS:
        close = nearest(word[1], _KEYWORDS)
        return f"did you mean {close!r}?" if close else ""
    return ""
