"""How the Pod delivers the result (design, section 5)."""

from typing import Any

import pytest

from podtask.core import xcom_injection
from podtask.core.pod import ContainerSpec
from podtask.core.settings import Settings
from podtask.core.snapshot import XComSpec
from tests.builders import make_pod

GUARANTEED = {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1"}}
BURSTABLE = {"limits": {"cpu": "1"}}


def attached(xcom: dict[str, Any] | None = None, settings: Settings | None = None, **pod: Any) -> dict[str, Any]:
    made = {"containers": [{"name": "base"}], **pod}
    xcom_injection.attach(made, "base", xcom or {}, settings or Settings())
    return made


def sidecar(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["initContainers"][-1]
    assert found["name"] == "podtask-result"
    return found


def test_sidecar() -> None:
    made = attached(initContainers=[{"name": "prep"}])
    got = sidecar(made)
    assert got["restartPolicy"] == "Always"
    assert got["args"] == ["--path=/airflow/xcom/return.json", "--max-bytes=65536", "--inline-bytes=2457"]
    assert got["volumeMounts"] == [{"name": "podtask-result", "mountPath": "/airflow/xcom", "readOnly": True}]
    assert made["volumes"] == [{"name": "podtask-result", "emptyDir": {}}]
    assert "imagePullPolicy" not in got
    assert sidecar(attached(settings=Settings(image_pull_policy="Never")))["imagePullPolicy"] == "Never"


MOUNTS = {
    "at the same place": {"name": "own", "mountPath": "/airflow/xcom"},
    "with a slash at the end": {"name": "own", "mountPath": "/airflow/xcom/"},
    "in a part of it": {"name": "own", "mountPath": "/airflow/xcom", "subPath": "a"},
}


@pytest.mark.parametrize("mount", MOUNTS.values(), ids=MOUNTS)
def test_the_users_own_volume_is_shared(mount: dict[str, str]) -> None:
    made = attached(containers=[{"name": "base", "volumeMounts": [mount]}])
    assert sidecar(made)["volumeMounts"] == [{**mount, "readOnly": True}]
    assert "volumes" not in made


def test_an_expression_in_the_mount_has_its_variables() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    mount = {"name": "own", "mountPath": "/airflow/xcom", "subPathExpr": "$(A)/x"}
    made = attached(containers=[{"name": "base", "volumeMounts": [mount], "env": env}])
    assert sidecar(made)["env"] == env[:1]


def test_and_those_that_they_refer_to() -> None:
    env = [{"name": n, "value": v} for n, v in (("X", "1"), ("B", "2"), ("A", "$(X)"), ("X", "3"), ("C", "$(A)"))]
    mount = {"name": "own", "mountPath": "/airflow/xcom", "subPathExpr": "$(A)/$$(B)"}
    made = attached(containers=[{"name": "base", "volumeMounts": [mount], "env": env}])
    assert [(v["name"], v["value"]) for v in sidecar(made)["env"]] == [("X", "1"), ("A", "$(X)"), ("X", "3")]


ROOT = (0, False, {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]})
USERS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = {
    "nothing is known": ({}, {}, ROOT),
    "main's user": ({}, {"runAsUser": 7}, (7, True, {"drop": ["ALL"]})),
    "the Pod's user": ({"runAsUser": 8}, {}, (8, True, {"drop": ["ALL"]})),
    "main before Pod": ({"runAsUser": 8}, {"runAsUser": 7}, (7, True, {"drop": ["ALL"]})),
    "main is root": ({"runAsUser": 8}, {"runAsUser": 0}, ROOT),
    "not root, and no number": ({}, {"runAsNonRoot": True}, (65532, True, {"drop": ["ALL"]})),
    "not root is false": ({"runAsNonRoot": True}, {"runAsNonRoot": False}, ROOT),
    "null is nothing": ({"runAsUser": 8}, {"runAsUser": None}, (8, True, {"drop": ["ALL"]})),
}


@pytest.mark.parametrize(("of_pod", "of_main", "want"), USERS.values(), ids=USERS)
def test_user(of_pod: dict[str, Any], of_main: dict[str, Any], want: tuple[Any, ...]) -> None:
    made = attached(containers=[{"name": "base", "securityContext": of_main}], securityContext=of_pod)
    got = sidecar(made)["securityContext"]
    assert (got["runAsUser"], got["runAsNonRoot"], got["capabilities"]) == want
    assert got["allowPrivilegeEscalation"] is False
    assert got["readOnlyRootFilesystem"] is True


def test_the_group_goes_with_the_user() -> None:
    made = attached(containers=[{"name": "base", "securityContext": {"runAsUser": 7, "runAsGroup": 0}}])
    assert sidecar(made)["securityContext"]["runAsGroup"] == 0


def test_own_settings_of_the_sidecar_win() -> None:
    wanted = {"resources": {"limits": {"cpu": "1"}}, "securityContext": {"runAsUser": 1}}
    got = sidecar(attached({"sidecar": wanted}))
    assert (got["resources"], got["securityContext"]) == (wanted["resources"], wanted["securityContext"])


@pytest.mark.parametrize("field", ["resources", "securityContext"])
def test_an_explicit_nothing_is_kept(field: str) -> None:
    """Platforms that assign users refuse a container that sets its own."""
    assert sidecar(attached({"sidecar": {field: {}}}))[field] == {}
    assert sidecar(attached({"sidecar": {field: None}}))[field] == sidecar(attached())[field]
    assert sidecar(attached({"sidecar": None})) == sidecar(attached())


BARE = {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "seccompProfile"}
PLATFORM: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing is known": ({}, {}, {}),
    "the Pod's is inherited": ({"runAsUser": 8, "runAsNonRoot": True}, {}, {}),
    "the task's own goes with it": (
        {"runAsUser": 8},
        {"runAsUser": 7, "runAsGroup": 0, "runAsNonRoot": True, "privileged": False},
        {"runAsUser": 7, "runAsGroup": 0, "runAsNonRoot": True},
    ),
    "null is nothing": ({}, {"runAsUser": None}, {}),
}


@pytest.mark.parametrize(("of_pod", "of_main", "want"), PLATFORM.values(), ids=PLATFORM)
def test_a_platform_that_assigns_users_is_left_to_it(
    of_pod: dict[str, Any], of_main: dict[str, Any], want: dict[str, Any]
) -> None:
    settings = Settings(sidecar_security_context="none")
    made = attached(
        settings=settings, containers=[{"name": "base", "securityContext": of_main}], securityContext=of_pod
    )
    got = sidecar(made)["securityContext"]
    assert {key: got[key] for key in got.keys() - BARE} == want
    assert got["capabilities"] == {"drop": ["ALL"]}


QOS: dict[str, tuple[list[Any], bool]] = {
    "guaranteed, in whatever spelling": ([GUARANTEED], True),
    "guaranteed, in thousandths": ([{**GUARANTEED, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], True),
    "less is asked for": ([{**GUARANTEED, "requests": {"cpu": "999m"}}], False),
    "burstable": ([BURSTABLE], False),
    "best effort": ([{}], False),
    "one of two is burstable": ([GUARANTEED, BURSTABLE], False),
}


@pytest.mark.parametrize(("resources", "equal"), QOS.values(), ids=QOS)
def test_resources_are_set_and_equal_where_the_pod_is_guaranteed(resources: list[Any], equal: bool) -> None:
    made = attached(containers=[{"name": n, "resources": r} for n, r in zip(("base", "side"), resources, strict=False)])
    got = sidecar(made)["resources"]
    assert (got["requests"] == got["limits"]) is equal
    assert set(got["requests"]) == {"cpu", "memory"}


def test_the_platforms_amounts_are_those_of_the_sidecar() -> None:
    settings = Settings(sidecar_requests={"cpu": "1m"}, sidecar_limits={"memory": "32Mi"})
    assert sidecar(attached(settings=settings))["resources"] == {
        "requests": {"cpu": "1m"},
        "limits": {"memory": "32Mi"},
    }
    made = attached(settings=settings, containers=[{"name": "base", "resources": GUARANTEED}])
    equal = {"cpu": "1m", "memory": "32Mi"}
    assert sidecar(made)["resources"] == {"requests": equal, "limits": equal}


OF_POD: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, {"cpu", "memory"}),
    "a request": ({"requests": {"cpu": "1"}}, {"memory"}),
    "a limit": ({"limits": {"memory": "1Gi"}}, {"cpu"}),
    "both": ({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}, set()),
}


@pytest.mark.parametrize(("of_pod", "left"), OF_POD.values(), ids=OF_POD)
def test_the_sum_never_goes_over_what_the_pod_has_as_a_whole(of_pod: dict[str, Any], left: set[str]) -> None:
    got = sidecar(attached(resources=of_pod))["resources"]
    assert set(got["requests"]) == set(got["limits"]) == left


MODES: dict[str, tuple[dict[str, Any], int, bool]] = {
    "Direct is direct": ({"mode": "Direct"}, 1, True),
    "Auto with the default size": ({}, 1, False),
    "Auto with a small promise": ({"maxBytes": 4095}, 1, True),
    "Auto with a promise that may be cut": ({"maxBytes": 4096}, 1, False),
    "Auto with many containers": ({"maxBytes": 1000}, 12, False),
    "Auto, a failed task's file is wanted": ({"maxBytes": 100, "onFailure": "Keep"}, 1, False),
}


@pytest.mark.parametrize(("xcom", "count", "direct"), MODES.values(), ids=MODES)
def test_mode(xcom: dict[str, Any], count: int, direct: bool) -> None:
    made = attached(xcom, containers=[{"name": n} for n in ["base", *map(str, range(count - 1))]])
    assert ("initContainers" not in made) is direct
    if direct:
        assert made["containers"][0]["terminationMessagePath"] == "/airflow/xcom/return.json"
        assert made["containers"][0]["terminationMessagePolicy"] == "File"


def test_what_has_arrived_is_judged_by_the_containers_that_there_are() -> None:
    meshed = make_pod().with_init("istio-init").with_container("istio-proxy")
    assert xcom_injection.direct_limit(meshed.build()) == 4096
    debugged = meshed.spec(ephemeral_containers=(ContainerSpec(name="debugger"),))
    assert xcom_injection.direct_limit(debugged.build()) == 3072


@pytest.mark.parametrize(("containers", "want"), [(1, 4096), (2, 3072), (10, 1024), (62, 192)])
def test_message_bytes(containers: int, want: int) -> None:
    assert xcom_injection.message_bytes(containers) == want


def test_what_a_pod_tells_of_its_transport() -> None:
    plain = make_pod().build()
    direct = make_pod().spec(containers=()).with_container("base", termination_message_path="/x/r.json").build()
    assert xcom_injection.is_direct(plain)
    assert not xcom_injection.is_direct(make_pod().with_result().build())
    assert xcom_injection.is_message_result(direct, "base")
    assert not xcom_injection.is_message_result(plain, "base")
    assert not xcom_injection.is_message_result(plain, "none")
    assert xcom_injection.direct_limit(plain) == 4096
    assert xcom_injection.direct_limit(make_pod().spec(containers=()).build()) == 4096
    assert xcom_injection.max_bytes(XComSpec()) == 65536
    assert xcom_injection.max_bytes(XComSpec(max_bytes=5)) == 5
