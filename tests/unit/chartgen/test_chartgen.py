"""The chart's generator: what it reads out of comments, and what it refuses."""

import json

import pytest

from chartgen import __main__ as command_line
from chartgen import readme, schema, values

TEXT = """\
# Not about any value.

# How many.
# @schema {"minimum": 0}
replicas: 2
image:
  # The image's
  # name.
  repository: a|b
# Passed on.
resources: {}
# Has keys of its own.
# @schema {"additionalProperties": true}
labels:
  x: "y"
"""


def test_a_comment_is_the_description_and_its_mark_the_schema() -> None:
    got = json.loads(schema.schema(values.parse(TEXT)))["properties"]
    assert got["replicas"] == {"type": "integer", "description": "How many.", "minimum": 0}
    assert got["image"]["additionalProperties"] is False
    assert got["image"]["properties"]["repository"] == {"type": "string", "description": "The image's name."}
    assert got["resources"] == {"type": "object", "description": "Passed on."}
    assert got["labels"]["additionalProperties"] is True
    assert "properties" not in got["labels"]


def test_the_readme_has_a_row_for_each_value() -> None:
    rows = [line for line in readme.readme(values.parse(TEXT)).splitlines() if line.startswith("| `")]
    assert rows == [
        "| `replicas` | `2` | How many. |",
        '| `image.repository` | `"a\\|b"` | The image\'s name. |',
        "| `resources` | `{}` | Passed on. |",
        '| `labels` | `{"x": "y"}` | Has keys of its own. |',
    ]


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("replicas: 2\n", values.Undescribed, "replicas has no comment"),
        ("# A.\n# @schema {x\nreplicas: 2\n", values.Undescribed, "no JSON"),
        ("- 1\n", values.Undescribed, "no map"),
        ("# A.\nreplicas: null\n", TypeError, "replicas"),
    ],
)
def test_what_says_too_little_is_refused(text: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        schema.schema(values.parse(text))


def test_check_compares_and_writes_nothing(tmp_path, capsys) -> None:
    chart = tmp_path / "charts/podtask"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text(TEXT)
    assert command_line.main(["--check", f"--root={tmp_path}"]) == 1
    assert "stale: charts/podtask/values.schema.json" in capsys.readouterr().err
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["values.yaml"]
    assert command_line.main([f"--root={tmp_path}"]) == 0
    assert command_line.main(["--check", f"--root={tmp_path}"]) == 0
    assert "| `replicas` | `2` | How many. |" in (tmp_path / "docs/reference/values.md").read_text()
