"""Objects that are nested deeper than any decoder goes.

The API server takes JSON of up to 10,000 levels, and keeps unknown fields of a Pod template as they come. Decoders here
give up far sooner. One such object, in any namespace, would otherwise stop the list of all, and with it every task.
"""

import re

CUT_LEVELS = 200
"""What is left of an object that had to be cut. No field of Kubernetes is nested deeper than some twenty levels."""
_MARK = b'"(cut: nested too deep)"'
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_TOKEN = re.compile(_STRING.pattern + rb"|[\[\]{}]")
_BRACES = bytes.maketrans(b"[]", b"{}")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_deeper(raw: bytes, levels: int) -> bool:
    """Whether valid JSON is nested deeper than this. Nearly always two counts tell that it cannot be."""
    if raw.count(b"{") + raw.count(b"[") <= levels:
        return False
    left = _STRING.sub(b"", raw).translate(_BRACES, _ALL_BUT_BRACKETS)
    for _ in range(levels):
        left = left.replace(b"{}", b"")  # the innermost level of each branch
    return bool(left)


def cut(raw: bytes, levels: int = CUT_LEVELS) -> bytes:
    """Put a mark in the place of whatever is nested deeper than this in valid JSON."""
    kept: list[bytes] = []
    depth = begin = 0
    for token in _TOKEN.finditer(raw):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
            if depth == levels + 1:
                kept += [raw[begin : token.start()], _MARK]
        elif first in b"]}":
            depth -= 1
            if depth == levels:
                begin = token.end()
    kept.append(raw[begin:])
    return b"".join(kept)
