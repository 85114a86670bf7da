"""Objects at the edge of what the API server stores."""

from tests.harness.tasks import Namespace

QUOTES = 'open("/airflow/xcom/return.json", "w").write("[" + ",".join([chr(34) * 2] * 160_000) + "]")'
"""480 kB of JSON that is nearly twice as long again once it stands in a JSON string."""


def test_a_result_that_makes_the_object_too_large_is_told(namespace: Namespace) -> None:
    status = namespace.run(
        "huge",
        image="localhost/podtask/python:dev",
        command=["python3", "-c", QUOTES],
        env=[{"name": f"FILL_{i}", "value": "x" * 100_000} for i in range(9)],
        xcom={"maxBytes": 524_288},
    )
    assert (status["phase"], status["reason"]) == ("Failed", "XComTooLarge")
    assert "more than the API server stores" in status["message"]
    assert status["attempts"][0]["exitCode"] == 0
    assert status["xcom"]["state"] == "Failed"
