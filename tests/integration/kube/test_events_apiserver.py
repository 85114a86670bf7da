"""Events as a real API server takes them, and as people see them."""

import asyncio

import pytest

from cluster import Cluster
from podtask.kube.http import HttpClient
from podtask.runtime.event_recorder import Event, EventKind, EventRecorder, ObjectReference
from tests.harness import HANG_SECONDS
from tests.integration.kube.things import make

pytestmark = pytest.mark.apiserver


async def test_describe_shows_them(api: HttpClient, namespace: str, cluster: Cluster) -> None:
    thing = await make(api, namespace, "a" * 253)
    about = ObjectReference("v1", "ConfigMap", namespace, thing.metadata.name, thing.metadata.uid)
    recorder = EventRecorder(api, controller="podtask.dev/controller", instance="i" * 500)
    recorder.record(Event(about, EventKind.WARNING, "AttemptFailed", "CreatePod", "ä" * 5000))
    recorder.record(Event(about, EventKind.NORMAL, "R" * 500, "A" * 500, "quota exceeded"))
    sending = asyncio.create_task(recorder.run())
    async with asyncio.timeout(HANG_SECONDS):
        await recorder.drained()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert recorder.dropped == 0
    shown = await asyncio.to_thread(cluster.kubectl, "describe", "configmap", "-n", namespace, thing.metadata.name)
    assert "AttemptFailed" in shown
    assert "quota exceeded" in shown
    assert "podtask.dev/controller" in shown
