"""The informer against a real API server that is cut off, restarted and compacted."""

import asyncio
import urllib.parse
from dataclasses import replace

import aiohttp
import pytest

from cluster import Cluster
from podtask.kube import errors
from podtask.kube.client import PatchType
from podtask.kube.config import ClusterConfig
from podtask.kube.http import HttpClient
from tests.integration.kube.cuttable import relaying
from tests.integration.kube.things import CONFIG_MAPS, decode, following, make, read_all, remove

pytestmark = pytest.mark.apiserver


async def compact(cluster: Cluster, revision: str) -> None:
    url = f"http://127.0.0.1:{cluster.record.placement.etcd_port}/v3/kv/compaction"
    body = {"revision": revision, "physical": True}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        assert response.status == 200, await response.text()


async def restart(cluster: Cluster) -> None:
    # Killed: a goodbye would take seconds, and be the gentler test.
    await asyncio.to_thread(cluster.signal, "apiserver", "KILL")
    await asyncio.to_thread(cluster.wait_ready)


async def test_it_follows_a_busy_namespace(api: HttpClient, namespace: str) -> None:
    async with following(api, namespace) as followed:

        async def live(number: int) -> None:
            thing = await make(api, namespace, f"a{number}", owner=f"o{number % 10}")
            reply = await api.patch(CONFIG_MAPS, namespace, f"a{number}", b'{"data":{"x":"y"}}', PatchType.MERGE)
            followed.informer.put(decode(reply))
            if number % 2:
                await remove(api, thing)

        await asyncio.gather(*(live(number) for number in range(200)))
        want = await read_all(api, namespace)
        await followed.until(lambda: followed.stored == want)
        assert len(want) == 100
        assert len(followed.informer.by_index("o2")) == 20
        followed.check_story()


async def test_a_restart_of_the_api_server(api: HttpClient, namespace: str, cluster: Cluster) -> None:
    before = await make(api, namespace, "before")
    async with following(api, namespace) as followed:
        await restart(cluster)
        after = await make(api, namespace, "after")
        await remove(api, before)
        want = await read_all(api, namespace)
        await followed.until(lambda: followed.stored == want)
        assert set(want) == {after.metadata.uid}
        followed.check_story()


async def test_neither_page_nor_position_outlives_its_revision(
    api: HttpClient, namespace: str, cluster: Cluster
) -> None:
    for number in range(4):
        await make(api, namespace, f"a{number}")
    page = await api.list_page(CONFIG_MAPS, read=bytes, namespace=namespace, limit=2)
    newest = await make(api, namespace, "newest")
    await compact(cluster, newest.metadata.resource_version)
    await restart(cluster)
    with pytest.raises(errors.Gone):
        await api.list_page(CONFIG_MAPS, read=bytes, namespace=namespace, limit=2, continue_token=page.continue_token)
    with pytest.raises(errors.Gone):
        await anext(api.watch(CONFIG_MAPS, namespace=namespace, resource_version=page.resource_version))


async def test_changes_during_a_gap_that_ends_with_a_410(
    api: HttpClient, namespace: str, cluster: Cluster, connection: ClusterConfig
) -> None:
    address = urllib.parse.urlsplit(connection.server)
    assert address.port is not None
    kept, dead = await make(api, namespace, "kept"), await make(api, namespace, "dead")
    twin = await make(api, namespace, "twin")
    async with relaying("127.0.0.1", address.port) as relay:
        behind = HttpClient(replace(connection, server=f"https://127.0.0.1:{relay.listening_on}"))
        async with following(behind, namespace, page_size=2) as followed:
            assert len(followed.stored) == 3
            followed.changes.clear()
            relay.accepting = False
            relay.cut()
            await remove(api, dead)
            await remove(api, twin)
            newest = await make(api, namespace, "twin")
            await compact(cluster, newest.metadata.resource_version)
            await restart(cluster)
            relay.accepting = True
            want = await read_all(api, namespace)
            await followed.until(lambda: followed.stored == want)
            assert set(want) == {kept.metadata.uid, newest.metadata.uid}
            assert {old.metadata.uid for old, new in followed.changes if old and not new} == {
                dead.metadata.uid,
                twin.metadata.uid,
            }
        await behind.close()


async def test_two_thousand_objects_come_and_go_while_the_watch_is_cut(
    api: HttpClient, namespace: str, connection: ClusterConfig
) -> None:
    address = urllib.parse.urlsplit(connection.server)
    assert address.port is not None
    async with relaying("127.0.0.1", address.port) as relay:
        behind = HttpClient(replace(connection, server=f"https://127.0.0.1:{relay.listening_on}"))
        async with following(behind, namespace) as followed:

            async def live(number: int) -> None:
                thing = await make(api, namespace, f"a{number}")
                if number % 3:
                    await remove(api, thing)
                if number % 100 == 0:
                    relay.cut()

            await asyncio.gather(*(live(number) for number in range(2000)))
            want = await read_all(api, namespace)
            await followed.until(lambda: followed.stored == want)
            assert len(want) == 667
            assert relay.accepted > 2, "it was cut, and came back"
            followed.check_story()
        await behind.close()
