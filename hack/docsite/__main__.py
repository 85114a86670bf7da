"""`python -m docsite`: build the site into build/site; exit 1 for a warning, or a page that loads from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build/site"
# What a browser fetches by itself. A plain link (<a href>) is only followed by a reader.
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=[\"']?(?P<source>(?:https?:)?//[^\"'\s>]+)"
    r"|<link\b[^>]*?\bhref=[\"']?(?P<link>(?:https?:)?//[^\"'\s>]+)"
    r"|(?:url\(|@import )[\"']?(?P<style>(?:https?:)?//[^\"'\s)]+)"
)


def main() -> int:
    """Build and look; gives the exit code."""
    # Not with --quiet: MkDocs then does not count warnings either, and --strict lets all of them pass.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", f"--site-dir={SITE}"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement on stderr
    if code := subprocess.run(build, cwd=ROOT, env=environment, check=False).returncode:
        return code
    found = [f"{path.relative_to(SITE)}: loads {url}" for path, url in loads_from_elsewhere(SITE)]
    print(*found, sep="\n", file=sys.stderr)
    print(f"{SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages")
    return 1 if found else 0


def loads_from_elsewhere(site: Path) -> Iterator[tuple[Path, str]]:
    """Give each URL of another host that a page or a stylesheet makes a browser fetch, with the file that does so."""
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        for match in LOADED.finditer(path.read_text(encoding="utf-8")):
            yield path, match["source"] or match["link"] or match["style"]


if __name__ == "__main__":
    sys.exit(main())
