"""Each argument of KubernetesPodOperator is in the table, is read in every form, and is refused with a sentence."""

import datetime as dt
import enum
import inspect
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import models as k8s
from podtask_airflow import __main__ as command
from podtask_airflow import constants
from podtask_airflow.secret import Secret
from podtask_airflow.utils import arguments
from podtask_airflow.utils.arguments import ARGUMENTS, DEFAULTS, TEMPLATED, ArgumentError, Kind, Since

KPO_10_25 = [
    "name",
    "random_name_suffix",
    "namespace",
    "labels",
    "annotations",
    "hostname",
    "subdomain",
    "image",
    "image_pull_policy",
    "image_pull_secrets",
    "cmds",
    "arguments",
    "ports",
    "base_container_name",
    "init_containers",
    "termination_message_policy",
    "env_vars",
    "env_from",
    "configmaps",
    "secrets",
    "pod_runtime_info_envs",
    "container_resources",
    "priority_class_name",
    "runtime_class_name",
    "volumes",
    "volume_mounts",
    "node_selector",
    "affinity",
    "tolerations",
    "schedulername",
    "hostnetwork",
    "host_aliases",
    "dnspolicy",
    "dns_config",
    "service_account_name",
    "automount_service_account_token",
    "security_context",
    "container_security_context",
    "xcom_sidecar_container_security_context",
    "startup_timeout_seconds",
    "schedule_timeout_seconds",
    "startup_check_interval_seconds",
    "base_container_status_polling_interval",
    "active_deadline_seconds",
    "termination_grace_period",
    "on_finish_action",
    "on_kill_action",
    "is_delete_operator_pod",
    "durable",
    "reattach_on_restart",
    "skip_on_exit_code",
    "get_logs",
    "container_logs",
    "init_container_logs",
    "log_events_on_startup",
    "log_events_on_failure",
    "log_pod_spec_on_failure",
    "container_name_log_prefix_enabled",
    "log_formatter",
    "progress_callback",
    "logging_interval",
    "do_xcom_push",
    "deferrable",
    "poll_interval",
    "trigger_kwargs",
    "callbacks",
    "kubernetes_conn_id",
    "in_cluster",
    "cluster_context",
    "config_file",
    "pod_template_file",
    "pod_template_dict",
    "full_pod_spec",
]
GUIDE = ["resources", "is_delete_operator_pod", "reattach_on_restart", "full_pod_spec", "pod_template_file", "volumes"]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "airflow" / "arguments.md"


class OnFinish(str, enum.Enum):  # noqa: UP042 - as the original has it
    KEEP_POD = "keep_pod"


class Unresolved:
    """As an XComArg."""


def _read(**given: Any) -> arguments.Arguments:
    return arguments.parse(arguments.prepare(given))


def test_every_argument_of_the_original_is_there() -> None:
    assert len(KPO_10_25) == 73
    assert [it.name for it in ARGUMENTS if it.since is Since.KPO] != []
    assert {it.name for it in ARGUMENTS if it.since is Since.KPO} == set(KPO_10_25)


def test_the_guides_names_are_there() -> None:
    assert set(GUIDE) <= DEFAULTS.keys()


def test_the_original_itself_has_no_other() -> None:
    """Runs where the original is installed (the environment kpo-*)."""
    original = pytest.importorskip("airflow.providers.cncf.kubernetes.operators.pod").KubernetesPodOperator
    signature = inspect.signature(original.__init__).parameters.values()
    theirs = {it.name: it.default for it in signature if it.kind is inspect.Parameter.KEYWORD_ONLY}
    assert theirs.keys() == set(KPO_10_25)
    ours = {"reattach_on_restart", "hostnetwork", "termination_message_policy", "deferrable"}
    assert {name: DEFAULTS[name] for name in theirs.keys() - ours} == {
        name: getattr(default, "value", default) for name, default in theirs.items() if name not in ours
    }
    assert set(original.template_fields) <= {*TEMPLATED, "trigger_kwargs"}


def test_the_operator_has_these_arguments_and_defaults() -> None:
    pytest.importorskip("airflow")
    operator = pytest.importorskip("podtask_airflow.operators.podtask").PodTaskOperator
    signature = inspect.signature(operator.__init__).parameters.values()
    found = {it.name: it.default for it in signature if it.kind is inspect.Parameter.KEYWORD_ONLY}
    assert found.keys() == DEFAULTS.keys()
    assert {name: found[name] for name in found if name != "deferrable"} == {
        name: default for name, default in DEFAULTS.items() if name != "deferrable"
    }
    assert set(TEMPLATED) <= set(operator.template_fields)


ANYTHING: set[str] = set()
"""Arguments that may be of any type."""


def test_each_argument_has_a_type_and_a_line_of_help() -> None:
    """What an IDE and help(PodTaskOperator) show. Every name in the types exists."""
    pytest.importorskip("airflow")
    module = pytest.importorskip("podtask_airflow.operators.podtask")
    original = inspect.unwrap(module.PodTaskOperator.__init__)
    names = {"k8s": k8s, "CallbackClass": type, "Secret": Secret}
    types = typing.get_type_hints(original, {**vars(module), **names})
    documented = re.findall(r"^:param (\w+): \S", inspect.getdoc(module.PodTaskOperator) or "", re.MULTILINE)
    assert documented == [it.name for it in ARGUMENTS]
    assert {name for name in documented if _is_any(types[name])} == ANYTHING


def _is_any(kind: object) -> bool:
    return kind in (Any, object) or any(part is Any for part in typing.get_args(kind))


def test_the_help_is_the_table() -> None:
    pytest.importorskip("airflow")
    operator = pytest.importorskip("podtask_airflow.operators.podtask").PodTaskOperator
    assert command.docstring() in operator.__doc__, (
        "paste `python -m podtask_airflow arguments --docstring` into PodTaskOperator"
    )


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == command.markdown(), (
        "python -m podtask_airflow arguments --markdown > docs/airflow/arguments.md"
    )


def test_each_line_says_enough() -> None:
    for it in ARGUMENTS:
        assert bool(it.field) == (it.kind is Kind.MAPPED), it.name
        assert it.note or it.copied, f"{it.name}: say what becomes of it"


def test_templated_are_all_that_hold_text() -> None:
    never = {"random_name_suffix", "callbacks", "log_formatter", "deferrable", "end_from_trigger", "container_logs"}
    assert never.isdisjoint(TEMPLATED)
    guide = {"image", "cmds", "arguments", "env_vars", "labels", "config_file", "pod_template_file", "namespace"}
    assert guide <= set(TEMPLATED)


# Values in every form

SECOND = dt.timedelta(seconds=1)
READ: dict[str, tuple[dict[str, Any], str, Any]] = {
    "env as a dict": ({"env_vars": {"A": 1, "B": None}}, "env_vars", [{"name": "A", "value": "1"}, {"name": "B"}]),
    "env as models": (
        {"env_vars": [k8s.V1EnvVar(name="A", value="a")]},
        "env_vars",
        [{"name": "A", "value": "a"}],
    ),
    "env as text": (
        {"env_vars": "{A: 1, B: {b: 2}}"},
        "env_vars",
        [{"name": "A", "value": "1"}, {"name": "B", "value": '{"b": 2}'}],
    ),
    "env as text of a list": ({"env_vars": "- {name: A, value: 1}"}, "env_vars", [{"name": "A", "value": "1"}]),
    "a boolean as Jinja writes it": ({"env_vars": {"A": True}}, "env_vars", [{"name": "A", "value": "True"}]),
    "an empty env": ({"env_vars": {}}, "env_vars", []),
    "runtime info as models": (
        {
            "pod_runtime_info_envs": [
                k8s.V1EnvVar(
                    name="IP",
                    value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="status.podIP")),
                )
            ]
        },
        "pod_runtime_info_envs",
        [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    ),
    "runtime info as it was": (
        {"pod_runtime_info_envs": [{"name": "IP", "field_path": "status.podIP"}]},
        "pod_runtime_info_envs",
        [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    ),
    "a command": ({"cmds": ["sh", "-c", 5]}, "cmds", ["sh", "-c", "5"]),
    "a command as text of a list": ({"cmds": "['sh', '-c']"}, "cmds", ["sh", "-c"]),
    "no command": ({"cmds": []}, "cmds", []),
    "pull secrets with commas": (
        {"image_pull_secrets": "a, b.c,"},
        "image_pull_secrets",
        [{"name": "a"}, {"name": "b.c"}],
    ),
    "pull secrets as models": (
        {"image_pull_secrets": [k8s.V1LocalObjectReference(name="a"), "b"]},
        "image_pull_secrets",
        [{"name": "a"}, {"name": "b"}],
    ),
    "resources as a model": (
        {"container_resources": k8s.V1ResourceRequirements(requests={"cpu": "5m"}, limits={"memory": "1Gi"})},
        "container_resources",
        {"requests": {"cpu": "5m"}, "limits": {"memory": "1Gi"}},
    ),
    "resources with fractions": (
        {"container_resources": {"requests": {"cpu": 0.5, "memory": 5}, "limits": {"cpu": 1e-05}}},
        "container_resources",
        {"requests": {"cpu": "0.5", "memory": 5}, "limits": {"cpu": "0.00001"}},
    ),
    "resources of old": (
        {
            "resources": {
                "request_memory": "1Gi",
                "request_cpu": 1,
                "limit_memory": "2Gi",
                "limit_cpu": 0.00001,
                "limit_gpu": "1",
                "limit_ephemeral_storage": "5Gi",
                "request_ephemeral_storage": None,
            }
        },
        "container_resources",
        {
            "requests": {"memory": "1Gi", "cpu": 1},
            "limits": {"memory": "2Gi", "cpu": "0.00001", "nvidia.com/gpu": "1", "ephemeral-storage": "5Gi"},
        },
    ),
    "resources as a model under the old name": (
        {"resources": k8s.V1ResourceRequirements(limits={"cpu": "1"})},
        "container_resources",
        {"limits": {"cpu": "1"}},
    ),
    "affinity as text": ({"affinity": "nodeAffinity: {}"}, "affinity", {"nodeAffinity": {}}),
    "affinity as a model": (
        {"affinity": k8s.V1Affinity(pod_affinity=k8s.V1PodAffinity())},
        "affinity",
        {"podAffinity": {}},
    ),
    "tolerations mixed": (
        {"tolerations": [k8s.V1Toleration(key="a"), {"key": "b"}, "{key: c}"]},
        "tolerations",
        [{"key": "a"}, {"key": "b"}, {"key": "c"}],
    ),
    "labels": ({"labels": {"a": None, "b": 1}}, "labels", {"a": "", "b": "1"}),
    "the old node selector": ({"node_selectors": {"a": "b"}}, "node_selector", {"a": "b"}),
    "one exit code": ({"skip_on_exit_code": 99}, "skip_on_exit_code", [99]),
    "exit codes": ({"skip_on_exit_code": range(3, 1, -1)}, "skip_on_exit_code", [2, 3]),
    "an exit code that Jinja wrote": ({"skip_on_exit_code": "7"}, "skip_on_exit_code", [7]),
    "seconds that Jinja wrote": ({"startup_timeout_seconds": "30"}, "startup_timeout_seconds", 30),
    "seconds as a timedelta": ({"active_deadline_seconds": 90.5 * SECOND}, "active_deadline_seconds", 91),
    "no grace at all": ({"termination_grace_period": 0}, "termination_grace_period", 0),
    "an explicit no": ({"hostnetwork": False}, "hostnetwork", False),
    "a flag that Jinja wrote": ({"hostnetwork": "True"}, "hostnetwork", True),
    "an action as an enum": ({"on_finish_action": OnFinish.KEEP_POD}, "on_finish_action", "keep_pod"),
    "delete, as it was said": ({"is_delete_operator_pod": True}, "on_finish_action", "delete_pod"),
    "keep, as it was said": ({"is_delete_operator_pod": False}, "on_finish_action", "keep_pod"),
    "not durable": ({"durable": False}, "reattach_on_restart", False),
    "xcom_push": ({"xcom_push": True}, "do_xcom_push", True),
    "log of one container": ({"container_logs": "a"}, "container_logs", ["a"]),
    "log of several": ({"container_logs": ("a", "b")}, "container_logs", ["a", "b"]),
    "log of all": ({"init_container_logs": True}, "init_container_logs", True),
    "a policy as its rules": (
        {"failure_policy": [{"action": "Fail"}]},
        "failure_policy",
        {"rules": [{"action": "Fail"}]},
    ),
    "deadlines, one taken away": (
        {"deadlines": {"startSeconds": None, "runSeconds": "5"}},
        "deadlines",
        {"startSeconds": None, "runSeconds": 5},
    ),
    "deadlines as text": ({"deadlines": "{startSeconds: null}"}, "deadlines", {"startSeconds": None}),
    "a raw spec with nulls": (
        {"spec": "{suspend: true, deadlines: null}"},
        "spec",
        {"suspend": True, "deadlines": None},
    ),
    "one callback class": ({"callbacks": Unresolved}, "callbacks", [Unresolved]),
    "several": ({"callbacks": (Unresolved, OnFinish)}, "callbacks", [Unresolved, OnFinish]),
    "text that only looks like a template, once rendered": ({"image": "a"}, "image", "a"),
    "a name that native rendering made a number": ({"queue_name": 7}, "queue_name", "7"),
    "a timeout": ({"execution_timeout": SECOND}, "execution_timeout", SECOND),
}


@pytest.mark.parametrize("case", READ)
def test_read(case: str) -> None:
    given, name, want = READ[case]
    assert getattr(_read(**given), name) == want


UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown argument": ({"imagee": "a"}, "imagee is not an argument of PodTaskOperator"),
    "trigger_kwargs": (
        {"trigger_kwargs": {"a": 1}},
        "trigger_kwargs is not supported: .* keep such values on the operator",
    ),
    "two templates": (
        {"pod_template_file": "a", "pod_template_dict": {}},
        "pod_template_file and pod_template_dict exclude each other; keep one",
    ),
    "a result that is not collected": ({"xcom_required": True}, "needs do_xcom_push=True"),
    "an end that no trigger sees": ({"end_from_trigger": True}, "needs deferrable=True"),
    "an old and a new name that differ": (
        {"is_delete_operator_pod": True, "on_finish_action": "keep_pod"},
        "is_delete_operator_pod and on_finish_action contradict each other",
    ),
    "two kinds of resources": (
        {"resources": {"limit_cpu": 1}, "container_resources": {"limits": {"cpu": 2}}},
        "resources and container_resources contradict",
    ),
    "a misspelt resource": (
        {"resources": {"request_mem": 1}},
        "container_resources has the key 'request_mem': use request_",
    ),
    "a policy word": (
        {"image_pull_policy": "Sometimes"},
        "must be one of Always, IfNotPresent, Never, not 'Sometimes'",
    ),
    "an action": ({"on_finish_action": "delete"}, "on_finish_action must be one of delete_pod, "),
    "a command in one string": ({"cmds": "echo hello"}, "cmds must be a list of strings, not 'echo hello'"),
    "a list for a dict": ({"affinity": ["a"]}, r"affinity must be an object \(.*\), not list"),
    "broken YAML": ({"affinity": "{a: ["}, "affinity is not valid YAML"),
    "a label that is none": ({"labels": {"a": "b c"}}, "labels has a='b c': .* put longer text into annotations"),
    "a label that is too long": ({"labels": {"a": "b" * 64}}, "labels has a="),
    "a name with a blank": ({"name": "my task"}, "name may hold up to 220 letters, .*'my task'"),
    "a name that leaves nothing": ({"name": "äö__"}, "name needs at least one letter a-z"),
    "a name that is too long": ({"name": "a" * 221}, "name may hold up to 220"),
    "a namespace": ({"namespace": "My_Space"}, "namespace must be at most 63 lower case"),
    "success as a reason to skip": ({"skip_on_exit_code": [0, 1]}, "skip_on_exit_code contains 0, which means success"),
    "no seconds": ({"startup_timeout_seconds": 0}, "startup_timeout_seconds must be at least 1 second"),
    "negative seconds": ({"termination_grace_period": -1}, "must not be negative, but is -1"),
    "half a second": ({"active_deadline_seconds": 0.5}, "must be a whole number, not 0.5"),
    "a flag for a number": ({"active_deadline_seconds": True}, "must be a whole number, not True"),
    "a number for a flag": ({"hostnetwork": 1}, "hostnetwork must be True or False, not 1"),
    "a deadline of another name": (
        {"deadlines": {"start": 5}},
        "deadlines has 'start', but there are only scheduleSeconds",
    ),
    "deadlines that are none": ({"deadlines": [5]}, "deadlines must be a dict with some of scheduleSeconds"),
    "a variable without a name": (
        {"env_vars": [{"value": "x"}]},
        "env_vars has a variable without a name; its keys are value",
    ),
    "a flag for an image": ({"image": True}, "image must be a string, not True"),
    "two mounts on one path": (
        {"volume_mounts": [{"name": name, "mountPath": "/etc/s"} for name in "ab"]},
        "volume_mounts has two entries with the mountPath '/etc/s'; Kubernetes takes one, so remove one",
    ),
    "two secrets on one path": (
        {"secrets": [Secret("volume", "/etc/s", name) for name in ("one", "two")]},
        "secrets has two entries with the mountPath '/etc/s'",
    ),
    "a secret on a volume's path": (
        {"secrets": [Secret("volume", "/etc/s", "one")], "volume_mounts": [{"name": "a", "mountPath": "/etc/s"}]},
        "volume_mounts, with secrets, has two entries with the mountPath '/etc/s'",
    ),
    "two volumes of one name": (
        {"volumes": [{"name": "a", "secret": {"secretName": name}} for name in ("one", "two")]},
        "volumes has two entries with the name 'a'",
    ),
    "two init containers of one name": (
        {"init_containers": [{"name": "a", "image": image} for image in "xy"]},
        "init_containers has two entries with the name 'a'",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_refused_while_the_dag_is_parsed(case: str) -> None:
    given, message = UNSUPPORTED[case]
    with pytest.raises(ArgumentError, match=message):
        arguments.prepare(given)
    with pytest.raises(ArgumentError, match=message):
        arguments.parse(given)


def test_a_message_never_shows_a_structure() -> None:
    with pytest.raises(ArgumentError) as caught:
        arguments.prepare({"cmds": {"PASSWORD": "hidden"}})
    assert str(caught.value) == "cmds must be a list of strings, not dict"


def test_what_is_not_known_yet_is_left_alone() -> None:
    later = Unresolved()
    given = {
        "image": "{{ params.image }}",
        "namespace": "{{ UPPER }}",
        "cmds": later,
        "arguments": [later, "{{ ds }}"],
        "env_vars": {"{{ key }}": later},
        "labels": {"a": "{{ 'b c' }}"},
        "skip_on_exit_code": "{{ code }}",
        "resources": {"request_cpu": "{{ cpu }}"},
    }
    assert arguments.prepare(given) == {
        "image": "{{ params.image }}",
        "namespace": "{{ UPPER }}",
        "cmds": later,
        "arguments": [later, "{{ ds }}"],
        "env_vars": [{"name": "{{ key }}", "value": later}],
        "labels": {"a": "{{ 'b c' }}"},
        "skip_on_exit_code": "{{ code }}",
        "container_resources": {"request_cpu": "{{ cpu }}"},
    }


def test_rules_between_arguments_wait_for_what_they_read() -> None:
    arguments.prepare({"xcom_required": True, "do_xcom_push": "{{ x }}"})
    with pytest.raises(ArgumentError, match="needs do_xcom_push"):
        arguments.parse({"xcom_required": True, "do_xcom_push": "False"})


def test_what_is_rendered_may_look_like_a_template() -> None:
    """Nothing is rendered twice, and nothing that was rendered is taken for unrendered."""
    assert arguments.parse({"arguments": ["{{ kept }}"]}).arguments == ["{{ kept }}"]


def test_none_means_not_given() -> None:
    assert arguments.parse(dict.fromkeys(DEFAULTS)) == arguments.Arguments()


def test_defaults_are_read_as_they_are() -> None:
    assert arguments.parse(DEFAULTS) == arguments.Arguments()


def test_callbacks_are_not_looked_into() -> None:
    formatter = Unresolved()
    assert arguments.prepare({"log_formatter": formatter, "callbacks": Unresolved}) == {
        "log_formatter": formatter,
        "callbacks": Unresolved,
    }


# Names

LABELS = {
    "plain": "plain",
    "with.dot-and_line": "with.dot-and_line",
    "scheduled__2026-01-02T00:00:00+00:00": "scheduled__2026-01-02T0000000000-bfedf5754",
    "a" * 64: "a" * 53 + "-014842d48",
    "_edge_": "edge-c86abd817",
    "": "",
}


@pytest.mark.parametrize("text", LABELS)
def test_labels_are_the_originals(text: str) -> None:
    assert constants.safe_label(text) == LABELS[text]
    assert constants.is_label_value(constants.safe_label(text))


@pytest.mark.parametrize("text", ["é", "___", "x" * 53 + ".y" * 9])
def test_any_id_makes_a_label(text: str) -> None:
    assert constants.is_label_value(constants.safe_label(text))


def test_labels_are_the_originals_where_it_is_installed() -> None:
    original = pytest.importorskip("airflow.providers.cncf.kubernetes.pod_generator").make_safe_label_value
    texts = [*LABELS, "a b", "é-a", "a_é", "-.a.-", "ä" * 70 + "b", "x" * 53 + ".y" * 9, "run__1+2:3"]
    assert {text: constants.safe_label(text) for text in texts} == {text: original(text) for text in texts}


@pytest.mark.parametrize(
    ("text", "want"), [("Hello_World.1", "hello-world-1"), ("--a--", "a"), ("ä", ""), ("A  B", "a-b")]
)
def test_slug(text: str, want: str) -> None:
    assert constants.slug(text) == want
