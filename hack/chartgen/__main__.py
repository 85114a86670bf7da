"""`python -m chartgen`: write the chart's generated files. `--check`: list those that differ, and exit 1."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import readme, schema, values

CHART = Path(__file__).resolve().parents[2] / "charts" / "podtask"


def generated(chart: Path) -> dict[str, str]:
    """Return the text of every generated file by its name in the chart."""
    parsed = values.parse((chart / "values.yaml").read_text(encoding="utf-8"))
    return {"values.schema.json": schema.schema(parsed), "README.md": readme.readme(parsed)}


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chartgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; list the files that differ, and exit 1")
    parser.add_argument("--chart", type=Path, default=CHART, help="the chart (default: this repository's)")
    options = parser.parse_args(arguments)
    stale = {name: text for name, text in generated(options.chart).items() if _current(options.chart / name) != text}
    for name, text in stale.items():
        if options.check:
            print(f"stale: {name} (run `make generate`)", file=sys.stderr)
            continue
        (options.chart / name).write_text(text, encoding="utf-8")
        print(f"written: {name} ({len(text.encode())} bytes)")
    return 1 if stale and options.check else 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
