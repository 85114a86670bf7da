"""Create, patch and delete: who is refused, what may change, and when an object is gone."""

import pytest

from podtask.kube import errors
from podtask.kube.client import PODS
from podtask.runtime.decode import PODTASKS

from .objects import FINALIZER, Object, Scene

OTHER_UID = "00000000-0000-0000-0000-000000000000"


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


# ---- create ----


async def test_a_name_is_taken_once(scene: Scene) -> None:
    await scene.create_pod()
    with pytest.raises(errors.Conflict) as refused:
        await scene.create_pod()
    assert refused.value.reason == "AlreadyExists"


async def test_what_is_not_there_is_not_found(scene: Scene) -> None:
    with pytest.raises(errors.NotFound):
        await scene.get(PODS)
    with pytest.raises(errors.NotFound):
        await scene.merge(PODTASKS, {"status": {"phase": "Running"}}, subresource="status")
    with pytest.raises(errors.NotFound):
        await scene.delete(PODS, {"metadata": {"name": "a", "uid": OTHER_UID}})


async def test_a_new_pod_is_pending_and_has_a_grace(scene: Scene) -> None:
    pod = await scene.create_pod(held=True)
    assert pod["status"]["phase"] == "Pending"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30
    assert pod["metadata"]["finalizers"] == [FINALIZER]
    assert {"uid", "resourceVersion", "creationTimestamp"} <= pod["metadata"].keys()


async def test_a_pod_without_containers_is_invalid(scene: Scene) -> None:
    with pytest.raises(errors.Invalid):
        await scene.create_pod(containers=[])


async def test_a_new_task_has_generation_one_and_the_default_status(scene: Scene) -> None:
    body = {"apiVersion": "podtask.dev/v1alpha1", "kind": "PodTask", "metadata": {"name": "a"}, "spec": {"image": "x"}}
    task = await scene.create(PODTASKS, {**body, "status": {"phase": "Succeeded"}})
    assert (task["metadata"]["generation"], task["status"]) == (1, {"phase": "Pending", "observedGeneration": 0})


async def test_a_task_that_breaks_a_rule_is_invalid(scene: Scene) -> None:
    with pytest.raises(errors.Invalid):
        await scene.create_task(podRetention="Keep", podTTLSecondsAfterFinished=1)


# ---- the two halves ----


async def test_status_and_spec_are_written_apart(scene: Scene) -> None:
    await scene.create_task()
    whole = await scene.merge(PODTASKS, {"status": {"phase": "Running"}, "spec": {"suspend": True}})
    assert _halves(whole) == ("Pending", True, 2)
    body = {"status": {"phase": "Running"}, "spec": {"suspend": False}}
    assert _halves(await scene.merge(PODTASKS, body, subresource="status")) == ("Running", True, 2)


def _halves(task: Object) -> tuple[str, bool, int]:
    return task["status"]["phase"], task["spec"]["suspend"], task["metadata"]["generation"]


async def test_a_status_write_takes_no_labels(scene: Scene) -> None:
    await scene.create_task()
    body = {"metadata": {"annotations": {"k": "v"}, "finalizers": ["a.b/c"]}, "status": {"phase": "Running"}}
    task = await scene.merge(PODTASKS, body, subresource="status")
    assert "annotations" not in task["metadata"]
    assert "finalizers" not in task["metadata"]


async def test_null_takes_a_field_away(scene: Scene) -> None:
    await scene.create_task()
    await scene.merge(PODTASKS, {"status": {"phase": "Running", "reason": "Running"}}, subresource="status")
    task = await scene.merge(PODTASKS, {"status": {"reason": None}}, subresource="status")
    assert task["status"] == {"phase": "Running", "observedGeneration": 0}


async def test_a_write_that_changes_nothing_has_no_version(scene: Scene) -> None:
    await scene.create_task()
    # The first write of any kind stores the status that the schema gives by default, so it is no write of nothing.
    before = await scene.merge(PODTASKS, {"metadata": {"annotations": {"k": "v"}}})
    assert _version(await scene.merge(PODTASKS, {"spec": {"image": "x"}})) == _version(before)
    after = await scene.merge(PODTASKS, {"status": {"phase": "Running"}}, subresource="status")
    again = await scene.merge(PODTASKS, {"status": {"phase": "Running"}}, subresource="status")
    assert _version(before) < _version(after) == _version(again)


# ---- fences ----


async def test_an_old_version_is_a_conflict(scene: Scene) -> None:
    old = await scene.create_task()
    await scene.merge(PODTASKS, {"metadata": {"annotations": {"k": "v"}}})
    body = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "status": {"phase": "Running"}}
    with pytest.raises(errors.Conflict) as refused:
        await scene.merge(PODTASKS, body, subresource="status")
    assert refused.value.reason == "Conflict"
    assert (await scene.get(PODTASKS))["status"] == {"phase": "Pending", "observedGeneration": 0}


async def test_an_old_version_of_a_pod_is_a_conflict(scene: Scene) -> None:
    old = await scene.create_pod()
    await scene.merge(PODS, {"metadata": {"annotations": {"k": "v"}}})
    body = {"metadata": {"uid": old["metadata"]["uid"], "resourceVersion": old["metadata"]["resourceVersion"]}}
    with pytest.raises(errors.Conflict):
        await scene.merge(PODS, {**body, "spec": {"activeDeadlineSeconds": 1}})


async def test_another_uid_is_refused_but_for_a_status(scene: Scene) -> None:
    await scene.create_pod(held=True)
    await scene.create_task()
    other = {"metadata": {"uid": OTHER_UID}}
    for resource, spec in ((PODS, {"activeDeadlineSeconds": 1}), (PODTASKS, {"cancel": True})):
        with pytest.raises(errors.Invalid) as refused:
            await scene.merge(resource, {**other, "spec": spec})
        assert "metadata.uid" in refused.value.message
    task = await scene.merge(PODTASKS, {**other, "status": {"phase": "Running"}}, subresource="status")
    assert task["status"]["phase"] == "Running"


async def test_a_release_with_another_uid_is_refused(scene: Scene) -> None:
    await scene.create_pod(held=True)
    with pytest.raises(errors.Invalid) as refused:
        await scene.release(uid=OTHER_UID)
    assert "metadata.uid" in refused.value.message
    assert (await scene.get(PODS))["metadata"]["finalizers"] == [FINALIZER]


async def test_a_delete_with_another_uid_is_a_conflict(scene: Scene) -> None:
    pod = await scene.create_pod()
    task = await scene.create_task()
    for resource, obj in ((PODS, pod), (PODTASKS, task)):
        other = {"metadata": {**obj["metadata"], "uid": OTHER_UID}}
        with pytest.raises(errors.Conflict):
            await scene.delete(resource, other)


# ---- rules of the CRD ----


async def test_a_terminal_phase_is_final_and_counters_never_fall(scene: Scene) -> None:
    await scene.create_task()
    await scene.merge(PODTASKS, {"status": {"phase": "Failed", "attemptCount": 2}}, subresource="status")
    for status in ({"phase": "Running"}, {"phase": "Succeeded"}, {"phase": None}, {"attemptCount": 1}):
        with pytest.raises(errors.Invalid):
            await scene.merge(PODTASKS, {"status": status}, subresource="status")
    kept = await scene.merge(PODTASKS, {"status": {"attemptCount": 3}}, subresource="status")
    assert kept["status"] == {"phase": "Failed", "attemptCount": 3, "observedGeneration": 0}


async def test_a_cancel_is_not_taken_back_and_an_image_stays(scene: Scene) -> None:
    await scene.create_task(cancel=True)
    for spec in ({"cancel": False}, {"image": "y"}):
        with pytest.raises(errors.Invalid):
            await scene.merge(PODTASKS, {"spec": spec})


async def test_a_status_that_is_none_is_invalid(scene: Scene) -> None:
    await scene.create_task()
    for status in ({"phase": "Sleeping"}, {"attemptCount": -1}):
        with pytest.raises(errors.Invalid):
            await scene.merge(PODTASKS, {"status": status}, subresource="status")


# ---- patches of Pods ----


async def test_the_deadline_may_be_set_and_shortened_only(scene: Scene) -> None:
    await scene.create_pod(nodeName="n")
    pod = await scene.merge(PODS, {"spec": {"activeDeadlineSeconds": 5}})
    assert pod["spec"]["activeDeadlineSeconds"] == 5
    await scene.merge(PODS, {"spec": {"activeDeadlineSeconds": 1}})
    for value in (5, 0, None):
        with pytest.raises(errors.Invalid):
            await scene.merge(PODS, {"spec": {"activeDeadlineSeconds": value}})


async def test_other_fields_of_a_pod_stay(scene: Scene) -> None:
    await scene.create_pod()
    with pytest.raises(errors.Invalid):
        await scene.merge(PODS, {"spec": {"nodeName": "n"}})


async def test_gates_may_go(scene: Scene) -> None:
    await scene.create_pod(schedulingGates=[{"name": "a.b/c"}])
    pod = await scene.merge(PODS, {"spec": {"schedulingGates": []}})
    assert not pod["spec"].get("schedulingGates")


async def test_the_status_of_a_pod_is_written_apart(scene: Scene) -> None:
    await scene.create_pod(nodeName="n")
    pod = await scene.merge(PODS, {"status": {"phase": "Running"}, "metadata": {"annotations": {"k": "v"}}})
    assert (pod["status"]["phase"], pod["metadata"]["annotations"]) == ("Pending", {"k": "v"})
    pod = await scene.merge(PODS, {"status": {"phase": "Running"}}, subresource="status")
    assert pod["status"]["phase"] == "Running"


async def test_a_release_spares_other_finalizers_and_may_be_repeated(scene: Scene) -> None:
    await scene.create_pod(held=True)
    await scene.merge(PODS, {"metadata": {"finalizers": [FINALIZER, "other.dev/x"]}})
    for _ in range(2):
        pod = await scene.release()
        assert pod["metadata"]["finalizers"] == ["other.dev/x"]


async def test_strategic_patches_are_not_for_custom_objects(scene: Scene) -> None:
    await scene.create_task()
    with pytest.raises(errors.ApiError) as refused:
        await scene.strategic(PODTASKS, {"spec": {"cancel": True}})
    assert refused.value.code == 415


# ---- deletion ----


async def _is_gone(scene: Scene) -> bool:
    try:
        await scene.get(PODS)
    except errors.NotFound:
        return True
    return False


async def test_a_pod_without_a_node_is_gone_at_once(scene: Scene) -> None:
    await scene.delete(PODS, await scene.create_pod())
    assert await _is_gone(scene)


async def test_a_pod_without_a_node_is_held_by_its_finalizer(scene: Scene) -> None:
    await scene.delete(PODS, await scene.create_pod(held=True))
    pod = await scene.get(PODS)
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 0
    assert "deletionTimestamp" in pod["metadata"]
    await scene.release()
    assert await _is_gone(scene)


async def test_a_pod_on_a_node_waits_for_its_kubelet(scene: Scene) -> None:
    pod = await scene.create_pod(nodeName="n", terminationGracePeriodSeconds=7)
    await scene.delete(PODS, pod)
    waiting = await scene.get(PODS)
    assert waiting["metadata"]["deletionGracePeriodSeconds"] == 7
    await scene.delete(PODS, pod, grace=20)
    await scene.delete(PODS, pod)
    assert (await scene.get(PODS))["metadata"]["deletionGracePeriodSeconds"] == 7
    await scene.delete(PODS, pod, grace=3)
    assert (await scene.get(PODS))["metadata"]["deletionGracePeriodSeconds"] == 3
    await scene.delete(PODS, pod, grace=0)
    assert await _is_gone(scene)


async def test_a_release_before_the_kubelet_is_done_removes_nothing(scene: Scene) -> None:
    pod = await scene.create_pod(nodeName="n", held=True)
    await scene.delete(PODS, pod)
    await scene.release()
    assert (await scene.get(PODS))["metadata"]["deletionGracePeriodSeconds"] == 30
    await scene.delete(PODS, pod, grace=0)
    assert await _is_gone(scene)


async def test_a_forced_delete_is_held_by_the_finalizer(scene: Scene) -> None:
    pod = await scene.create_pod(nodeName="n", held=True)
    await scene.delete(PODS, pod, grace=0)
    assert (await scene.get(PODS))["metadata"]["deletionGracePeriodSeconds"] == 0
    await scene.release()
    assert await _is_gone(scene)


async def test_a_pod_that_has_ended_is_gone_at_once(scene: Scene) -> None:
    pod = await scene.create_pod(nodeName="n")
    await scene.merge(PODS, {"status": {"phase": "Succeeded"}}, subresource="status")
    await scene.delete(PODS, pod)
    assert await _is_gone(scene)


async def test_a_grace_of_nothing_is_no_grace(scene: Scene) -> None:
    """terminationGracePeriodSeconds 0: the API gives the Pod up while it may still run."""
    pod = await scene.create_pod(nodeName="n", held=True, terminationGracePeriodSeconds=0)
    await scene.delete(PODS, pod)
    assert (await scene.get(PODS))["metadata"]["deletionGracePeriodSeconds"] == 0


async def test_no_finalizer_joins_a_deletion(scene: Scene) -> None:
    await scene.delete(PODS, await scene.create_pod(held=True))
    with pytest.raises(errors.ApiError) as refused:
        await scene.merge(PODS, {"metadata": {"finalizers": [FINALIZER, "other.dev/x"]}})
    assert refused.value.code in {403, 422}


async def test_a_name_is_free_again_after_the_release_and_the_uid_is_another(scene: Scene) -> None:
    first = await scene.create_pod(held=True)
    await scene.delete(PODS, first)
    with pytest.raises(errors.Conflict):
        await scene.create_pod()
    await scene.release()
    second = await scene.create_pod()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


async def test_a_task_goes_at_once_or_waits_for_finalizers(scene: Scene) -> None:
    await scene.delete(PODTASKS, await scene.create_task())
    task = await scene.create_task()
    await scene.merge(PODTASKS, {"metadata": {"finalizers": ["other.dev/x"]}})
    await scene.delete(PODTASKS, task)
    going = await scene.get(PODTASKS)
    assert "deletionTimestamp" in going["metadata"]
    assert going["metadata"]["generation"] == 2
    written = await scene.merge(PODTASKS, {"status": {"phase": "Running"}}, subresource="status")
    assert written["status"]["phase"] == "Running"
    await scene.merge(PODTASKS, {"metadata": {"finalizers": None}})
    with pytest.raises(errors.NotFound):
        await scene.get(PODTASKS)
