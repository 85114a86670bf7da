"""Leader election at every edge: two replicas, one Lease, and a clock that the tests control."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podtask.kube import errors
from podtask.runtime import election
from podtask.runtime.election import DURATION_SECONDS, MARGIN_SECONDS, RENEW_SECONDS, LeadershipLost
from tests.unit.runtime.lease_model import LeaseServer, Replica, live

GATE_SECONDS = DURATION_SECONDS - MARGIN_SECONDS
Story = Callable[[LeaseServer], Awaitable[None]]


def in_virtual_time(story: Story) -> Callable[[], None]:
    """Make a test that runs in virtual time and begins with an empty server."""

    async def begin() -> None:
        await story(LeaseServer())

    def test() -> None:
        live(begin())

    test.__name__ = story.__name__  # type: ignore[attr-defined]
    test.__qualname__ = story.__name__  # type: ignore[attr-defined]
    return test


def now() -> float:
    return asyncio.get_running_loop().time()


def may_write(replica: Replica) -> bool:
    try:
        replica.election.check()
    except errors.NotLeader:
        return False
    return True


async def both(server: LeaseServer) -> tuple[Replica, Replica]:
    """A leader, and a follower that has seen it."""
    first = Replica(server, "a")
    await first.wait_until_leader()
    second = Replica(server, "b")
    await asyncio.sleep(1.0)
    return first, second


@in_virtual_time
async def test_the_first_replica_leads_and_the_second_does_not(server: LeaseServer) -> None:
    first, second = await both(server)
    assert first.terms[0][0] < 0.1
    await asyncio.sleep(600)
    assert (len(first.terms[0]), second.terms) == (1, [])
    assert may_write(first)
    assert not may_write(second)
    assert server.selected == {"ns/metadata.name=l"}


@in_virtual_time
async def test_one_of_two_simultaneous_replicas_leads(server: LeaseServer) -> None:
    replicas = [Replica(server, name) for name in "ab"]
    await asyncio.sleep(60)
    assert sorted(len(replica.terms) for replica in replicas) == [0, 1]


@in_virtual_time
async def test_the_lease_is_renewed_every_two_seconds_and_followers_watch_it(server: LeaseServer) -> None:
    await both(server)
    server.asked.clear()
    await asyncio.sleep(100)
    verbs = [verb for _, verb in server.asked]
    assert set(verbs) == {"patch"}
    assert 45 <= len(verbs) <= 100 / RENEW_SECONDS


@in_virtual_time
async def test_a_clean_stop_hands_over_at_once(server: LeaseServer) -> None:
    first, second = await both(server)
    stopped_at = await first.stop()
    assert not may_write(first)
    assert await second.wait_until_leader() - stopped_at < 0.2


@in_virtual_time
async def test_a_stop_in_the_middle_of_a_renewal_hands_over_at_once(server: LeaseServer) -> None:
    first, second = await both(server)
    renewals = len(server.history)
    while len(server.history) == renewals:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.001)
    stopped_at = await first.stop()  # the renewal is done, and its reply is on its way
    assert await second.wait_until_leader() - stopped_at < 0.2


@in_virtual_time
async def test_a_follower_takes_over_when_the_lease_of_a_killed_leader_expires(server: LeaseServer) -> None:
    first, second = await both(server)
    first.task.cancel()
    died_at = now()
    waited = await second.wait_until_leader() - died_at
    assert DURATION_SECONDS - RENEW_SECONDS <= waited <= DURATION_SECONDS + 0.2


@in_virtual_time
async def test_a_follower_has_an_open_connection_when_the_lease_expires(server: LeaseServer) -> None:
    """On a busy machine opening a connection takes seconds, which would delay the takeover."""
    first, second = await both(server)
    first.task.cancel()
    server.asked.clear()
    took = await second.wait_until_leader()
    (looked, verb), (reached, change) = server.asked
    assert (verb, change) == ("get", "patch")
    assert 2.0 < reached - looked <= 2.5
    assert took - reached < 0.1


@in_virtual_time
async def test_a_hanging_read_times_out_before_the_lease_expires(server: LeaseServer) -> None:
    first, second = await both(server)
    first.task.cancel()
    await asyncio.sleep(DURATION_SECONDS - RENEW_SECONDS - 1.6)
    server.hangs = True
    await asyncio.sleep(2.0)
    server.hangs = False
    assert await second.wait_until_leader() < now() + 3.0


@in_virtual_time
async def test_a_hanging_acquire_is_retried_after_its_timeout(server: LeaseServer) -> None:
    first, second = await both(server)
    first.task.cancel()
    await asyncio.sleep(second.election._available_at - second.election._now() - 0.01)
    free, server.hangs = now(), True
    await asyncio.sleep(1.0)
    server.hangs = False
    assert await second.wait_until_leader() - free < 2.0 + 0.5 + 0.1


@in_virtual_time
async def test_leadership_is_lost_if_the_server_is_unreachable_until_the_deadline(server: LeaseServer) -> None:
    first, second = await both(server)
    last = server.asked[-1][0]
    server.cut()
    assert isinstance(await first.ended(), LeadershipLost)
    assert not may_write(first)
    # The deadline counts from before the last renewal with a reply was sent.
    assert now() - last <= GATE_SECONDS
    assert first.terms[0][1] == pytest.approx(last + GATE_SECONDS, abs=0.05)
    assert second.terms == []
    await asyncio.sleep(60)
    server.away = False
    assert await second.wait_until_leader() - now() < 1.1


@in_virtual_time
async def test_leadership_is_kept_if_the_server_is_unreachable_for_less(server: LeaseServer) -> None:
    first, second = await both(server)
    server.cut()
    await asyncio.sleep(4)
    server.away = False
    await asyncio.sleep(60)
    assert (len(first.terms[0]), second.terms) == (1, [])


@in_virtual_time
async def test_leadership_is_lost_if_renewals_hang(server: LeaseServer) -> None:
    first, _ = await both(server)
    last = server.asked[-1][0]
    server.hangs = True
    assert isinstance(await first.ended(), LeadershipLost)
    assert now() == pytest.approx(last + GATE_SECONDS, abs=0.05)


@in_virtual_time
async def test_writes_are_refused_before_another_replica_leads(server: LeaseServer) -> None:
    first, second = await both(server)
    first.task.cancel()  # no renewal; only `check` is called
    first.election._valid_until = server.asked[-1][0] + GATE_SECONDS
    while may_write(first):  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.01)
    closed_at = now()
    assert await second.wait_until_leader() - closed_at >= MARGIN_SECONDS - 0.1


@in_virtual_time
async def test_a_renewal_without_a_reply_neither_extends_nor_loses_the_lease(server: LeaseServer) -> None:
    first, second = await both(server)
    server.lose_replies = 1
    before = first.election._valid_until
    while server.lose_replies:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.01)
    assert first.election._valid_until == before
    await asyncio.sleep(60)
    assert (len(first.terms[0]), second.terms) == (1, [])


@in_virtual_time
async def test_a_slow_renewal_counts_from_when_it_was_sent(server: LeaseServer) -> None:
    first = Replica(server, "a")
    await first.wait_until_leader()
    server.latency = 0.9
    await asyncio.sleep(20)
    sent_at = [at for at, verb in server.asked if verb == "patch" and at + 1.8 <= now()][-1]
    assert first.election._valid_until == sent_at + GATE_SECONDS


@in_virtual_time
async def test_a_lease_taken_by_another_holder_is_lost(server: LeaseServer) -> None:
    first, second = await both(server)
    server.steal("c")
    stolen_at = now()
    assert isinstance(await first.ended(), LeadershipLost)
    assert now() - stolen_at <= RENEW_SECONDS + 0.1
    assert not may_write(first)
    assert await second.wait_until_leader() - stolen_at >= DURATION_SECONDS
    assert server.lease is not None
    await first.election.release()
    assert server.holder == "b", "another holder's Lease is not released"


@in_virtual_time
async def test_a_deleted_lease_is_created_again_by_its_holder(server: LeaseServer) -> None:
    first, second = await both(server)
    server.write(None)
    await asyncio.sleep(60)
    assert (len(first.terms[0]), second.terms, server.holder) == (1, [], "a")


@in_virtual_time
async def test_a_lease_deleted_after_its_holder_was_killed_is_waited_for(server: LeaseServer) -> None:
    first, second = await both(server)
    first.task.cancel()
    last = server.asked[-1][0]
    await asyncio.sleep(1)
    server.write(None)
    assert await second.wait_until_leader() - last >= DURATION_SECONDS


@in_virtual_time
async def test_a_lease_deleted_while_a_replica_starts_is_created_again_by_its_holder(server: LeaseServer) -> None:
    """A replica that starts at that moment has not seen its holder, but sees tasks that have begun."""
    first = Replica(server, "a")
    await first.wait_until_leader()
    await asyncio.sleep(1.0)
    server.write(None)
    second = Replica(server, "b", has_work=True)
    await asyncio.sleep(60)
    assert (server.holder, len(first.terms[0]), second.terms) == ("a", 1, [])


@in_virtual_time
async def test_a_replica_that_finds_no_lease_leads_after_its_duration(
    server: LeaseServer,
) -> None:
    begun = now()
    replica = Replica(server, "a", has_work=True)
    assert DURATION_SECONDS <= await replica.wait_until_leader() - begun < DURATION_SECONDS + 0.1


@in_virtual_time
async def test_a_lease_deleted_and_acquired_by_another_is_lost(server: LeaseServer) -> None:
    first, _ = await both(server)
    lease = server.lease
    server.write(None)
    server.write(lease)
    server.steal("c")
    assert isinstance(await first.ended(), LeadershipLost)


@in_virtual_time
async def test_a_follower_with_a_silent_watch_does_not_acquire_the_lease(server: LeaseServer) -> None:
    first, second = await both(server)
    server.mute_watches = True
    server.asked.clear()
    await asyncio.sleep(300)
    tries = [at for at, verb in server.asked if verb == "get"]
    assert 0 < len(tries) <= 300 / (DURATION_SECONDS - 2.5), "each read reports what is there"
    assert second.terms == []
    assert len(first.terms[0]) == 1


@in_virtual_time
async def test_an_acquire_without_a_reply_is_recognised(server: LeaseServer) -> None:
    server.lose_replies = 1
    first = Replica(server, "a")
    assert await first.wait_until_leader() < 2


@in_virtual_time
async def test_a_suspended_leader_writes_nothing_after_it_resumes(server: LeaseServer) -> None:
    """SIGSTOP or a suspended machine: the clock advances, and no callback runs before the write is tried."""
    first, _ = await both(server)
    first.skew += GATE_SECONDS
    assert not may_write(first)
    assert isinstance(await first.ended(), LeadershipLost)


@in_virtual_time
async def test_an_error_of_the_workers_ends_the_election(server: LeaseServer) -> None:
    async def fail() -> None:
        raise ValueError("a defect")

    replica = Replica(server, "a")
    replica._lead = fail  # type: ignore[method-assign]
    replica.task.cancel()
    with pytest.raises(ValueError, match="a defect"):
        await replica.election.run(fail)
    assert not may_write(replica)


@in_virtual_time
async def test_a_release_does_not_fail_if_the_server_is_unreachable(server: LeaseServer) -> None:
    first, _ = await both(server)
    first.task.cancel()
    server.cut()
    await first.election.release()
    assert server.holder == "a"


def test_two_processes_of_a_pod_have_different_identities() -> None:
    names = {election.identity({"POD_NAME": "podtask-0"}) for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("podtask-0_") for name in names)
    assert election.identity({})


def test_controllers_of_different_namespaces_do_not_exclude_each_other() -> None:
    assert election.lease_name("") == "podtask-controller"
    assert election.lease_name("team") == "podtask-controller-team"


def test_the_lease_is_in_our_own_namespace(tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("podtask-system\n")
    assert election.lease_namespace("", file) == "podtask-system"
    assert election.lease_namespace("asked", file) == "asked"
    with pytest.raises(OSError, match="No such file"):
        election.lease_namespace("", tmp_path / "none")


def test_a_write_that_passed_the_check_is_sent_before_another_replica_leads() -> None:
    assert election.CONNECT_SECONDS < MARGIN_SECONDS
    assert 2 * election.REQUEST_SECONDS + election.RENEW_SECONDS + 0.5 < GATE_SECONDS, "time for a second try"
