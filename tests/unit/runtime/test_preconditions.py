"""The checks before the start, on a scripted server."""

import logging

import pytest

from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient, Limits
from podtask.runtime import preconditions
from tests.unit.kube.doubles import Answer, ScriptedServer, refuses, says, serving

LISTED = '{"metadata": {"resourceVersion": "1"}, "items": []}'


def said(text: str) -> Answer:
    return says(text.encode())


def version(major: str, minor: str) -> str:
    return f'{{"major": "{major}", "minor": "{minor}", "gitVersion": "v{major}.{minor}.3"}}'


async def checked(server: ScriptedServer, namespace: str = "") -> None:
    api = HttpClient(ClusterConfig(server.url), limits=Limits(read_seconds=1))
    try:
        await preconditions.check(api, namespace, pause_seconds=0)
    finally:
        await api.close()


@pytest.mark.parametrize(("major", "minor"), [("1", "29"), ("1", "34"), ("1", "30+"), ("2", "0"), ("", "")])
async def test_a_new_enough_or_unknown_version_is_accepted(major: str, minor: str) -> None:
    async with serving() as server:
        server.script = [said(version(major, minor)), said(LISTED)]
        await checked(server, "team")
        assert [seen.target for seen in server.seen] == [
            "/version",
            "/apis/podtask.dev/v1alpha1/namespaces/team/podtasks?limit=1",
        ]


@pytest.mark.parametrize(("major", "minor"), [("1", "28"), ("1", "9+"), ("0", "40")])
async def test_a_version_that_is_too_old_is_named(major: str, minor: str) -> None:
    async with serving() as server:
        server.script = [said(version(major, minor))]
        with pytest.raises(
            preconditions.PreconditionError, match=rf"Kubernetes v{major}\.\S+ is too old: PodTask needs 1\.29"
        ):
            await checked(server)


async def test_a_crd_that_is_created_late_is_waited_for() -> None:
    async with serving() as server:
        server.script = [said(version("1", "34")), *[refuses(404)] * 3, said(LISTED)]
        await checked(server)
        assert server.script == []


async def test_a_missing_crd_is_named_with_the_command() -> None:
    async with serving() as server:
        server.script = [said(version("1", "34")), *[refuses(404)] * preconditions.CRD_ATTEMPTS]
        with pytest.raises(preconditions.PreconditionError, match=r"crds.enabled=true.*kubectl apply --server-side"):
            await checked(server)


async def test_a_failed_check_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        server.script = [said(version("1", "20"))]
        assert not await preconditions.are_met(ClusterConfig(server.url), "")
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.exc_info is None


async def test_an_unreachable_server_does_not_prevent_the_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server:
        server.script = [refuses(403)]
        assert await preconditions.are_met(ClusterConfig(server.url), "")
    assert "could not be checked" in caplog.text
