"""The whole Pod, as it is sent."""

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podtask.api import names
from podtask.core import identity, podspec, snapshot
from podtask.core.settings import Settings
from tests.builders import MadeTask, make_task

SETTINGS = Settings()


def build(made: MadeTask) -> dict[str, Any]:
    return podspec.build(made.build(), 1, "etl-1", SETTINGS)


@pytest.mark.parametrize(
    "fields",
    [{"terminationGracePeriodSeconds": 0}, {"template": {"spec": {"terminationGracePeriodSeconds": 0}}}],
    ids=["the field", "the template"],
)
def test_a_pod_always_has_a_grace(fields: dict[str, Any]) -> None:
    """With a grace period of 0 a DELETE removes the object while its containers run, beside the next attempt."""
    assert build(make_task(**fields))["spec"]["terminationGracePeriodSeconds"] == 1


CONTAINER: dict[str, tuple[str, str, Any]] = {
    "image": ("image", "image", "a"),
    "command": ("command", "command", ["x"]),
    "args, empty": ("args", "args", []),
    "workingDir": ("workingDir", "workingDir", "/w"),
    "envFrom": ("envFrom", "envFrom", [{"secretRef": {"name": "s"}}]),
    "ports": ("ports", "ports", [{"containerPort": 1}]),
    "imagePullPolicy": ("imagePullPolicy", "imagePullPolicy", "Never"),
    "terminationMessagePolicy": ("terminationMessagePolicy", "terminationMessagePolicy", "File"),
    "env": ("env", "env", [{"name": "A", "value": ""}]),
    "volumeMounts": ("volumeMounts", "volumeMounts", [{"name": "v", "mountPath": "/v"}]),
    "resources": ("resources", "resources", {"limits": {"cpu": 0}}),
    "containerSecurityContext": ("containerSecurityContext", "securityContext", {"privileged": False}),
}


@pytest.mark.parametrize(("field", "target", "value"), CONTAINER.values(), ids=CONTAINER)
def test_a_container_field_lands_and_wins(field: str, target: str, value: Any) -> None:
    template = {"spec": {"containers": [{"name": "side"}, {"name": "base", "image": "old", "args": ["old"]}]}}
    side, main = build(make_task(**{field: value}, template=template))["spec"]["containers"]
    assert main[target] == value
    assert side == {"name": "side"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, {"x": False}) for field in ("affinity", "dnsConfig", "nodeSelector", "securityContext")),
        *((field, []) for field in ("tolerations", "imagePullSecrets", "hostAliases")),
        *((field, False) for field in ("automountServiceAccountToken", "hostNetwork")),
        *((field, "x") for field in ("serviceAccountName", "priorityClassName", "runtimeClassName", "schedulerName")),
        *((field, "x") for field in ("hostname", "subdomain", "dnsPolicy")),
        ("terminationGracePeriodSeconds", 5),
        ("volumes", [{"name": "v"}]),
        ("initContainers", [{"name": "i", "image": "a"}]),
    ],
)
def test_a_pod_field_lands_and_wins(field: str, value: Any) -> None:
    assert build(make_task(**{field: value}))["spec"][field] == value


def test_what_lies_below_is_kept() -> None:
    template = {
        "spec": {
            "nodeSelector": {"a": "1"}, "volumes": [{"name": "t"}], "initContainers": [{"name": "i", "image": "old"}],
            "securityContext": {"fsGroup": 1}, "futureField": {"x": 1},
            "containers": [
                {
                    "name": "base", "env": [{"name": "A", "value": "1"}], "resources": {"requests": {"cpu": 1}},
                    "securityContext": {"privileged": True}, "volumeMounts": [{"name": "t", "mountPath": "/t"}],
                }
            ],
        }
    }  # fmt: skip
    got = build(
        make_task(
            template=template, node_selector={"b": "2"}, volumes=[{"name": "v"}],
            init_containers=[{"name": "i", "image": "new"}], security_context={"fsGroup": 0},
            env=[{"name": "B"}], resources={"limits": {"cpu": 2}}, container_security_context={"privileged": False},
            volume_mounts=[{"name": "v", "mountPath": "/v"}],
        )
    )["spec"]  # fmt: skip
    main = got["containers"][0]
    assert got["nodeSelector"] == {"a": "1", "b": "2"}
    assert [v["name"] for v in got["volumes"]] == ["t", "v"]
    assert got["initContainers"] == [{"name": "i", "image": "new"}]
    assert got["securityContext"] == {"fsGroup": 0}
    assert got["futureField"] == {"x": 1}
    assert [v["name"] for v in main["env"]] == ["A", "B"]
    assert main["resources"] == {"requests": {"cpu": 1}, "limits": {"cpu": 2}}
    assert main["securityContext"] == {"privileged": False}
    assert [m["mountPath"] for m in main["volumeMounts"]] == ["/t", "/v"]


def test_defaults_and_identity() -> None:
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    made = make_task(queue_name="q", template={"metadata": metadata, "spec": {"enableServiceLinks": True}})
    got = build(made)
    assert got["spec"]["restartPolicy"] == "Never"
    assert got["spec"]["enableServiceLinks"] is True
    assert build(make_task())["spec"]["enableServiceLinks"] is False
    assert got["spec"]["containers"] == [
        {"name": "base", "image": "busybox", "terminationMessagePolicy": "FallbackToLogsOnError"}
    ]
    assert got["metadata"]["labels"]["team"] == "a"
    assert got["metadata"]["labels"][names.LABEL_QUEUE] == "q"
    assert got["metadata"]["annotations"]["note"] == "b"
    assert got["metadata"]["finalizers"] == [names.FINALIZER]
    assert got == build(made)


def test_nulls_in_the_template_mean_absent_and_do_not_change_the_hash() -> None:
    made = make_task(template={"spec": {"volumes": None, "containers": [{"name": "base", "env": None}]}})
    got = build(made)
    assert "volumes" not in got["spec"]
    noted = got["metadata"]["annotations"][names.ANNOTATION_SPEC_HASH]
    assert noted == snapshot.spec_hash(made.build()) == identity.spec_hash(msgspec.json.decode(made.build().raw_spec))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BROKEN: dict[str, Any] = {
    "the template is a list": [],
    "metadata is a text": {"metadata": "x"},
    "labels are a list": {"metadata": {"labels": []}},
    "spec is a number": {"spec": 1},
    "containers are a map": {"spec": {"containers": {}}},
    "a container is a text": {"spec": {"containers": ["x"]}},
    "a container without a name": {"spec": {"containers": [{}]}},
    "a name is a list": {"spec": {"volumes": [{"name": []}]}},
    "env is a map": {"spec": {"containers": [{"name": "base", "env": {}}]}},
    "limits are a list": {"spec": {"containers": [{"name": "base", "resources": {"limits": []}}]}},
    "the Pod's limits are a list": {"spec": {"resources": {"limits": []}}},
    "a mount without a path": {"spec": {"containers": [{"name": "base", "volumeMounts": [{"name": "v"}]}]}},
    "nested beyond what can be written": {"spec": {"x": nested(300)}},
    "nested beyond what can be read": {"spec": {"x": nested(900)}},
}


def _in_containers(**fields: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "base", **fields}]}}}


TWICE: dict[str, tuple[dict[str, Any], str]] = {
    "two mounts on one path": (
        {"volumeMounts": [{"name": "a", "mountPath": "/etc/s"}, {"name": "b", "mountPath": "/etc/s"}]},
        r"spec.volumeMounts\[1\].mountPath must be unique in its list: /etc/s occurs twice",
    ),
    "two volumes of one name": (
        {"volumes": [{"name": "a", "secret": {"secretName": "one"}}, {"name": "a", "secret": {"secretName": "two"}}]},
        r"spec.volumes\[1\].name must be unique in its list: a ",
    ),
    "volumes of the template": ({"template": {"spec": {"volumes": [{"name": "a"}] * 2}}}, "spec.template.spec.volumes"),
    "mounts of the template": (
        _in_containers(volumeMounts=[{"name": "a", "mountPath": "/a"}] * 2),
        r"containers\[0\].volumeMounts\[1\].mountPath must be unique",
    ),
    "containers": (
        {"template": {"spec": {"containers": [{"name": "base"}] * 2}}},
        r"containers\[1\].name must be uniq",
    ),
    "init containers": ({"initContainers": [{"name": "a"}] * 2}, r"spec.initContainers\[1\].name must be unique"),
    "a long name": ({"volumes": [{"name": "a" * 5000}] * 2}, "unique in its list: a{256} occurs"),
}


@pytest.mark.parametrize(("fields", "words"), TWICE.values(), ids=TWICE)
def test_of_two_in_one_list_none_is_silently_lost(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(podspec.TemplateError, match=words):
        build_raw({"image": "a", **fields})


def test_a_mount_over_the_templates_replaces_it() -> None:
    template = _in_containers(volumeMounts=[{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"}])
    got = build_raw({"image": "a", **template, "volumeMounts": [{"name": "c", "mountPath": "/a"}]})
    assert [(m["name"], m["mountPath"]) for m in got["spec"]["containers"][0]["volumeMounts"]][:2] == [
        ("c", "/a"),
        ("b", "/b"),
    ]


RESTARTED: dict[str, tuple[dict[str, Any], str | None]] = {
    "a container": (_in_containers(restartPolicy="OnFailure"), "restartPolicy of containers: base may only be Never"),
    "a policy of another type": (_in_containers(restartPolicy=[]), "restartPolicy of containers: base may only be"),
    "a container's rules": (
        _in_containers(restartPolicy="Never", restartPolicyRules=[{"action": "Restart"}]),
        "restartPolicyRules of containers: base may not be set: use spec.failurePolicy",
    ),
    "an init container": (
        {"initContainers": [{"name": "i", "restartPolicy": "OnFailure"}]},
        "restartPolicy of initContainers: i may only be Always",
    ),
    "a sidecar's rules": (
        {"template": {"spec": {"initContainers": [{"name": "i", "restartPolicyRules": [{"action": "Restart"}]}]}}},
        "restartPolicyRules of initContainers: i may not be set",
    ),
    "what a Pod of ours has anyway": (_in_containers(restartPolicy="Never", restartPolicyRules=[]), None),
    "nothing": (_in_containers(restartPolicy=None, restartPolicyRules=None), None),
    "a sidecar": ({"initContainers": [{"name": "i", "restartPolicy": "Always"}]}, None),
}


@pytest.mark.parametrize(("fields", "words"), RESTARTED.values(), ids=RESTARTED)
def test_no_container_ends_more_than_once(fields: dict[str, Any], words: str | None) -> None:
    if words is None:
        assert build_raw({"image": "a", **fields})
        return
    with pytest.raises(podspec.TemplateError, match=words):
        build_raw({"image": "a", **fields})


def test_a_pod_printed_by_kubectl_is_a_valid_template() -> None:
    """`kubectl run x --image a --dry-run=client -o yaml`, pasted."""
    printed = {
        "metadata": {"creationTimestamp": None, "labels": {"run": "x"}},
        "spec": {"containers": [{"name": "base", "image": "a", "resources": {}}], "restartPolicy": "Never"},
    }
    got = build_raw({"template": printed})
    assert "creationTimestamp" not in got["metadata"]
    assert got["metadata"]["labels"]["run"] == "x"
    assert got["spec"]["containers"][0]["resources"] == {}


def test_a_number_without_quotes_is_sent_as_it_stands() -> None:
    raw = {"image": "a", "resources": {"requests": {"cpu": 0.5, "memory": 64000000}}}
    assert build_raw(raw)["spec"]["containers"][0]["resources"]["requests"] == {"cpu": 0.5, "memory": 64000000}


@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN)
def test_a_malformed_template_is_refused_in_words(template: Any) -> None:
    with pytest.raises(podspec.TemplateError, match="spec"):
        build_raw({"image": "a", "template": template})


def build_raw(spec: dict[str, Any]) -> dict[str, Any]:
    made = make_task(xcom={})
    raw = msgspec.json.encode({**spec, "xcom": {}})
    return build(MadeTask(msgspec.structs.replace(made.build(), raw_spec=raw)))


def test_a_spec_that_cannot_even_be_decoded_is_refused() -> None:
    raw = b'{"template":{"spec":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}}"
    with pytest.raises(podspec.TemplateError):
        build(MadeTask(msgspec.structs.replace(make_task().build(), raw_spec=raw)))


leaves = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]))
)
keys = st.sampled_from(
    [
        "metadata", "spec", "containers", "initContainers", "name", "env", "volumeMounts", "mountPath", "resources",
        "limits", "requests", "securityContext", "volumes", "labels", "runAsUser", "nodeSelector", "cpu",
    ]
)  # fmt: skip
anything = st.recursive(
    leaves, lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=4), max_leaves=15
)
containers = st.lists(st.dictionaries(keys, anything, max_size=3).map(lambda c: {**c, "name": "base"}), max_size=2)
templates = (
    anything
    | st.fixed_dictionaries({"spec": st.dictionaries(keys, anything, max_size=3)})
    | st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": containers})})
)


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    template=templates, over=st.fixed_dictionaries({}, optional={"volumes": st.lists(st.dictionaries(keys, anything))})
)
def test_any_template_gives_a_pod_or_a_template_error(template: Any, over: dict[str, Any]) -> None:
    """No spec that the CRD accepts raises an unexpected exception."""
    try:
        got = build_raw({"image": "a", "template": template, **over})
    except podspec.TemplateError:
        return
    assert orjson.dumps(got)
