"""Guides as tests: the command blocks of a page are run in order, and must print what the page shows.

A block of language `sh` is one script. A block of language `console` has commands (`$ …`), each followed by its output;
`…` as a line of the output matches any lines, and an age (`4s`) matches any word. A block after the comment
`<!-- not run: REASON -->` is left out.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from docsite import markdown

NOT_RUN = "not run: "
ANY_LINES = "…"
AGE = re.compile(r"\d+[smhd](\d+[smh])?")


class NotAsShown(AssertionError):
    """A command failed, or did not print what the page shows."""


class Command(NamedTuple):
    """One command of a page: its line there, its text, and the output that the page shows (None: any)."""

    line: int
    text: str
    shown: str | None


class LeftOut(NamedTuple):
    """A block that is not run, and why."""

    line: int
    reason: str


def commands(page: str) -> Iterator[Command | LeftOut]:
    """Give what is to be run, in order. Raises ValueError for a shell block that would be missed."""
    for block in markdown.blocks(page):
        if block.language not in ("sh", "console"):
            if block.language in ("bash", "shell", "zsh"):
                raise ValueError(f"line {block.line}: name this block sh or console, or it is not run")
            continue
        if block.comment.startswith(NOT_RUN.strip()):
            reason = block.comment.removeprefix(NOT_RUN.strip()).strip()
            if not reason:
                raise ValueError(f"line {block.line}: say why this block is not run")
            yield LeftOut(block.line, reason)
        elif block.language == "sh":
            yield Command(block.line, block.text, None)
        else:
            yield from _console(block)


def run(page: str, directory: Path, environment: Mapping[str, str], seconds: float) -> list[LeftOut]:
    """Run the commands of a page; gives the blocks that were left out. Raises NotAsShown at the first difference."""
    left_out = []
    for step in commands(page):
        if isinstance(step, LeftOut):
            left_out.append(step)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step.text],
            cwd=directory,
            env=dict(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if done.returncode:
            raise NotAsShown(f"line {step.line}: {step.text}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
        if step.shown is not None and not matches(step.shown, done.stdout):
            raise NotAsShown(f"line {step.line}: {step.text}\nprinted:\n{done.stdout}\nthe page shows:\n{step.shown}")
    return left_out


def matches(shown: str, printed: str) -> bool:
    """Whether a command printed what the page shows, whatever the width of columns."""
    lines = [line for line in shown.splitlines() if line.strip()]
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == ANY_LINES else _line(line) + r"\n" for line in lines)
    kept = "".join(f"{line.strip()}\n" for line in printed.splitlines() if line.strip())
    return re.fullmatch(pattern, kept) is not None


def _line(shown: str) -> str:
    return r"\s+".join(r"\S+" if AGE.fullmatch(word) else re.escape(word) for word in shown.split())


def _console(block: markdown.Block) -> Iterator[Command]:
    before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    if before.strip() or not parts:
        raise ValueError(f"line {block.line}: a console block begins with `$ ` and a command")
    line = block.line + 1
    for part in parts:
        text, _, shown = part.partition("\n")
        yield Command(line, text, shown)
        line += part.count("\n")
