"""Every string is rendered once, nothing twice, and Airflow's masker knows what looks secret before it is shown."""

from pathlib import Path
from typing import Any

import pytest
from fakes import dag_of
from podtask_airflow import PodTaskOperator, version_compat


def rendered(task: Any, **context: Any) -> dict[str, Any]:
    """Render as Airflow does, and build."""
    task.render_template_fields(context)
    body: dict[str, Any] = task.build_podtask(context, task.read_arguments(), None)
    return body


def test_every_string_of_the_manifest(tmp_path: Path) -> None:
    template = tmp_path / "pod.yaml"
    template.write_text("metadata: {annotations: {run: '{{ x }}'}}\nspec: {containers: [{name: base}]}\n")
    body = rendered(
        PodTaskOperator(
            task_id="t",
            image="repo/{{ x }}",
            cmds=["{{ x }}"],
            arguments=["--{{ x }}"],
            env_vars={"K_{{ x }}": "{{ x }}"},
            labels={"l": "{{ x }}"},
            namespace="{{ x }}",
            affinity={"nodeAffinity": {"k": "{{ x }}"}},
            tolerations=[{"key": "{{ x }}"}],
            service_account_name="{{ x }}",
            pod_template_file=str(tmp_path / "{{ file }}.yaml"),
            spec={"queueName": "{{ x }}"},
        ),
        x="abc",
        file="pod",
    )
    assert "{{" not in str(body)
    assert body["metadata"]["namespace"] == "abc"
    assert body["spec"]["env"] == [{"name": "K_abc", "value": "abc"}]
    assert body["spec"]["template"]["metadata"]["annotations"] == {"run": "abc"}
    assert body["spec"]["affinity"] == {"nodeAffinity": {"k": "abc"}}


def test_models_are_rendered_too() -> None:
    from kubernetes.client import models as k8s

    task = PodTaskOperator(
        task_id="t",
        image="i",
        env_vars=[k8s.V1EnvVar(name="A", value="{{ x }}")],
        volumes=[k8s.V1Volume(name="v", secret=k8s.V1SecretVolumeSource(secret_name="{{ x }}"))],
    )
    body = rendered(task, x="abc")
    assert body["spec"]["env"] == [{"name": "A", "value": "abc"}]
    assert body["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "abc"}}]


def test_nothing_is_rendered_twice() -> None:
    body = rendered(PodTaskOperator(task_id="t", image="i", arguments=["{{ x }}"]), x="{{ y }}", y="never")
    assert body["spec"]["args"] == ["{{ y }}"]


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was registered at the masker."""
    told: list[str] = []
    monkeypatch.setattr(version_compat, "mask_secret", told.append)
    return told


def test_secrets_are_given_to_the_masker_while_fields_are_rendered(masked: list[str]) -> None:
    task = PodTaskOperator(task_id="t", image="i", env_vars={"DB_PASSWORD": "{{ x }}", "SIZE": "large"})
    assert masked == [], "a DAG file is parsed where no log is to be masked"
    task.render_template_fields({"x": "hunter22"})
    assert masked == ["hunter22"]
    assert task.env_vars == [{"name": "DB_PASSWORD", "value": "hunter22"}, {"name": "SIZE", "value": "large"}]


def test_mapped_operators_too(masked: list[str]) -> None:
    with dag_of():
        mapped = PodTaskOperator.partial(task_id="mapped", image="i").expand(env_vars=[{"API_TOKEN": "{{ x }}"}])
    task = mapped.unmap({"env_vars": {"API_TOKEN": "{{ x }}"}})
    # What Airflow does for a mapped operator: the mapped one renders into the unmapped one.
    mapped._do_render_template_fields(task, task.template_fields, {"x": "s3cr3t-token"}, task.get_template_env(), set())
    assert masked == ["s3cr3t-token"]


def test_airflows_own_list_of_names_counts(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES", "license,pin")
    task = PodTaskOperator(task_id="t", image="i", env_vars={"LICENSE_ID": "abc-def", "SECRETS_BACKEND": "vault"})
    task.render_template_fields({})
    assert masked == ["abc-def"]


def test_more_names_may_be_sensitive(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PODTASK__SENSITIVE_KEYS", "license,pin")
    task = PodTaskOperator(task_id="t", image="i", env_vars={"LICENSE_ID": "abc-def"})
    task.render_template_fields({})
    assert masked == ["abc-def"]
