"""Links, anchors and command blocks of a Markdown file, found the way a code host shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FENCE = re.compile(r"^ {0,3}(?P<mark>`{3,}|~{3,}) *(?P<language>[\w+-]*)")
_CODE_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINKS = (
    re.compile(r"\]\((?P<target>[^()\s]+)(?:\s+\"[^\"]*\")?\)"),
    re.compile(r"^ {0,3}\[[^\]]+\]:\s+(?P<target>\S+)", re.MULTILINE),
    re.compile(r"<(?:a|img)\s[^>]*?(?:href|src)=\"(?P<target>[^\"]+)\""),
)
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?P<title>.+?)\s*#*\s*$", re.MULTILINE)
_HEADING_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NOT_IN_SLUG = re.compile(r"[^\w\- ]")


class Link(NamedTuple):
    """One link: its target as written, and where that begins and ends in the text."""

    target: str
    start: int
    end: int

    @property
    def path(self) -> str:
        """The target without its anchor; empty for a link within the page."""
        return self.target.partition("#")[0]

    @property
    def anchor(self) -> str:
        """What follows the `#`; empty without one."""
        return self.target.partition("#")[2]

    @property
    def is_external(self) -> bool:
        """Whether the target has a scheme (`https:`, `mailto:`)."""
        return re.match(r"[a-z][a-z0-9+.-]*:", self.target) is not None


class Block(NamedTuple):
    """One fenced block: its language, its text, and the HTML comment that ends right before it (or "")."""

    language: str
    text: str
    comment: str
    line: int


def links(text: str) -> list[Link]:
    """Return every link outside of code and comments, in order."""
    prose = _without_code(text)
    found = [Link(m["target"], *m.span("target")) for pattern in _LINKS for m in pattern.finditer(prose)]
    return sorted(found, key=lambda link: link.start)


def anchors(text: str) -> set[str]:
    """Return the anchors of all headings: lower case, punctuation dropped, spaces as hyphens."""
    prose = _without_fences(text)
    titles = (_HEADING_LINK.sub(r"\1", m["title"]) for m in _HEADING.finditer(prose))
    return {_NOT_IN_SLUG.sub("", title.lower()).replace(" ", "-") for title in titles}


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks in order. Raises ValueError for a fence that is never closed."""
    found: list[Block] = []
    before: list[str] = []
    for line, language, body in _fenced(text):
        if language is None:
            before.append(body)
            continue
        comments = list(_COMMENT.finditer("\n".join(before)))
        is_right_before = comments and not "\n".join(before)[comments[-1].end() :].strip()
        comment = comments[-1].group().removeprefix("<!--").removesuffix("-->") if is_right_before else ""
        found.append(Block(language, body, " ".join(comment.split()), line))
        before = []
    return found


def _fenced(text: str) -> Iterator[tuple[int, str | None, str]]:
    """Give each line outside of a fence with language None, and each fenced block whole: (line, language, text)."""
    opened: re.Match[str] | None = None
    begin = 0
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = _FENCE.match(line)
        if opened is None and match:
            opened, begin, body = match, number, []
        elif opened is None:
            yield number, None, line
        elif match and match["mark"].startswith(opened["mark"]) and not match["language"]:
            yield begin, opened["language"], "".join(f"{one}\n" for one in body)
            opened = None
        else:
            body.append(line)
    if opened is not None:
        raise ValueError(f"line {begin}: this fence is not closed")


def _without_fences(text: str) -> str:
    """Blank out fenced blocks; every character keeps its position."""
    lines = text.splitlines(keepends=True)
    for begin, language, body in _fenced(text):
        if language is not None:
            for index in range(begin - 1, begin + body.count("\n") + 1):
                lines[index] = re.sub(r"[^\n]", " ", lines[index])
    return "".join(lines)


def _without_code(text: str) -> str:
    prose = _without_fences(text)
    for pattern in (_COMMENT, _CODE_SPAN):
        prose = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), prose)
    return prose
