"""What the latency test records finds its way into the figures."""

from pathlib import Path

from bench import budgets, kubelet
from bench.figures import Measurements

REPORT = """<testsuites><testsuite>
<testcase name="test_a_short_task_is_over_within_its_budget[Direct]"><properties>
<property name="to_pod" value="0.01"/><property name="to_end" value="1.2"/></properties></testcase>
<testcase name="test_a_short_task_is_over_within_its_budget[without a result]"><properties>
<property name="to_end" value="1.01"/></properties></testcase>
</testsuite></testsuites>"""


def test_each_case_has_its_budget(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    got = kubelet.read(tmp_path / "report.xml")
    assert got["Direct"] == {"to_pod": 0.01, "to_end": 1.2}
    rows = list(budgets.rows(Measurements([], {"played": [], "seconds": {}}, got)))
    verdicts = {row.what.rpartition(", ")[2]: row.verdict for row in rows if "real kubelet" in row.what}
    assert verdicts == {"without a result": "hit", "Direct": "**missed**", "with a sidecar": "not shown"}
