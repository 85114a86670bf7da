"""MkDocs' hooks: a link from a page to a file outside of `docs/` works in the site as it does in the repository.

Such a file becomes part of the site. A Markdown file becomes a page (`PAGES` says where, others go below
`repository/`), and its own links are treated the same way; any other file is copied.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docsite import markdown

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs/"
PAGES = {
    "CHANGELOG.md": "project/changelog.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Files of the repository that are pages of the navigation, and their place in the site."""

_sources: dict[str, str] = {}
"""Path in the repository by path in the site."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add every file outside of `docs/` that a page links to, and the pages that are linked from there."""
    _sources.clear()
    _sources.update({file.src_uri: DOCS + file.src_uri for file in files})
    waiting = list(PAGES) + [target for page in files.documentation_pages() for target in _targets(DOCS + page.src_uri)]
    while waiting:
        path = waiting.pop()
        uri = site_path(path)
        if uri in _sources or not (ROOT / path).is_file():  # MkDocs reports a link that leads nowhere
            continue
        _sources[uri] = path
        if path.endswith(".md"):
            files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
            waiting += _targets(path)
        else:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(text: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn each relative link into one between the places that both files have in the site."""
    uri = page.file.src_uri
    source = _sources[uri]
    for link in reversed(markdown.links(text)):
        if link.is_external or not link.path:
            continue
        target = site_path(resolved(source, link.path))
        relative = posixpath.relpath(target, posixpath.dirname(uri) or ".")
        text = text[: link.start] + relative + link.target[len(link.path) :] + text[link.end :]
    return text


def site_path(path: str) -> str:
    """Return the place in the site of a file of the repository."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return PAGES.get(path, f"repository/{path}")


def resolved(source: str, link: str) -> str:
    """Return the path in the repository that a relative link of the file `source` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def _targets(path: str) -> list[str]:
    text = (ROOT / path).read_text(encoding="utf-8")
    return [resolved(path, link.path) for link in markdown.links(text) if link.path and not link.is_external]
