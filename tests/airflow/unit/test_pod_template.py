"""The base Pod from file, dict and object: order, forms, and what is refused."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from kubernetes.client import models as k8s
from podtask_airflow.utils import pod_template
from podtask_airflow.utils.pod_template import TemplateError, base_template

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "t", "namespace": "n", "labels": {"a": "1"}},
    "spec": {"containers": [{"name": "base", "image": "x"}], "nodeSelector": {"disk": "ssd"}},
}
BARE = {"metadata": POD["metadata"], "spec": POD["spec"]}


def _model() -> k8s.V1Pod:
    return k8s.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=k8s.V1ObjectMeta(name="t", namespace="n", labels={"a": "1"}),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image="x")], node_selector={"disk": "ssd"}),
    )


@pytest.mark.parametrize("whole", [POD, BARE, yaml.safe_dump(POD), _model()], ids=["pod", "bare", "yaml", "model"])
def test_each_form_of_a_pod_is_the_same(whole: Any, tmp_path: Path) -> None:
    assert base_template(None, None, whole) == BARE
    assert base_template(None, whole, None) == BARE
    path = tmp_path / "pod.yaml"
    path.write_text(yaml.safe_dump(POD))
    assert base_template(str(path), None, None) == BARE


VAULT = """
metadata:
  annotations:
    vault.hashicorp.com/agent-inject-template-db: |
      BEGIN{{- with secret "database/creds/app" -}}
      export DB={{ .Data.username }}
      {{- end }}END
spec: {containers: [{name: base}]}
"""


def jinja(text: str) -> str:
    return jinja2.Environment(autoescape=False).from_string(text).render()  # noqa: S701 (YAML)


def test_a_file_with_braces_of_its_own_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(VAULT.replace("BEGIN", "").replace("END", ""))
    with pytest.raises(TemplateError, match=r"pod_template_file .*/pod.yaml, line 5: .*\{% raw %\}"):
        base_template(str(path), None, None, jinja)
    path.write_text(VAULT.replace("BEGIN", "{% raw %}").replace("END", "{% endraw %}"))
    (text,) = base_template(str(path), None, None, jinja)["metadata"]["annotations"].values()
    assert '{{- with secret "database/creds/app" -}}' in text


def test_what_fails_within_a_file_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text("metadata: {labels: {a: '{{ missing.deeper }}'}}")
    with pytest.raises(TemplateError, match="'missing' is undefined"):
        base_template(str(path), None, None, jinja)


PRINTED = """
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: null
  labels: {run: pasted}
spec:
  containers:
  - name: base
    image: x
    resources: {}
    env:
    - {name: IP, value: "", valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: NOTHING, value: null}
  volumes:
  - name: v
    ephemeral: {volumeClaimTemplate: {metadata: {creationTimestamp: null}, spec: {resources: {requests: {storage: 1}}}}}
  dnsPolicy: ClusterFirst
  restartPolicy: Never
status: {}
"""


@pytest.mark.parametrize("form", ["file", "text", "dict", "full"])
def test_what_kubectls_dry_run_prints_is_taken(form: str, tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(PRINTED)
    given = {
        "file": (str(tmp_path / "pod.yaml"), None, None),
        "text": (None, PRINTED, None),
        "dict": (None, yaml.safe_load(PRINTED), None),
        "full": (None, None, yaml.safe_load(PRINTED)),
    }[form]
    assert base_template(*given) == {
        "metadata": {"labels": {"run": "pasted"}},
        "spec": {
            "containers": [
                {
                    "name": "base",
                    "image": "x",
                    "resources": {},
                    "env": [
                        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        {"name": "NOTHING"},
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "v",
                    "ephemeral": {
                        "volumeClaimTemplate": {"metadata": {}, "spec": {"resources": {"requests": {"storage": 1}}}}
                    },
                }
            ],
            "dnsPolicy": "ClusterFirst",
        },
    }


TWICE: dict[str, dict[str, Any]] = {
    "containers": {"containers": [{"name": "a"}, {"name": "a"}]},
    "initContainers": {"initContainers": [{"name": "a"}, {"name": "b"}, {"name": "a"}]},
    "volumes": {"volumes": [{"name": "a", "secret": {}}, {"name": "a", "emptyDir": {}}]},
    "base has two entries with the mountPath": {
        "containers": [{"name": "base", "volumeMounts": [{"name": n, "mountPath": "/etc/s"} for n in "ab"]}]
    },
}


@pytest.mark.parametrize(("says", "spec"), TWICE.items())
def test_what_is_merged_by_its_name_stands_there_once(says: str, spec: dict[str, Any]) -> None:
    with pytest.raises(TemplateError, match=f"{says}.*remove one"):
        base_template(None, {"spec": spec}, None)


def variables(text: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, _, value in (pair.partition("=") for pair in text.split())]


LAID = {
    "in its place, for those that refer to it": (
        "IP=1 HOST=l URL=$(HOST)",
        "HOST=$(IP)",
        "IP=1 HOST=$(IP) URL=$(HOST)",
    ),
    "it extends the earlier one": ("A=1 B=2", "A=$(A)2", "A=1 A=$(A)2 B=2"),
    "within one list": ("A=1 A=$(A)2", "", "A=1 A=$(A)2"),
    "what extends itself is replaced whole": ("A=1 A=$(A)2 B=3", "A=9", "A=9 B=3"),
    "a reference to what comes later": ("A=1 B=2", "A=$(B)", "A=1 B=2 A=$(B)"),
    "new ones come last": ("A=1", "B=$(A) C=3", "A=1 B=$(A) C=3"),
    "an escape is no reference": ("A=1 B=2", "A=$$(B)", "A=$$(B) B=2"),
}


@pytest.mark.parametrize(("below", "over", "want"), LAID.values(), ids=LAID)
def test_variables_over_variables(below: str, over: str, want: str) -> None:
    given = [{"spec": {"containers": [{"name": "base", "env": variables(text)}]}} for text in (below, over)]
    (container,) = base_template(None, *given)["spec"]["containers"]
    assert container["env"] == variables(want)


def test_nothing_gives_an_empty_template() -> None:
    assert base_template(None, None, None) == {"metadata": {}, "spec": {}}


def test_the_whole_pod_lies_over_the_file_by_name(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    below = {
        "metadata": {"labels": {"a": "1", "b": "2"}},
        "spec": {
            "containers": [
                {"name": "sidecar", "image": "s"},
                {"name": "base", "image": "old", "env": [{"name": "A", "value": "a"}, {"name": "B", "value": "b"}]},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}],
            "securityContext": {"runAsUser": 1, "fsGroup": 2},
            "tolerations": [{"key": "old"}],
            "hostNetwork": True,
        },
    }
    path.write_text(yaml.safe_dump(below))
    over = {
        "metadata": {"labels": {"a": "9"}},
        "spec": {
            "containers": [{"name": "base", "image": "new", "env": [{"name": "A", "valueFrom": {}}]}, {"name": "more"}],
            "volumes": [{"name": "v", "configMap": {"name": "c"}}],
            "securityContext": {"runAsUser": 0},
            "tolerations": [],
            "hostNetwork": False,
        },
    }
    got = base_template(str(path), None, over)
    assert got["metadata"] == {"labels": {"a": "9", "b": "2"}}
    assert got["spec"] == {
        "containers": [
            {"name": "sidecar", "image": "s"},
            {"name": "base", "image": "new", "env": [{"name": "A", "valueFrom": {}}, {"name": "B", "value": "b"}]},
            {"name": "more"},
        ],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}, {"name": "w", "emptyDir": {}}],
        "securityContext": {"runAsUser": 0, "fsGroup": 2},
        "tolerations": [],
        "hostNetwork": False,
    }


def test_the_content_of_the_file_is_rendered_once(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text("spec: {containers: [{name: base, image: '{{ image }}'}]}")
    seen = []

    def render(text: str) -> str:
        seen.append(text)
        return text.replace("{{ image }}", "{{ stays }}")

    got = base_template(str(path), None, None, render)
    assert got["spec"]["containers"] == [{"name": "base", "image": "{{ stays }}"}]
    assert len(seen) == 1


def test_native_rendering_gives_an_object_already(tmp_path: Path) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text("spec: {}")
    assert base_template(str(path), None, None, lambda _: {"spec": {"hostNetwork": True}})["spec"] == {
        "hostNetwork": True
    }


def test_a_missing_file_is_one_sentence() -> None:
    with pytest.raises(TemplateError) as caught:
        base_template("/nowhere/pod.yaml", None, None)
    assert str(caught.value) == (
        "pod_template_file /nowhere/pod.yaml cannot be read where the task runs (No such file or directory);"
        " give a path that exists there"
    )


def test_what_a_cluster_wrote_is_left_out() -> None:
    read = {
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "creationTimestamp": None, "managedFields": []},
        "spec": {
            "containers": [],
            "restartPolicy": "Always",
            "initContainers": [{"name": "i", "restartPolicy": "Always"}],
        },
        "status": {"phase": "Running"},
    }
    got = base_template(None, read, None)
    assert got == {
        "metadata": {"name": "a"},
        "spec": {"containers": [], "initContainers": [{"name": "i", "restartPolicy": "Always"}]},
    }


def test_numbers_where_the_api_wants_text() -> None:
    """The client's models turned them into text, so templates with them are about."""
    got = base_template(
        None,
        {
            "metadata": {"labels": {"v": 1.5}},
            "spec": {"containers": [{"name": "base", "env": [{"name": "A", "value": 5}]}]},
        },
        None,
    )
    assert got["metadata"]["labels"] == {"v": "1.5"}
    assert got["spec"]["containers"][0]["env"] == [{"name": "A", "value": "5"}]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "pod_template_dict is a apps/v1 Deployment"),
        ({"containers": []}, "pod_template_dict has 'containers' beside metadata and spec"),
        ({"metadata": {"generateName": "a-"}}, "has metadata.generateName, which"),
        ({"metadata": {"labels": {"a": ["b"]}, "finalizers": ["x"]}}, "has metadata.finalizers"),
        ({"spec": []}, ""),
        ({"spec": ["a"]}, "a spec that is not an object"),
        ({"spec": {"containers": {"name": "a"}}}, "spec.containers that is not a list"),
        ({"spec": {"containers": [{"image": "a"}]}}, "containers an entry without a name"),
        ({"spec": {"containers": [{"name": "a", "env": [{"value": "x"}]}]}}, "containers a, whose env has a variable"),
        ("- a list", "must be an object"),
        ("a: [", "is not valid YAML"),
        (5, "must be an object .* not 5"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, message: str) -> None:
    if not message:
        assert base_template(None, wrong, None)["spec"] == {}, "empty is absent"
        return
    with pytest.raises(TemplateError, match=message):
        base_template(None, wrong, None)


def test_overlay_removes_by_none() -> None:
    assert pod_template.overlay({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None}, "d": None, "e": {"f": None}}) == {
        "a": {"c": 2},
        "e": {},
    }
