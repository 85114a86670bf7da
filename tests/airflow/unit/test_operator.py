"""The operator as a class: its signature against the table, its defaults, what it refuses, what it shows."""

import inspect
import warnings
from typing import Any

import podtask_airflow
import pytest
from fakes import FakeCluster, context, dag_of, ends, operator_for
from podtask_airflow import KubernetesPodOperator, PodTaskOperator, version_compat
from podtask_airflow.operators import podtask as operator
from podtask_airflow.utils import arguments
from podtask_airflow.utils.arguments import ArgumentError


def test_the_signature_is_the_table() -> None:
    parameters = inspect.signature(PodTaskOperator.__init__).parameters
    found = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert found == arguments.DEFAULTS


def test_every_export_is_there_and_no_other() -> None:
    for name in podtask_airflow.__all__:
        assert getattr(podtask_airflow, name) is not None
    with pytest.raises(AttributeError):
        podtask_airflow.nothing  # noqa: B018
    assert KubernetesPodOperator is PodTaskOperator


def test_template_fields_are_attributes_and_none_is_base_operator_s() -> None:
    task = PodTaskOperator(task_id="t", image="i")
    assert all(hasattr(task, name) for name in task.template_fields)
    assert not set(task.template_fields) & set(inspect.signature(version_compat.BaseOperator.__init__).parameters)


def test_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PodTaskOperator(task_id="t", image="i", env_vars={"A": "1"}, do_xcom_push=True)


def test_base_operator_keeps_its_own() -> None:
    from datetime import timedelta

    task = PodTaskOperator(task_id="t", image="i", retries=4, execution_timeout=timedelta(seconds=5), pool="p")
    assert (task.retries, task.execution_timeout, task.pool) == (4, timedelta(seconds=5), "p")
    assert task.do_xcom_push is False
    assert PodTaskOperator(task_id="t", image="i", do_xcom_push=True).do_xcom_push is True


def test_the_old_resources_do_not_reach_base_operator() -> None:
    task = PodTaskOperator(task_id="t", image="i", resources={"request_memory": "1Gi", "limit_gpu": 1})
    body = task.build_podtask({}, task.read_arguments(), None)
    assert body["spec"]["resources"]["requests"] == {"memory": "1Gi"}


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(Exception, match="no_such_argument"):
        PodTaskOperator(task_id="t", image="i", no_such_argument=1)


def test_what_cannot_be_honoured_is_refused_at_parse_time() -> None:
    with pytest.raises(ArgumentError):
        PodTaskOperator(task_id="t", image="i", trigger_kwargs={"a": 1})


def test_default_args_reach_the_arguments() -> None:
    dag = dag_of(default_args={"image": "from-defaults", "retries": 2, "labels": {"team": "x"}})
    with dag:
        task = PodTaskOperator(task_id="t")
    assert (task.image, task.retries, task.labels) == ("from-defaults", 2, {"team": "x"})
    assert task.build_podtask({}, task.read_arguments(), None)["spec"]["disruptionLimit"] == 3


def test_a_subclass_may_add_to_the_object() -> None:
    class Ours(PodTaskOperator):
        def build_podtask(self, *args: Any) -> dict[str, Any]:
            body = super().build_podtask(*args)
            body["spec"]["queueName"] = "batch"
            return body

    task = Ours(task_id="t", image="i")
    assert task._build({}, task.read_arguments(), None, 0, [])["spec"]["queueName"] == "batch"


NAMESPACES = {
    "the argument": ({"namespace": "arg"}, "conn", "sa", "ke", "arg"),
    "the template": ({"pod_template_dict": {"metadata": {"namespace": "tpl"}}}, "conn", "sa", "ke", "tpl"),
    "the connection": ({}, "conn", "sa", "ke", "conn"),
    "the service account": ({}, None, "sa", "ke", "sa"),
    "the executor's": ({}, None, None, "ke", "ke"),
    "default": ({}, None, None, None, "default"),
}


@pytest.mark.parametrize(("given", "conn", "account", "executor", "want"), NAMESPACES.values(), ids=NAMESPACES)
def test_where_the_namespace_comes_from(
    monkeypatch: pytest.MonkeyPatch, given: Any, conn: Any, account: Any, executor: Any, want: str
) -> None:
    monkeypatch.setattr(operator.cluster_configs, "resolve", lambda *_: operator.ClusterConfig(lambda: None, conn))
    monkeypatch.setattr(operator.cluster_configs, "service_account_namespace", lambda: account)
    monkeypatch.setattr(
        version_compat,
        "conf_get",
        lambda section, key, fallback=None: executor if section == "kubernetes_executor" else fallback,
    )
    task = PodTaskOperator(task_id="t", image="i", **given)
    assert task.build_podtask({}, task.read_arguments(), None)["metadata"]["namespace"] == want


def test_an_option_that_nobody_declared_is_no_error() -> None:
    assert version_compat.conf_get("no_such_section", "namespace") is None
    assert version_compat.conf_get("kubernetes", "NAMESPACE", "x") == "x"


def test_options_fill_gaps_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PODTASK__POD_TTL_SECONDS", "77")
    monkeypatch.setenv("AIRFLOW__PODTASK__DEPLOYMENT_ID", "prod")
    monkeypatch.setenv("AIRFLOW__PODTASK__CONTROLLER_TIMEOUT", "5")
    task = PodTaskOperator(task_id="t", image="i", controller_timeout=9)
    read = task.read_arguments()
    assert (read.pod_ttl_seconds, read.deployment, read.controller_timeout) == (77, "prod", 9)
    assert (read.ttl_seconds_after_succeeded, read.api_outage_tolerance) == (86_400, 900)


def test_no_connection_at_all_can_be_asked_for() -> None:
    assert PodTaskOperator(task_id="t", image="i", kubernetes_conn_id=None).read_arguments().kubernetes_conn_id is None
    assert PodTaskOperator(task_id="t", image="i").read_arguments().kubernetes_conn_id == "kubernetes_default"


def test_dry_run_shows_object_and_pod_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    task = operator_for(FakeCluster(), env_vars={"DB_PASSWORD": "hunter22", "SIZE": "3"}, node_selector={"disk": "ssd"})
    task.dry_run()
    shown = capsys.readouterr().out
    assert "kind: PodTask" in shown
    assert "kind: Pod\n" in shown
    assert "SIZE" in shown
    assert "hunter22" not in shown


def test_the_mutation_hook_runs_on_what_is_created(monkeypatch: pytest.MonkeyPatch) -> None:
    def hook(pod: Any) -> None:
        pod.spec.containers[0].image = "mirror/" + pod.spec.containers[0].image
        pod.metadata.labels["seen"] = pod.metadata.namespace

    monkeypatch.setattr(version_compat, "pod_mutation_hook", lambda: hook)
    monkeypatch.setattr(version_compat, "is_dag_test", lambda _: False)
    cluster = FakeCluster(ends())
    operator_for(cluster).execute(context())
    template = cluster.only["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "mirror/image:1"
    assert template["metadata"]["labels"]["seen"] == "default"
    assert template["metadata"]["labels"]["dag_id"] == "dag"
    assert "image" not in cluster.only["spec"]


def test_airflow_s_own_empty_hook_is_not_called() -> None:
    assert version_compat.pod_mutation_hook() is None


def test_a_hook_of_a_plugin_is_found() -> None:
    from airflow import settings
    from airflow.policies import hookimpl

    class Policy:
        @staticmethod
        @hookimpl
        def pod_mutation_hook(pod: Any) -> None:
            pod["seen"] = True

    get = getattr(settings, "get_policy_plugin_manager", None)
    manager = get() if get is not None else settings.POLICY_PLUGIN_MANAGER
    plugin = Policy()
    manager.register(plugin)
    try:
        found, pod = version_compat.pod_mutation_hook(), {}
        assert found is not None
        found(pod=pod)
        assert pod == {"seen": True}
    finally:
        manager.unregister(plugin)


def test_the_dag_serialises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler of Airflow 3 refuses a DAG whose operator names a field of BaseOperator as a template."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialized

        write = Serialized.serialize_dag
    except ImportError:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized

        write = Serialized.serialize_dag
    dag = dag_of()
    with dag:
        PodTaskOperator(task_id="plain", image="i", env_vars={"A": "{{ ds }}"})
        PodTaskOperator.partial(task_id="mapped", image="i").expand(env_vars=[{"A": "1"}, {"A": "2"}])
    assert {node.get("__var", node)["task_id"] for node in write(dag)["tasks"]} == {"plain", "mapped"}


def test_mapped_values_make_an_operator() -> None:
    dag = dag_of()
    with dag:
        mapped = PodTaskOperator.partial(task_id="mapped", image="i", get_logs=False).expand(
            env_vars=[{"A": "1"}, {"A": "2"}]
        )
    task = mapped.unmap({"env_vars": {"A": "1"}})
    assert task.build_podtask({}, task.read_arguments(), None)["spec"]["env"] == [{"name": "A", "value": "1"}]
