"""How the result leaves the Pod (design, section 5)."""

from typing import Any

import pytest

from podtask.core import transport
from podtask.core.observed import XComSpec
from podtask.core.plan import Settings
from tests.builders import make_pod

GUARANTEED = {"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1"}}
BURSTABLE = {"limits": {"cpu": "1"}}


def attached(xcom: dict[str, Any] | None = None, settings: Settings | None = None, **pod: Any) -> dict[str, Any]:
    made = {"containers": [{"name": "base"}], **pod}
    transport.attach(made, "base", xcom or {}, settings or Settings())
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


ROOT = (0, False, {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]})
USERS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = {
    "nothing is known": ({}, {}, ROOT),
    "main's user": ({}, {"runAsUser": 7}, (7, True, {"drop": ["ALL"]})),
    "the Pod's user": ({"runAsUser": 8}, {}, (8, True, {"drop": ["ALL"]})),
    "main before Pod": ({"runAsUser": 8}, {"runAsUser": 7}, (7, True, {"drop": ["ALL"]})),
    "main is root": ({"runAsUser": 8}, {"runAsUser": 0}, ROOT),
    "not root, and no number": ({}, {"runAsNonRoot": True}, (65532, True, {"drop": ["ALL"]})),
    "not root is false": ({"runAsNonRoot": True}, {"runAsNonRoot": False}, ROOT),
    "null is nothing": ({"runAsUser": 8}, {"runAsUser": None}, ROOT),
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


QOS: dict[str, tuple[list[Any], bool]] = {
    "guaranteed, in whatever spelling": ([GUARANTEED], True),
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


@pytest.mark.parametrize(("containers", "want"), [(1, 4096), (2, 3072), (10, 1024), (62, 192)])
def test_message_bytes(containers: int, want: int) -> None:
    assert transport.message_bytes(containers) == want


def test_what_a_pod_tells_of_its_transport() -> None:
    plain = make_pod().build()
    direct = make_pod().spec(containers=()).with_container("base", termination_message_path="/x/r.json").build()
    assert transport.is_direct(plain)
    assert not transport.is_direct(make_pod().with_result().build())
    assert transport.is_message_result(direct, "base")
    assert not transport.is_message_result(plain, "base")
    assert not transport.is_message_result(plain, "none")
    assert transport.direct_limit(plain) == 4096
    assert transport.max_bytes(XComSpec()) == 65536
    assert transport.max_bytes(XComSpec(max_bytes=5)) == 5
