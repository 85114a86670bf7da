"""`python -m chartgen`: write the chart's generated files; `--check`: list which are stale, and exit 1."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import readme, schema, values

ROOT = Path(__file__).resolve().parents[2]
CHART = "charts/podtask"
PAGE = "docs/reference/values.md"


def generated(root: Path) -> dict[str, str]:
    """Return the text of every generated file by its path in the repository `root`."""
    parsed = values.parse((root / CHART / "values.yaml").read_text(encoding="utf-8"))
    return {
        f"{CHART}/values.schema.json": schema.schema(parsed),
        f"{CHART}/README.md": readme.readme(parsed),
        PAGE: readme.page(parsed),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the generated files and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chartgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 and list what is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    options = parser.parse_args(arguments)
    stale = {path: text for path, text in generated(options.root).items() if _current(options.root / path) != text}
    for path, text in stale.items():
        if options.check:
            print(f"stale: {path} (run `make generate`)", file=sys.stderr)
            continue
        target = options.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"written: {path} ({len(text.encode())} bytes)")
    return 1 if stale and options.check else 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
