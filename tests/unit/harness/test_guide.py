"""How the commands of a page are found, run and compared."""

from pathlib import Path

import pytest

from tests.harness import guide
from tests.harness.controller import ROOT

PAGE = """\
Words.

```sh
x=1
test $x = 1
```

```console
$ echo one; echo two
one
two
$ printf 'NAME  AGE\\nhello 12s\\n'
NAME    AGE
hello   4s
```

<!-- not run: needs Docker -->
```sh
exit 1
```

```yaml
kind: PodTask
```
"""


def run(page: str, tmp_path: Path) -> list[guide.LeftOut]:
    return guide.run(page, tmp_path, {"PATH": "/usr/bin:/bin"}, seconds=60)


def test_commands_are_run_in_order_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    assert run(PAGE, tmp_path) == [guide.LeftOut(18, "needs Docker")]
    assert [step.line for step in guide.commands(PAGE)] == [3, 9, 12, 18]


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```sh\nfalse\ntrue\n```\n", "exit code 1"),
        ("```sh\nfalse | true\n```\n", "exit code 1"),
        ("```console\n$ echo one\ntwo\n```\n", "printed:\none"),
        ("```console\n$ echo one; echo two\none\n```\n", "the page shows:\none"),
    ],
)
def test_a_page_that_does_not_hold_is_found(page: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(guide.NotAsShown, match=complaint):
        run(page, tmp_path)


@pytest.mark.parametrize(
    "page", ["```bash\nls\n```\n", "<!-- not run: -->\n```sh\nls\n```\n", "```console\nls\n```\n", "```console\n```\n"]
)
def test_a_block_that_would_be_missed_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="line"):
        list(guide.commands(page))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a  b", "a b\n", True),
        ("a b", "a b c\n", False),
        ("…\nz", "a\nb\nz\n", True),
        ("…\nz", "z\n", True),
        ("…\nz\n…", "a\nzz\n", False),
        ("x 5s", "x 2m10s\n", True),
        ("x 2", "x 3\n", False),
        ("{a.b}", "{axb}\n", False),
    ],
)
def test_the_comparison(shown: str, printed: str, same: bool) -> None:
    assert guide.matches(shown, printed) is same


def test_every_guide_is_read_and_gives_its_reasons() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs/getting-started").glob("*.md"))]
    assert len(pages) == 4
    assert all(list(guide.commands(page.read_text(encoding="utf-8"))) for page in pages)
