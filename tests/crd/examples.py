"""The example files of crds/, read once."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"
VALID = sorted((CRDS / "examples").glob("*.yaml"))
INVALID = sorted((CRDS / "examples-invalid").glob("*.yaml"))

Json = Any


def documents(path: Path) -> list[Json]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def definition() -> Json:
    """The committed CRD, not the generator's: what users install is what is tested."""
    return documents(CRDS / "podtask.dev_podtasks.yaml")[0]


def object_schema() -> Json:
    return definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


@dataclasses.dataclass(frozen=True)
class Refused:
    """An invalid example: `before` is None where the object is refused at once; `at` is the field that is at fault."""

    name: str
    before: Json
    after: Json
    at: str | None

    @property
    def is_unknown_field(self) -> bool:
        return self.name.startswith("schema-unknown")


def refused(path: Path) -> Refused:
    parts = documents(path)
    marks = [line.removeprefix("# at: ") for line in path.read_text().splitlines() if line.startswith("# at: ")]
    return Refused(path.stem, parts[0] if len(parts) == 2 else None, parts[-1], marks[0] if marks else None)


def rule_id_of(name: str, ids: list[str]) -> str | None:
    """A file is named after its rule, with a variant behind it: the longest id that fits."""
    fitting = [known for known in ids if name == known or name.startswith(f"{known}-")]
    return max(fitting, key=len, default=None)
