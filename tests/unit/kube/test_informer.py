"""The informer against a server whose every page and event the test lets go by hand."""

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podtask.kube import errors
from podtask.kube.client import PODS, Client
from podtask.kube.informer import Informer
from podtask.kube.store import Codec
from tests.unit.kube.cluster_model import ClusterModel, Thing, decode, meta, owner, settle
from tests.unit.kube.doubles import JumpingClock

Change = tuple[Thing | None, Thing | None]


@dataclass
class World:
    """A server, the informer that follows it, and all that the informer said."""

    api: ClusterModel
    clock: JumpingClock = field(default_factory=JumpingClock)
    changes: list[Change] = field(default_factory=list)
    undecodable: list[bytes] = field(default_factory=list)
    page_size: int = 2
    informer: Informer[Thing] = field(init=False)

    def __post_init__(self) -> None:
        self.informer = Informer(
            cast("Client", self.api),
            PODS,
            decode=decode,
            codec=Codec(pickle.dumps, pickle.loads),
            meta=meta,
            index=owner,
            on_change=self.on_change,
            on_undecodable=lambda raw, _error: self.undecodable.append(raw),
            time_source=self.clock,
            jitter=lambda: 0.5,
            page_size=self.page_size,
            relist_seconds=1000,
        )

    def on_change(self, old: Thing | None, new: Thing | None) -> None:
        self.changes.append((old, new))

    def take_changes(self) -> list[tuple[str | None, str | None]]:
        """The changes since the last look, as uid@version."""
        got = [(show(old), show(new)) for old, new in self.changes]
        self.changes.clear()
        return got

    @property
    def stored(self) -> dict[str, str]:
        return {thing.uid: thing.version for thing in self.informer.objects()}

    @property
    def true(self) -> dict[str, str]:
        return {
            uid: cast("dict[str, Any]", obj["metadata"])["resourceVersion"] for uid, obj in self.api.objects.items()
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.informer.run())
        await settle()
        try:
            yield
            assert not task.done(), "the informer ended"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def show(thing: Thing | None) -> str | None:
    return None if thing is None else f"{thing.uid}@{thing.version}"


@pytest.fixture
def world() -> World:
    return World(ClusterModel())


async def test_it_lists_by_pages_and_then_watches_from_there(world: World) -> None:
    for name in "abcde":
        world.api.create(name)
    assert not world.informer.synced
    async with world.running():
        await world.informer.wait_synced()
        assert world.api.asked == ["list", "list 15.2", "list 15.4", "watch 15"]
        assert world.stored == world.true
        assert len(world.informer) == 5
        world.take_changes()
        world.api.create("f")
        world.api.modify("a-1")
        world.api.delete("b-2")
        await settle()
        assert world.take_changes() == [(None, "f-6@16"), ("a-1@11", "a-1@17"), ("b-2@12", None)]
        assert world.stored == world.true
        assert world.informer.get("b-2") is None


async def test_pages_follow_the_size_of_the_objects() -> None:
    world = World(ClusterModel(), page_size=300)
    for number in range(500):
        world.api.create(f"a{number}")
    for number in range(30):
        world.api.create(f"b{number}", text="x" * 1_000_000)
    async with world.running():
        assert world.stored == world.true
        assert world.api.limits[:4] == [50, 100, 200, 300]
        # The fourth had 150 small ones and all the large.
        world.api.break_watch(errors.Gone("too old", code=410))
        await settle()
        assert world.api.limits[4] == 25
        assert world.stored == world.true


async def test_a_page_has_one_object_at_least() -> None:
    world = World(ClusterModel(), page_size=300)
    for number in range(3):
        world.api.create(f"a{number}", text="x" * 5_000_000)
    world.api.page_size = 1
    async with world.running():
        assert world.api.limits == [50, 1, 1]
        assert world.stored == world.true


async def test_a_name_made_again_is_another_object(world: World) -> None:
    world.api.create("a")
    async with world.running():
        world.take_changes()
        world.api.delete("a-1")
        world.api.create("a")
        await settle()
        assert world.take_changes() == [("a-1@11", None), (None, "a-2@13")]
        assert set(world.stored) == {"a-2"}


async def test_the_index_follows(world: World) -> None:
    world.api.create("a", owner="x")
    world.api.create("b", owner="x")
    world.api.create("c")
    async with world.running():
        assert [thing.uid for thing in world.informer.by_index("x")] == ["a-1", "b-2"]
        world.api.modify("a-1", owner="y")
        world.api.delete("b-2")
        await settle()
        assert world.informer.by_index("x") == ()
        assert [thing.uid for thing in world.informer.by_index("y")] == ["a-1"]


async def test_a_cut_watch_resumes_where_it_stopped(world: World) -> None:
    async with world.running():
        world.api.create("a")
        await settle()
        world.api.break_watch(errors.TransportError("cut"))
        await settle()
        world.api.create("b")
        await settle()
        assert world.api.asked == ["list", "watch 10", "watch 11"]
        assert world.stored == world.true


async def test_a_bookmark_moves_the_place_to_resume_from(world: World) -> None:
    async with world.running():
        world.api.version = 99
        world.api.bookmark()
        await settle()
        world.api.break_watch(None)
        await settle()
        assert world.api.asked == ["list", "watch 10", "watch 99"]


@pytest.mark.parametrize("inside", [True, False], ids=["in the stream", "as a status"])
async def test_a_410_lists_again_and_reports_what_is_gone(world: World, inside: bool) -> None:
    for name in "abc":
        world.api.create(name)
    async with world.running():
        world.take_changes()
        world.api.events = 0
        world.api.delete("a-1")
        world.api.modify("b-2")
        world.api.create("d")
        if not inside:
            world.api.compact()
        world.api.break_watch(errors.Gone("too old", code=410) if inside else errors.TransportError("cut"))
        await settle()
        assert world.take_changes() == [("b-2@12", "b-2@15"), (None, "d-4@16"), ("a-1@11", None)]
        assert world.stored == world.true


async def test_a_410_between_two_pages_starts_the_list_again(world: World) -> None:
    for name in "abc":
        world.api.create(name)
    world.api.pages = 1
    async with world.running():
        world.api.delete("a-1")
        world.api.compact()
        world.api.let(pages=100)
        await settle()
        assert world.api.asked[:3] == ["list", "list 13.2", "list"]
        assert world.stored == world.true
        assert set(world.stored) == {"b-2", "c-3"}


async def test_the_reply_to_an_own_write_is_there_at_once(world: World) -> None:
    world.api.create("a")
    async with world.running():
        world.take_changes()
        world.api.events = 0
        reply = decode(world.api.modify("a-1", owner="x"))
        assert world.informer.put(reply)
        assert world.informer.by_index("x") == (reply,)
        assert not world.informer.put(reply), "the second time it is not news"
        world.api.let(events=10)
        await settle()
        assert world.take_changes() == [("a-1@11", "a-1@12")], "and the watch brings no second change"


async def test_a_reply_that_comes_after_the_deletion_raises_no_ghost(world: World) -> None:
    """The exact interleaving: write 12, deletion 13 by another, the watch brings both, then our reply arrives."""
    world.api.create("a")
    async with world.running():
        reply = decode(world.api.modify("a-1"))
        world.api.delete("a-1")
        await settle()
        assert world.stored == {}
        assert not world.informer.put(reply)
        assert world.stored == {}


async def test_a_bookmark_alone_keeps_a_ghost_out(world: World) -> None:
    """What we wrote has left the selector, so no event reports it; the resourceVersion still does."""
    async with world.running():
        reply = decode(world.api.create("a"))
        world.api.history.clear()
        world.api.objects.clear()
        world.api.version += 5
        world.api.bookmark()
        await settle()
        assert not world.informer.put(reply)


async def test_a_reply_to_a_create_that_comes_before_the_watch_and_dies_with_the_object(world: World) -> None:
    async with world.running():
        world.api.events = 0
        assert world.informer.put(decode(world.api.create("a")))
        world.api.delete("a-1")
        world.api.let(events=10)
        await settle()
        assert world.stored == {}


async def test_an_older_reply_never_replaces_a_newer_object(world: World) -> None:
    world.api.create("a")
    async with world.running():
        world.api.events = 0
        older = decode(world.api.modify("a-1"))
        newer = decode(world.api.modify("a-1"))
        assert world.informer.put(newer)
        assert not world.informer.put(older)
        assert world.informer.get("a-1") == newer
        world.api.let(events=1)
        await settle()
        assert world.informer.get("a-1") == newer, "nor does an older event"


async def test_versions_are_numbers(world: World) -> None:
    world.api.version = 98
    world.api.create("a")
    async with world.running():
        world.api.events = 0
        reply = decode(world.api.modify("a-1"))
        assert reply.version == "100"
        assert world.informer.put(reply)


async def test_a_list_under_way_neither_deletes_nor_regresses_what_is_put(world: World) -> None:
    for name in "abc":
        world.api.create(name)
    async with world.running():
        world.api.pages, world.api.events = 1, 0
        world.api.break_watch(errors.Gone("too old", code=410))
        await settle()
        assert world.api.asked[-1] == "list 13.2", "one page is here, one is not"
        made, changed = decode(world.api.create("d")), decode(world.api.modify("c-3"))
        assert world.informer.put(made)
        assert world.informer.put(changed)
        world.take_changes()
        world.api.let(pages=10)
        await settle()
        assert world.take_changes() == []
        assert world.stored == world.true


async def test_what_was_put_and_deleted_during_a_list_goes_with_the_watch(world: World) -> None:
    for name in "abc":
        world.api.create(name)
    async with world.running():
        world.api.pages, world.api.events = 1, 0
        world.api.break_watch(errors.Gone("too old", code=410))
        await settle()
        assert world.informer.put(decode(world.api.create("d")))
        world.api.delete("d-4")
        world.api.let(pages=10)
        await settle()
        assert "d-4" in world.stored, "the list is of a time before"
        world.api.let(events=10)
        await settle()
        assert world.stored == world.true


async def test_a_stale_exit_from_the_selector_does_not_remove_what_came_back(world: World) -> None:
    world.api.create("a")
    async with world.running():
        world.api.events = 0
        world.api._write("DELETED", world.api.objects["a-1"])
        back = decode(world.api._write("ADDED", {"metadata": {"name": "a", "uid": "a-1"}}))
        assert world.informer.put(back)
        world.api.let(events=1)
        await settle()
        assert world.informer.get("a-1") == back


async def test_after_a_restore_of_etcd_the_list_wins(world: World) -> None:
    world.api.version = 500
    world.api.create("a")
    world.api.create("b")
    async with world.running():
        world.take_changes()
        world.api.history.clear()
        world.api.objects.clear()
        world.api.version = 20
        world.api._write("ADDED", {"metadata": {"name": "a", "uid": "a-1"}})
        world.api.break_watch(errors.Gone("too old", code=410))
        await settle()
        assert world.take_changes() == [("a-1@501", "a-1@21"), ("b-2@502", None)]
        assert world.api.asked[-1] == "watch 21"
        world.api.modify("a-1")
        await settle()
        assert world.stored == world.true


async def test_a_position_that_is_refused_without_a_410_is_given_up(world: World) -> None:
    """As after a restore: "Too large resource version" is a 504, and would be one permanently."""
    async with world.running():
        for _ in range(5):
            world.api.faults.append(errors.ServerError("too large resource version", code=504))
        world.api.wake()
        await settle()
        assert world.api.asked.count("list") == 2


@pytest.mark.parametrize(
    "fault",
    [
        errors.TransportError("not sent: connection refused"),
        errors.ReplyLost("no reply"),
        errors.WatchSilent("nothing came for 75 s"),
    ],
    ids=repr,
)
async def test_a_server_that_was_away_is_followed_again_from_where_it_was_within_seconds(
    world: World, fault: errors.ApiError
) -> None:
    world.api.create("a")
    async with world.running():
        position = world.api.asked[-1]
        world.api.faults += [fault] * 60
        world.api.wake()
        for _ in range(60):
            await settle()
        assert max(world.clock.slept) == pytest.approx(2.25), "three seconds at most, of which a quarter is drawn here"
        assert sum(world.clock.slept) > 60
        assert world.api.asked[-1] == position, "the watch goes on where it broke"
        assert world.api.asked.count("list") == 1
        world.api.create("b")
        await settle()
        assert world.stored == world.true


@pytest.mark.parametrize(
    "fault",
    [
        errors.ServerError("x", code=500),
        errors.Forbidden("x"),
        errors.Unauthorized("x"),
        errors.TooManyRequests("x", retry_after=7.0),
        errors.ApiError("x"),
        KeyError("a defect of ours"),
        None,
    ],
    ids=repr,
)
async def test_nothing_that_a_stream_does_ends_it(world: World, fault: Exception | None) -> None:
    async with world.running():
        for _ in range(20):
            world.api.faults.append(fault)
        world.api.wake()
        for _ in range(20):
            await settle()
        world.api.create("a")
        await settle()
        assert world.stored == world.true
        slept = world.clock.slept
        assert slept == sorted(slept), "longer and longer"
        assert len(slept) == 20
        assert slept[-1] == pytest.approx(22.5)
        assert slept[0] == pytest.approx(7.0 if isinstance(fault, errors.TooManyRequests) else 0.15)


async def test_a_list_that_fails_is_tried_again(world: World) -> None:
    world.api.create("a")
    world.api.list_faults = [errors.Forbidden("no"), errors.ServerError("down"), errors.ReplyLost("lost")]
    async with world.running():
        await settle()
        assert world.informer.synced
        assert world.stored == world.true


async def test_lists_that_succeed_before_watches_that_fail_come_ever_more_slowly(world: World) -> None:
    async with world.running():
        world.api.faults = [errors.Gone("too old", code=410) for _ in range(10)]
        world.api.wake()
        for _ in range(10):
            await settle()
        assert world.clock.slept == sorted(world.clock.slept)
        assert world.clock.slept[-1] > 20


async def test_a_failure_is_logged_once_until_it_changes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    no, who = errors.Forbidden("no"), errors.Unauthorized("who")
    world.api.list_faults = [no, no, no, who, who, no]
    with caplog.at_level(logging.WARNING, logger="podtask.kube.informer"):
        async with world.running():
            await settle()
            assert [getattr(record, "error", "") for record in caplog.records] == ["no", "who", "no"]


async def test_the_slow_list_finds_what_no_event_told(world: World) -> None:
    world.api.create("a")
    world.api.create("b")
    async with world.running():
        # A deletion that the watch never brings.
        del world.api.objects["a-1"]
        world.api.history[0] = (0, "BOOKMARK", b"")
        assert set(world.stored) == {"a-1", "b-2"}
        world.clock.now += 999
        world.api.modify("b-2")
        await settle()
        assert world.api.asked.count("list") == 1
        world.take_changes()
        world.clock.now += 2
        world.api.bookmark()
        await settle()
        assert world.take_changes() == [("a-1@11", None)]
        assert world.stored == world.true
        assert world.api.asked[-2:] == ["list", "watch 13"]


async def test_a_server_without_bookmarks_is_listed_anew_in_time(world: World) -> None:
    """Each of its quiet watches ends as silent, and no bookmark is the occasion for the slow list."""
    world.api.create("a")
    async with world.running():
        # A deletion that the watch never brings.
        del world.api.objects["a-1"]
        world.api.history[0] = (0, "BOOKMARK", b"")
        world.clock.now += 800
        world.api.break_watch(errors.WatchSilent("nothing came for 75 s"))
        await settle()
        assert world.api.asked.count("list") == 1
        world.clock.now += 300
        world.api.break_watch(errors.WatchSilent("nothing came for 75 s"))
        await settle()
        assert world.api.asked.count("list") == 2
        assert world.stored == world.true


async def test_age(world: World) -> None:
    async with world.running():
        assert world.informer.age() == 0
        world.clock.now += 50
        assert world.informer.age() == 50
        world.api.bookmark()
        await settle()
        assert world.informer.age() == 0


async def test_what_cannot_be_decoded_is_reported_once_and_stops_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    bad = world.api.create("a", bad=True)
    world.api.create("b")
    async with world.running():
        assert world.informer.synced
        assert set(world.stored) == {"b-2"}
        assert world.undecodable == [bad]
        world.api.break_watch(errors.Gone("too old", code=410))
        await settle()
        assert world.undecodable == [bad], "the same version is no news"
        worse = world.api.modify("a-1", again=1)
        await settle()
        assert world.undecodable == [bad, worse]
        assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
            "undecodable object"
        ] * 2
        world.api.modify("a-1", bad=False)
        await settle()
        assert world.stored == world.true


async def test_what_cannot_be_held_is_reported_once_and_stops_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pack(thing: Thing) -> bytes:
        if thing.name == "a":
            raise OverflowError("an integer of more than 64 bits")
        return pickle.dumps(thing)

    monkeypatch.setattr(world.informer._store, "_codec", Codec(pack, pickle.loads))
    world.api.create("a")
    async with world.running():
        assert world.informer.synced
        world.api.create("b")
        worse = world.api.modify("a-1", again=1)
        await settle()
        assert set(world.stored) == {"b-2"}
        assert world.undecodable == [b"", worse], "the bytes of a list are not kept until it is complete"


async def test_what_can_no_longer_be_decoded_stays_as_it_was_until_it_is_deleted(world: World) -> None:
    world.api.create("a")
    async with world.running():
        world.take_changes()
        world.api.modify("a-1", bad=True)
        world.api.break_watch(errors.Gone("too old", code=410))
        await settle()
        assert world.stored == {"a-1": "11"}
        world.api.delete("a-1")
        await settle()
        assert world.take_changes() == [("a-1@11", None)]
        assert world.stored == {}
        assert world.informer._undecodable == {}


async def test_an_undecodable_event_moves_the_position(world: World) -> None:
    async with world.running():
        world.api.create("a", bad=True)
        await settle()
        world.api.break_watch(None)
        await settle()
        assert world.api.asked[-1] == "watch 11"


async def test_a_callback_that_fails_stops_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    world.informer._on_change = fail
    world.informer._on_undecodable = fail
    world.api.create("a")
    world.api.create("b", bad=True)
    async with world.running():
        world.api.create("c")
        await settle()
        assert set(world.stored) == {"a-1", "c-3"}
    assert [record.message for record in caplog.records].count("on_change failed") == 2


async def test_it_asks_for_its_selector_and_namespace(world: World) -> None:
    asked: list[tuple[Any, Any]] = []

    class Recorder(ClusterModel):
        async def list_page(self, *args: Any, **kwargs: Any) -> Any:
            asked.append((args, kwargs))
            return await super().list_page(*args, **kwargs)

        def watch(self, *args: Any, **kwargs: Any) -> Any:
            asked.append((args, kwargs))
            return super().watch(*args, **kwargs)

    world.api = Recorder()
    world.__post_init__()
    world.informer._scope = {"namespace": "n", "selector": "s"}
    async with world.running():
        assert asked[0][1].pop("read")
        assert asked == [
            ((PODS,), {"namespace": "n", "selector": "s", "limit": 2, "continue_token": ""}),
            ((PODS,), {"namespace": "n", "selector": "s", "resource_version": "10"}),
        ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["create", "modify", "delete", "own create", "own modify"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["reply", "events", "pages"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["cut", "gone", "compact", "bookmark"]), st.just(0)),
    ),
    max_size=60,
)


@dataclass
class Life:
    """A world whose events, pages and replies are delayed at will."""

    world: World
    replies: list[Thing] = field(default_factory=list)

    def play(self, step: str, number: int) -> None:
        api = self.world.api
        uids = sorted(api.objects)
        uid = uids[number % len(uids)] if uids else None
        at_any_time: dict[str, Callable[[], object]] = {
            "create": lambda: api.create(f"n{number}"),
            "own create": lambda: self.replies.append(decode(api.create(f"n{number}"))),
            "events": lambda: api.let(events=number),
            "pages": lambda: api.let(pages=number),
            "cut": lambda: api.break_watch(errors.TransportError("cut")),
            "gone": lambda: api.break_watch(errors.Gone("too old", code=410)),
            "compact": api.compact,
            "bookmark": api.bookmark,
            "reply": lambda: self.deliver(number),
        }
        if step in at_any_time:
            at_any_time[step]()
        elif uid is not None:
            self.change(step, uid)

    def change(self, step: str, uid: str) -> None:
        if step == "delete":
            self.world.api.delete(uid)
            return
        reply = decode(self.world.api.modify(uid))
        if step == "own modify":
            self.replies.append(reply)

    def deliver(self, number: int) -> None:
        if self.replies:
            self.world.informer.put(self.replies.pop(number % len(self.replies)))


async def live(steps: list[tuple[str, int]]) -> None:
    """Play a life; then let everything go, and compare."""
    world = World(ClusterModel(pages=0, events=0, page_size=2))
    life = Life(world)
    async with world.running():
        for step, number in steps:
            life.play(step, number)
            await settle()
        world.api.faults.clear()
        world.api.let(pages=10_000, events=10_000)
        await settle()
        while life.replies:
            life.deliver(0)
        await settle()
        assert world.stored == world.true
    check_story(world.changes, world.stored)


def check_story(changes: list[Change], stored: dict[str, str]) -> None:
    """The changes alone lead to what is stored; each starts where the last ended, and no object grows younger."""
    told: dict[str, Thing] = {}
    for old, new in changes:
        uid = (new or old).uid  # type: ignore[union-attr]
        if new is None:
            del told[uid]
        else:
            assert told.get(uid) == old
            assert old is None or int(old.version) < int(new.version)
            told[uid] = new
    assert {uid: thing.version for uid, thing in told.items()} == stored


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_happens_the_store_ends_as_the_server(steps: list[tuple[str, int]]) -> None:
    asyncio.run(live(steps))
