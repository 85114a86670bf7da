"""`python -m podtask.crdgen` writes the generated files; with `--check` it lists the stale ones and exits with 1."""

import argparse
import sys
from pathlib import Path

from .files import generated

ROOT = Path(__file__).resolve().parents[3]


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the generated files and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m podtask.crdgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 and list what is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    options = parser.parse_args(arguments)
    stale = {path: text for path, text in generated().items() if _current(options.root / path) != text}
    for path, text in stale.items():
        if options.check:
            print(f"stale: {path}", file=sys.stderr)
            continue
        target = options.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"written: {path} ({len(text.encode())} bytes)")
    return 1 if stale and options.check else 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":  # pragma: no cover
    sys.exit(main())
