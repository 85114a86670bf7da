"""The client against a real API server: what the server does with what we send."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from podtask.kube import errors
from podtask.kube.client import PODS, EventType, PatchType
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient
from tests.harness import HANG_SECONDS
from tests.integration.kube.things import CONFIG_MAPS, config_map, decode, make, read_all, remove

pytestmark = pytest.mark.apiserver

POD = {
    "metadata": {"name": "p", "finalizers": ["podtask.dev/attempt", "example.com/other"]},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


async def test_create_get_and_a_name_taken(api: HttpClient, namespace: str) -> None:
    made = await make(api, namespace, "a", x="1")
    assert decode(await api.get(CONFIG_MAPS, namespace, "a")) == made
    with pytest.raises(errors.Conflict) as caught:
        await make(api, namespace, "a")
    assert caught.value.reason == "AlreadyExists"


async def test_a_misspelt_field_is_refused(api: HttpClient, namespace: str) -> None:
    pod = orjson.dumps(POD | {"spec": {"containers": [{"name": "c", "image": "i", "comand": ["x"]}]}})
    with pytest.raises(errors.BadRequest, match="comand"):
        await api.create(PODS, namespace, pod)


async def test_an_invalid_object_names_its_field(api: HttpClient, namespace: str) -> None:
    with pytest.raises(errors.Invalid, match=r"spec\.containers: Required") as caught:
        await api.create(PODS, namespace, orjson.dumps({"metadata": {"name": "p"}, "spec": {"containers": []}}))
    assert caught.value.reason == "Invalid"


async def test_what_is_not_there(api: HttpClient, namespace: str) -> None:
    with pytest.raises(errors.NotFound):
        await api.get(CONFIG_MAPS, namespace, "a")
    with pytest.raises(errors.NotFound):
        await api.patch(CONFIG_MAPS, namespace, "a", b"{}", PatchType.MERGE)
    with pytest.raises(errors.NotFound):
        await api.delete(CONFIG_MAPS, namespace, "a", uid="u")


async def test_a_merge_patch_and_its_version(api: HttpClient, namespace: str) -> None:
    made = await make(api, namespace, "a", x="1", y="2")
    changed = decode(await api.patch(CONFIG_MAPS, namespace, "a", b'{"data":{"x":null,"z":"3"}}', PatchType.MERGE))
    assert changed.data == {"y": "2", "z": "3"}
    stale = {"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"z": "4"}}
    with pytest.raises(errors.Conflict) as caught:
        await api.patch(CONFIG_MAPS, namespace, "a", orjson.dumps(stale), PatchType.MERGE)
    assert caught.value.reason == "Conflict"


async def test_a_finalizer_is_released_without_touching_others(api: HttpClient, namespace: str) -> None:
    made = decode(await api.create(PODS, namespace, orjson.dumps(POD)))
    await api.delete(PODS, namespace, "p", uid=made.metadata.uid, grace_seconds=0)
    release = {"metadata": {"uid": made.metadata.uid, "$deleteFromPrimitiveList/finalizers": ["podtask.dev/attempt"]}}
    wrong = {"metadata": release["metadata"] | {"uid": "another"}}
    with pytest.raises(errors.Invalid, match=r"metadata\.uid"):  # for a Pod; a ConfigMap answers with a Conflict
        await api.patch(PODS, namespace, "p", orjson.dumps(wrong), PatchType.STRATEGIC)
    for _ in range(2):  # the second time there is nothing to do, and that is no error
        left = decode(await api.patch(PODS, namespace, "p", orjson.dumps(release), PatchType.STRATEGIC))
        assert left.metadata.finalizers == ("example.com/other",)
        assert left.metadata.deletion_timestamp is not None
    last = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/other"]}}
    await api.patch(PODS, namespace, "p", orjson.dumps(last), PatchType.STRATEGIC)
    with pytest.raises(errors.NotFound):
        await api.get(PODS, namespace, "p")


async def test_a_patch_of_a_status(api: HttpClient, namespace: str) -> None:
    await api.create(PODS, namespace, orjson.dumps(POD))
    body = orjson.dumps({"status": {"phase": "Running"}, "spec": {"activeDeadlineSeconds": 1}})
    got = orjson.loads(await api.patch(PODS, namespace, "p", body, PatchType.MERGE, subresource="status"))
    assert got["status"]["phase"] == "Running"
    assert "activeDeadlineSeconds" not in got["spec"]


async def test_writes_are_signed(api: HttpClient, namespace: str) -> None:
    await make(api, namespace, "a", z="1")
    got = orjson.loads(await api.patch(CONFIG_MAPS, namespace, "a", b'{"data":{"x":"y"}}', PatchType.MERGE))
    assert {entry["manager"] for entry in got["metadata"]["managedFields"]} == {"podtask"}


async def test_a_delete_spares_another_of_the_same_name(api: HttpClient, namespace: str) -> None:
    first = await make(api, namespace, "a")
    await remove(api, first)
    second = await make(api, namespace, "a")
    with pytest.raises(errors.Conflict):
        await remove(api, first)
    assert decode(await api.get(CONFIG_MAPS, namespace, "a")) == second


async def test_pages_are_of_one_moment(api: HttpClient, namespace: str) -> None:
    await asyncio.gather(*(make(api, namespace, f"a{number}") for number in range(7)))
    first = await api.list_page(CONFIG_MAPS, read=bytes, namespace=namespace, limit=3)
    await make(api, namespace, "a99")
    seen, page = list(first.items), first
    while page.continue_token:
        page = await api.list_page(
            CONFIG_MAPS, read=bytes, namespace=namespace, limit=3, continue_token=page.continue_token
        )
        assert page.resource_version == first.resource_version
        seen += page.items
    assert [decode(item).metadata.name for item in seen] == [f"a{number}" for number in range(7)]
    assert len(await read_all(api, namespace)) == 8


async def test_a_selector(api: HttpClient, namespace: str) -> None:
    await api.create(CONFIG_MAPS, namespace, config_map("a", {}, {"k": "v"}))
    await make(api, namespace, "b")
    page = await api.list_page(CONFIG_MAPS, read=bytes, namespace=namespace, selector="k in (v, w)")
    assert [decode(item).metadata.name for item in page.items] == ["a"]


async def test_a_watch_from_a_list(api: HttpClient, namespace: str) -> None:
    page = await api.list_page(CONFIG_MAPS, read=bytes, namespace=namespace)
    made = await make(api, namespace, "a", big="x" * 900_000)
    await remove(api, made)
    got = []
    stream = api.watch(CONFIG_MAPS, namespace=namespace, resource_version=page.resource_version)
    async with asyncio.timeout(HANG_SECONDS):
        for _ in range(2):
            event = await anext(stream)
            got.append((event.type, decode(event.object)))
    await stream.aclose()
    assert got[0] == (EventType.ADDED, made)
    kind, gone = got[1]
    assert (kind, gone.metadata.uid) == (EventType.DELETED, made.metadata.uid)
    assert int(gone.metadata.resource_version) > int(made.metadata.resource_version), "the version of the deletion"


async def test_an_unusable_page_token(api: HttpClient, namespace: str) -> None:
    with pytest.raises(errors.BadRequest):
        await api.list_page(CONFIG_MAPS, read=bytes, namespace=namespace, continue_token="nonsense")


async def test_nobody_is_let_in_with_a_wrong_token(connection: ClusterConfig) -> None:
    unknown = HttpClient(replace(connection, client_cert_data=b"", client_key_data=b"", token="wrong"))
    with pytest.raises(errors.Unauthorized):
        await unknown.get(CONFIG_MAPS, "default", "a")
    with pytest.raises(errors.Unauthorized):
        await anext(unknown.watch(CONFIG_MAPS, resource_version="1"))
    await unknown.close()


async def test_who_has_no_rights_is_forbidden(connection: ClusterConfig) -> None:
    anonymous = HttpClient(replace(connection, client_cert_data=b"", client_key_data=b""))
    with pytest.raises(errors.Forbidden, match="configmaps"):
        await anonymous.create(CONFIG_MAPS, "default", config_map("a", {}))
    await anonymous.close()


async def test_another_authority_is_not_believed(connection: ClusterConfig) -> None:
    stranger = HttpClient(replace(connection, ca_data=b""), jitter=lambda: 0.0)
    with pytest.raises(errors.TransportError, match="not sent"):
        async with asyncio.timeout(HANG_SECONDS):
            await anext(stranger.watch(CONFIG_MAPS, resource_version="1"))
    await stranger.close()
