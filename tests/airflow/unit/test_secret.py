"""Airflow's Secret objects, recognised by their attributes, and what they become."""

from typing import Any

import pytest
from podtask_airflow import secret
from podtask_airflow.utils import arguments, manifest
from podtask_airflow.utils.arguments import ArgumentError


class AirflowSecret:
    """As airflow.providers.cncf.kubernetes.secret.Secret, whose package need not be installed."""

    def __init__(self, deploy_type: str, deploy_target: Any, secret: str, key: Any = None, items: Any = None) -> None:
        self.deploy_type = deploy_type
        self.deploy_target = deploy_target.upper() if deploy_target and deploy_type == "env" else deploy_target
        self.secret = secret
        self.key = key
        self.items = items or []


def _spec(*secrets: Any, **more: Any) -> dict[str, Any]:
    prepared = arguments.prepare({"image": "a", "secrets": list(secrets), **more})
    return manifest.build(arguments.parse(prepared), None)["spec"]


def test_a_key_as_a_variable() -> None:
    want = [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]
    assert _spec(AirflowSecret("env", "db_password", "db", "password"))["env"] == want
    assert _spec(secret.Secret("env", "db_password", "db", "password"))["env"] == want
    assert (
        _spec({"deploy_type": "env", "deploy_target": "DB_PASSWORD", "secret": "db", "key": "password"})["env"] == want
    )


def test_the_exact_case_on_request() -> None:
    assert (
        _spec(secret.Secret("env", "dbPassword", "db", "password", exact_case=True))["env"][0]["name"] == "dbPassword"
    )


def test_a_whole_secret_as_variables() -> None:
    assert _spec(AirflowSecret("env", None, "db"))["envFrom"] == [{"secretRef": {"name": "db"}}]


def test_a_volume() -> None:
    spec = _spec(AirflowSecret("volume", "/etc/db", "db", items=[{"key": "a", "path": "b"}]))
    (volume,) = spec["volumes"]
    assert volume["secret"] == {"secretName": "db", "items": [{"key": "a", "path": "b"}]}
    assert spec["volumeMounts"] == [{"name": volume["name"], "mountPath": "/etc/db", "readOnly": True}]


def test_the_manifest_is_the_same_each_time() -> None:
    """KubernetesPodOperator draws a new volume name for each build."""
    assert _spec(AirflowSecret("volume", "/a", "db")) == _spec(AirflowSecret("volume", "/a", "db"))


def test_two_mounts_of_one_secret_are_two_volumes() -> None:
    spec = _spec(AirflowSecret("volume", "/a", "db"), AirflowSecret("volume", "/b", "db"))
    assert len({volume["name"] for volume in spec["volumes"]}) == 2


def test_they_come_after_what_else_was_given() -> None:
    spec = _spec(
        AirflowSecret("env", "A", "db", "a"),
        AirflowSecret("env", None, "db"),
        env_vars={"B": "b"},
        env_from=[{"configMapRef": {"name": "c"}}],
        configmaps=["d"],
    )
    assert [variable["name"] for variable in spec["env"]] == ["B", "A"]
    assert spec["envFrom"] == [
        {"configMapRef": {"name": "c"}},
        {"configMapRef": {"name": "d"}},
        {"secretRef": {"name": "db"}},
    ]


def test_jinja_in_a_secret_is_seen() -> None:
    prepared = arguments.prepare({"secrets": [AirflowSecret("volume", "/a", "db-{{ ds }}")]})
    assert prepared["secrets"][0]["secret"] == "db-{{ ds }}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"deploy_type": "file", "deploy_target": "a", "secret": "b"}, "secrets has the deploy_type 'file'.*'volume'"),
        ({"deploy_type": "env", "secret": "b", "key": "k"}, "secrets has no deploy_target for 'b'"),
        ({"deploy_type": "volume", "secret": "b"}, "secrets has no deploy_target for 'b'"),
        ({"deploy_type": "env", "deploy_target": "a"}, "secrets has an entry with no `secret`"),
        ({"deploy_type": "env", "secret": "b", "typo": 1}, "secrets has an entry with unknown 'typo'"),
    ],
)
def test_what_is_wrong_is_said(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        arguments.prepare({"secrets": [data]})
