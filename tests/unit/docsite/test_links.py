"""Every Markdown file of the repository: its links lead somewhere, and a reader of README.md gets to every page."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from docsite import hooks, markdown
from docsite.hooks import ROOT, resolved

DOCS = re.compile(r"(?<![\w/.-])docs/[\w/.-]*\w")
"""A path below docs/ in any text: a comment, a message, a value of the chart."""
ANYWHERE = re.compile(
    r"`(?P<path>(?:airflow-provider|bench|charts|controller|crds|examples|hack|sidecar|tests)/[\w/.-]*\w)`"
)
"""A path in a page, between backticks."""


def files(*patterns: str) -> list[str]:
    """Return the files of the repository that match, those not committed yet included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return sorted({path for path in listed if path and (ROOT / path).is_file()})


# bench/page.md becomes docs/performance.md, and its links are relative to that place.
MARKDOWN = [path for path in files("*.md") if path != "bench/page.md"]


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def broken(path: str, text: str) -> Iterator[str]:
    """Say what is wrong with each link of `text`, the content of `path`, that leads nowhere."""
    for link in markdown.links(text):
        if link.is_external:
            continue
        target = resolved(path, link.path) if link.path else path
        if not (ROOT / target).is_file():
            yield f"{link.target}: there is no file {target}"
        elif link.anchor and link.anchor not in markdown.anchors(text if target == path else text_of(target)):
            yield f"{link.target}: {target} has no heading of that name"


@pytest.mark.parametrize("path", MARKDOWN)
def test_every_link_leads_to_a_file_and_a_heading(path: str) -> None:
    assert not list(broken(path, text_of(path)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a](nowhere.md)", "nowhere.md: there is no file"),
        ("[a](design)", "design: there is no file"),  # a code host lists a folder, the site has nothing there
        ("[a](../README.md#no-such-heading)", "no heading"),
        ("# Here\n\n[a](#there)", "no heading"),
        ("[a][b]\n\n[b]: nowhere.md", "no file"),
        ('<img src="images/none.svg">', "no file"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, complaint: str) -> None:
    (found,) = broken("docs/concepts.md", text)
    assert complaint in found


def test_every_page_is_reached_from_the_readme() -> None:
    seen, waiting = set(), ["README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        links = [link for link in markdown.links(text_of(path)) if link.path.endswith(".md") and not link.is_external]
        waiting += [resolved(path, link.path) for link in links]
    assert {path for path in MARKDOWN if not path.startswith(".github/")} <= seen


def test_what_the_site_adds_is_in_the_repository() -> None:
    assert all((ROOT / path).is_file() for path in hooks.PAGES)


def exists(name: str) -> bool:
    """Whether there is such a file, or one whose name begins so (docs/design/0003)."""
    path = ROOT / name
    return path.exists() or any(path.parent.glob(f"{path.name}*"))


def test_every_page_that_a_text_names_exists() -> None:
    """Comments, messages and values of the chart name pages by their path; a page that moves leaves them behind."""
    texts = files("*.py", "*.go", "*.md", "*.yaml", "*.yml", "*.toml", "*.tpl", "*.txt", "Makefile", "hack/*", "*.json")
    named = {(path, name) for path in texts for name in DOCS.findall(text_of(path))}
    assert len(named) > 50
    assert not [f"{path}: {name}" for path, name in sorted(named) if not exists(name)]


@pytest.mark.parametrize("path", MARKDOWN)
def test_every_file_that_a_page_names_exists(path: str) -> None:
    assert not [name for name in ANYWHERE.findall(text_of(path)) if not exists(name)]


def test_the_manifest_that_the_readme_shows_is_the_examples() -> None:
    """README.md leaves out fields of crds/examples/xcom.yaml, and changes none."""
    (block,) = [block for block in markdown.blocks(text_of("README.md")) if block.language == "yaml"]
    assert is_part(yaml.safe_load(block.text), yaml.safe_load(text_of("crds/examples/xcom.yaml")))


def is_part(some: Any, whole: Any) -> bool:
    """Whether every key of `some`, at every depth, has the same value in `whole`."""
    if isinstance(some, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(value, whole[key]) for key, value in some.items())
    return bool(some == whole)
