"""The guide's examples as a user runs them; state, log and result are those that Airflow's own API gives."""

from pathlib import Path

import pytest

from tests.airflow.real.stage import Stage
from tests.harness.recorder import Recorder
from tests.harness.tasks import Namespace

MODES = pytest.mark.parametrize("suffix", ["", "_deferrable"], ids=["sync", "deferrable"])


@MODES
def test_hello_in_haskell(stage: Stage, suffix: str) -> None:
    api, dag_id = stage.airflow.api, f"hello_haskell{suffix}"
    run = api.run_to_end(dag_id, namespace=stage.namespace.name, name_to_greet="Grace")
    assert run.state == "success", api.log(dag_id, run.run_id, "say_hello", 1)
    assert "Hello, Grace" in api.log(dag_id, run.run_id, "say_hello", 1)
    (pod,) = stage.recorder.pods.values()
    labels = pod["metadata"]["labels"]
    assert (labels["app"], labels["env"]) == ("greeter", "dev")
    assert pod["metadata"]["name"].startswith("hello-haskell")


@MODES
def test_extract_transform_load(stage: Stage, suffix: str) -> None:
    api, dag_id = stage.airflow.api, f"extract_transform_load{suffix}"
    run = api.run_to_end(dag_id, namespace=stage.namespace.name)
    assert run.state == "success", api.log(dag_id, run.run_id, "transform", 1)
    extracted = api.xcom(dag_id, run.run_id, "extract")
    assert api.xcom(dag_id, run.run_id, "transform") == {"return_value": str(23 * extracted)}
    assert api.xcom(dag_id, run.run_id, "load") == 23 * extracted
    assert f"23 times {extracted} is {23 * extracted}" in api.log(dag_id, run.run_id, "transform", 1)
    assert f"the number is now {23 * extracted}" in api.log(dag_id, run.run_id, "load", 1)
    assert len(stage.recorder.pods) == 1, stage.recorder.story()


@MODES
def test_a_gpu_of_the_second_cluster(
    stage: Stage, gpu_namespace: tuple[Namespace, Recorder], gpu_kubeconfig: Path, suffix: str
) -> None:
    api, dag_id = stage.airflow.api, f"gpu_cluster{suffix}"
    there, recorder = gpu_namespace
    run = api.run_to_end(dag_id, namespace=there.name)
    assert run.state == "success", api.log(dag_id, run.run_id, "train", 1)
    assert "training on train" in api.log(dag_id, run.run_id, "train", 1)
    (pod,) = recorder.pods.values()
    (container,) = [c for c in pod["spec"]["containers"] if c["name"] == "base"]
    assert container["resources"]["limits"] == {"memory": "128Mi", "nvidia.com/gpu": "1"}
    assert pod["spec"]["nodeSelector"] == {"accelerator": "gpu"}
    assert not stage.recorder.pods, "it ran on the first cluster"
    assert Path(f"{gpu_kubeconfig}.calls").read_text(), "the exec plugin was not called"
