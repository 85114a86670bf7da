"""Objects at the edge of what the API server stores."""

from tests.harness.tasks import TASKS, Namespace

QUOTES = 'open("/airflow/xcom/return.json", "w").write("[" + ",".join([chr(34) * 2] * 170_000) + "]")'
"""510 kB of JSON that is nearly twice as long again once it is a JSON string."""


def test_a_result_that_makes_the_object_too_large_is_reported(namespace: Namespace) -> None:
    namespace.create(
        "huge",
        suspend=True,
        image="localhost/podtask/python:dev",
        command=["python3", "-c", QUOTES],
        env=[{"name": f"FILL_{i}", "value": "x" * 100_000} for i in range(5)],
        xcom={"maxBytes": 524_288},
    )
    # A spec of the largest size that is taken leaves room for any result; what others note beside it does not.
    filled = {"metadata": {"annotations": {"fill": "x" * 250_000}}, "spec": {"suspend": False}}
    namespace.custom.patch_namespaced_custom_object(namespace=namespace.name, name="huge", body=filled, **TASKS)
    status = namespace.wait_finished("huge")
    assert (status["phase"], status["reason"]) == ("Failed", "XComTooLarge")
    assert "exceeds the API server's size limit" in status["message"]
    assert status["attempts"][0]["exitCode"] == 0
    assert status["xcom"]["state"] == "Failed"
