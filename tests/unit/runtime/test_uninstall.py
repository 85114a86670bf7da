"""Removing the finalizer, on a scripted server."""

import json
import logging
from typing import Any

import pytest

from podtask import __main__ as command_line
from podtask.kube import errors
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient, Limits
from podtask.runtime import handlers, uninstall
from tests.unit.kube.doubles import Answer, ScriptedServer, refuses, says, serving

OURS = "podtask.dev/outcome"


def said(text: str) -> Answer:
    return says(text.encode())


def pod(name: str, *finalizers: str) -> dict[str, Any]:
    held = {"finalizers": list(finalizers)} if finalizers else {}
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", **held}}


def page(*pods: dict[str, Any], token: str = "") -> str:
    return json.dumps({"metadata": {"resourceVersion": "1", "continue": token}, "items": list(pods)})


async def released(server: ScriptedServer) -> int:
    api = HttpClient(ClusterConfig(server.url), limits=Limits(write_seconds=1, read_seconds=1))
    try:
        return await uninstall.release_until_none(api, "", settle_seconds=0)
    finally:
        await api.close()


async def test_only_our_finalizer_is_removed() -> None:
    async with serving() as server:
        server.script = [
            said(page(pod("a", OURS), pod("free"), token="more")),
            said("{}"),
            said(page(pod("b", "other.dev/x", OURS), pod("foreign", "other.dev/x"))),
            said("{}"),
            said(page()),
        ]
        assert await released(server) == 2
        patches = [seen for seen in server.seen if seen.method == "PATCH"]
        assert [seen.target.partition("?")[0] for seen in patches] == [f"/api/v1/namespaces/ns/pods/{n}" for n in "ab"]
        assert json.loads(patches[0].body) == {
            "metadata": {"uid": "uid-a", "$deleteFromPrimitiveList/finalizers": [OURS]}
        }
        assert patches[0].headers["Content-Type"] == "application/strategic-merge-patch+json"
        listed = [seen.target for seen in server.seen if seen.method == "GET"]
        assert not [target for target in listed if "labelSelector" in target], "labels may have been removed"
        assert "continue=more" in listed[1]


@pytest.mark.parametrize("code", [404, 409])
async def test_a_deleted_or_replaced_pod_is_not_counted(code: int) -> None:
    async with serving() as server:
        server.script = [said(page(pod("a", OURS))), refuses(code), said(page())]
        assert await released(server) == 0


def invalid(message: str) -> Answer:
    status = {"kind": "Status", "reason": "Invalid", "code": 422, "message": message}
    return says(json.dumps(status).encode(), status=422)


async def test_a_pod_created_again_under_the_name_is_left_to_the_next_round() -> None:
    other_uid = 'Pod "a" is invalid: metadata.uid: Invalid value: "uid-a": field is immutable'
    async with serving() as server:
        server.script = [
            said(page(pod("a", OURS), pod("b", OURS))),
            invalid(other_uid),
            said("{}"),
            said(page(pod("a", OURS))),
            said("{}"),
            said(page()),
        ]
        assert await released(server) == 2
        assert server.script == []


async def test_a_pod_that_cannot_be_patched_is_an_error() -> None:
    async with serving() as server:
        server.script = [said(page(pod("a", OURS))), invalid('Pod "a" is invalid: spec: Forbidden')]
        with pytest.raises(errors.Invalid):
            await released(server)


async def test_a_pod_created_by_a_stopping_controller_is_found_in_the_next_round() -> None:
    async with serving() as server:
        server.script = [
            said(page()),
            said(page(pod("late", OURS))),
            said("{}"),
            said(page()),
        ]
        assert await released(server) == 1
        assert server.script == []


async def test_a_refusal_is_an_error() -> None:
    async with serving() as server:
        server.script = [said(page(pod("a", OURS))), refuses(403)]
        with pytest.raises(errors.Forbidden):
            await released(server)


async def lease_deleted(server: ScriptedServer, followed: str = "") -> None:
    api = HttpClient(ClusterConfig(server.url), limits=Limits(write_seconds=1, read_seconds=1))
    try:
        await uninstall.delete_lease(api, "system", followed)
    finally:
        await api.close()


@pytest.mark.parametrize(("followed", "name"), [("", "podtask-controller"), ("team", "podtask-controller-team")])
async def test_the_lease_is_deleted_by_uid(followed: str, name: str) -> None:
    async with serving() as server:
        server.script = [said(json.dumps(pod(name))), said("{}")]
        await lease_deleted(server, followed)
        assert [seen.method for seen in server.seen] == ["GET", "DELETE"]
        path = f"/apis/coordination.k8s.io/v1/namespaces/system/leases/{name}"
        assert {seen.target.partition("?")[0] for seen in server.seen} == {path}
        assert json.loads(server.seen[1].body)["preconditions"] == {"uid": f"uid-{name}"}


async def test_a_missing_lease_is_no_error() -> None:
    async with serving() as server:
        server.script = [refuses(404)]
        await lease_deleted(server)
        assert [seen.method for seen in server.seen] == ["GET"]


async def test_a_lease_created_again_is_not_deleted() -> None:
    async with serving() as server:
        server.script = [said(json.dumps(pod("podtask-controller"))), refuses(409)]
        await lease_deleted(server)
        assert server.script == []


@pytest.mark.parametrize(("fault", "code"), [(None, 0), (errors.Forbidden("no"), 1)])
def test_the_exit_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: errors.ApiError | None, code: int
) -> None:
    async def release(_: object, namespace: str) -> int:
        assert namespace == "team"
        if fault:
            raise fault
        return 3

    async def delete_lease(_: object, lease_namespace: str, followed: str) -> None:
        deleted.append((lease_namespace, followed))

    deleted: list[tuple[str, str]] = []
    monkeypatch.setattr(handlers, "cluster_config", lambda: ClusterConfig("http://localhost"))
    monkeypatch.setattr(uninstall, "release_until_none", release)
    monkeypatch.setattr(uninstall, "delete_lease", delete_lease)
    monkeypatch.setattr(uninstall.logs, "configure", lambda *_: None)
    words = ["podtask", "release-finalizers", "--namespace=team", "--lease-namespace=system"]
    monkeypatch.setattr(command_line.sys, "argv", words)
    caplog.set_level(logging.INFO)
    assert command_line.main() == code
    assert ("may still have the finalizer" if fault else "finalizer removed") in caplog.text
    assert deleted == ([] if fault else [("system", "team")])
