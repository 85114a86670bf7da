"""What counts as a link, a heading and a block, and how links are rewritten for the site."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from docsite import __main__ as command_line
from docsite import hooks, markdown

TEXT = """\
# One `code` word, two

See [a](x.md "title"), ![b](y.svg) and `[no](z.md)`.

```sh
[no](z.md)
# no heading
```

<!-- [no](z.md) -->
<!-- runs nowhere:
     needs Docker -->
```console
$ ls
```
"""


def test_links_are_those_outside_of_code_and_comments() -> None:
    found = markdown.links(TEXT)
    assert [link.target for link in found] == ["x.md", "y.svg"]
    assert [TEXT[link.start : link.end] for link in found] == ["x.md", "y.svg"]


def test_anchors_are_made_as_a_code_host_makes_them() -> None:
    assert markdown.anchors(TEXT) == {"one-code-word-two"}
    assert markdown.anchors("## `spec.env[]`\n## A [link](b.md): x") == {"specenv", "a-link-x"}


def test_blocks_have_language_text_and_the_comment_before() -> None:
    first, second = markdown.blocks(TEXT)
    assert (first.language, first.text, first.comment) == ("sh", "[no](z.md)\n# no heading\n", "")
    assert (second.language, second.text, second.comment) == ("console", "$ ls\n", "runs nowhere: needs Docker")


def test_a_comment_further_up_is_not_a_blocks_own() -> None:
    (block,) = markdown.blocks("<!-- about the page -->\nwords\n```sh\nls\n```\n")
    assert block.comment == ""


def test_a_fence_that_is_not_closed_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2"):
        markdown.blocks("words\n```sh\nls\n")


@pytest.mark.parametrize(
    ("source", "uri", "link", "want"),
    [
        ("docs/concepts.md", "concepts.md", "operate/policy.md#images", "operate/policy.md#images"),
        ("docs/concepts.md", "concepts.md", "../CHANGELOG.md", "project/changelog.md"),
        ("CONTRIBUTING.md", "project/contributing.md", "docs/concepts.md", "../concepts.md"),
        (
            "CONTRIBUTING.md",
            "project/contributing.md",
            "crds/examples/hello.yaml",
            "../repository/crds/examples/hello.yaml",
        ),
        ("docs/airflow/operator.md", "airflow/operator.md", "https://example.com/a", "https://example.com/a"),
        ("docs/airflow/operator.md", "airflow/operator.md", "#logs", "#logs"),
    ],
)
def test_a_link_works_in_the_site_too(
    monkeypatch: pytest.MonkeyPatch, source: str, uri: str, link: str, want: str
) -> None:
    monkeypatch.setitem(hooks._sources, uri, source)
    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri=uri))
    nothing: Any = None
    got = hooks.on_page_markdown(f"see [it]({link}) `[x]({link})`", page=page, config=nothing, files=nothing)
    assert got == f"see [it]({want}) `[x]({link})`"


def test_what_a_browser_would_fetch_from_elsewhere_is_found(tmp_path: Path) -> None:
    page = '<a href="https://a.example">x</a><script src="https://b.example/s.js"></script><img src="a.png">'
    (tmp_path / "index.html").write_text(page + '<link rel="stylesheet" href="//c.example/c.css">')
    (tmp_path / "own.css").write_text("@import url(https://d.example/f.css); a { background: url(x.png) }")
    found = [url for _, url in command_line.loads_from_elsewhere(tmp_path)]
    assert [re.sub(r".*//(\w)\..*", r"\1", url) for url in found] == ["b", "c", "d"]
