"""Records the first tasks of docs/getting-started/kubectl.md in a terminal, as docs/images/first-task.svg.

python -m tests.chart.recording

The commands are those of the page. They run in a cluster of their own with the chart installed, and the picture shows
what they printed.
"""

import io
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from cluster import Form, down, up
from cluster.images.load import load
from tests.chart import release, shell
from tests.harness import HANG_SECONDS, guide
from tests.harness.controller import ROOT

PAGE = ROOT / "docs/getting-started/kubectl.md"
PICTURE = ROOT / "docs/images/first-task.svg"
STEPS = ("## 3. Run a task", "## 4. Get a result")
COLUMNS = 96
_CLUSTER = "podtask-recording"
_THEME = TerminalTheme(
    (22, 27, 34),
    (201, 209, 217),
    [(22, 27, 34), (255, 123, 114), (126, 231, 135), (210, 153, 34), *[(121, 192, 255)] * 4],
)
# Rich's own frame loads a web font, which a viewer's page would fetch from another host.
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
 aria-label="Terminal: kubectl apply, wait, get and logs of a first task">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def commands() -> Iterator[guide.Command]:
    """Give the commands of the two steps."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = text.index(STEPS[0]), text.index("\n## ", text.index(STEPS[1]) + 1)
    for step in guide.commands(text[begin:end]):
        if isinstance(step, guide.Command) and step.shown is not None:
            yield step


def _draw(typed: list[tuple[str, str]]) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    for command, printed in typed:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")))
        console.print(Text(printed.rstrip("\n")))
    return console.export_svg(title="A first task", theme=_THEME, code_format=_SVG, unique_id="first-task")


def main() -> None:
    """Bring a cluster up, install, type, and write the picture."""
    typed = []
    down(_CLUSTER)
    cluster = up(_CLUSTER, Form.NODE)
    try:
        load(cluster, ["controller"])
        with tempfile.TemporaryDirectory(prefix="podtask-recording-") as name:
            folder = Path(name)
            shell.load_public_images(cluster, folder)
            environment = shell.environment(cluster, folder)
            release.install(cluster)
            for step in commands():
                done = subprocess.run(
                    ["bash", "-c", step.text],
                    cwd=ROOT,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=HANG_SECONDS,
                )
                typed.append((step.text, done.stdout))
    finally:
        cluster.down()
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(_draw(typed), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    main()
