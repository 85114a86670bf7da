"""What is committed is what the generator writes."""

import yaml

from podtask.crdgen import files
from tests.crd import examples


def test_generated_files_are_current() -> None:
    stale = [path for path, text in files.generated().items() if (examples.ROOT / path).read_text() != text]
    assert stale == [], "run make generate"


def test_the_output_is_the_same_each_time() -> None:
    assert files.generated() == files.generated()


def test_the_charts_crd_is_the_same_crd() -> None:
    text = files.generated()[files.CHART_CRD]
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("{{-")]
    rendered = "\n".join(lines).replace('{{ "{{" }}', "{{").replace('{{ "}}" }}', "}}")
    crd = yaml.safe_load(rendered)
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert crd == examples.definition()
