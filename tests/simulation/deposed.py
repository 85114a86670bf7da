"""Two replicas with a real election between them, of which the leader stands still at the worst moment and comes back.

The same laws as everywhere, and one more that knows no excuse: no attempt runs twice. A life of `World` forgives what a
create does that was under way while its attempt ended elsewhere; here the Lease, the live read, the hold and the name
have to prevent just that.

A process that stands still hears no reply and no event, and its clock shows no time passing to itself; what it had sent
arrives. `WIRE` is the moment that no gate can guard: the write has passed it, and arrives when the process goes on.
"""

import asyncio
import dataclasses
import enum
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

from podtask.kube.client import WatchEvent
from podtask.kube.lease import LeaseClient
from podtask.runtime.election import DURATION_SECONDS, Election, LeadershipLost
from tests.unit.runtime.lease_model import LeaseServer

from .client import ModelClient
from .controller import Controller
from .draws import Script, TaskScript
from .fate import Habits
from .faults import Faults
from .users import Act
from .world import World

_LIVE_READ_SECONDS = 60.0
_WORKERS = 3
_END_SECONDS = 800.0
"""By then everything is over and tidied away, after the longest pause and the hold."""


class Moment(enum.Enum):
    """Where in a write the process stands still."""

    BEFORE = "before the gate"
    WIRE = "behind the gate, before the server"


@dataclass(frozen=True)
class Plight:
    """What goes wrong in one life."""

    at_write: int
    """At which of its writes the leader stands still."""
    moment: Moment
    seconds: float
    lagging: tuple[str, ...]
    """The kinds of which the standby hears late."""
    is_late: bool
    """Whether the tasks begin when both replicas have listed, and not before."""
    at_second: float = 0.0
    """When it stands still between its writes, if it does."""


class Pause:
    """One process: whether it stands still, and when it will."""

    def __init__(self, plight: Plight) -> None:
        self._loop = asyncio.get_running_loop()
        self._at_write, self._moment, self._seconds = plight.at_write, plight.moment, plight.seconds
        self._from = self._until = 0.0
        self._writes = 0
        if plight.at_second > self._loop.time():
            self._loop.call_at(plight.at_second, self._begin)

    def now(self) -> float:
        """What its clock shows to it."""
        now = self._loop.time()
        return self._from if now < self._until else now

    async def over(self) -> None:
        """Return once it goes on."""
        while (left := self._until - self._loop.time()) > 0:
            await asyncio.sleep(left)

    async def reach(self, moment: Moment) -> None:
        """Stand still here, where it is time."""
        self._writes += moment is Moment.BEFORE
        if self._writes == self._at_write and moment is self._moment:
            self._at_write = 0
            self._begin()
        await self.over()

    def _begin(self) -> None:
        self._from, self._until = self._loop.time(), self._loop.time() + self._seconds


class PausedClient(ModelClient):
    """The way to the API server of a process that may stand still."""

    def begin(self, pause: Pause, gate: Callable[[], None]) -> None:
        """Say whose it is."""
        self._pause, self._gate = pause, gate

    async def watch(self, *args: Any, **kwargs: Any) -> AsyncGenerator[WatchEvent, None]:
        """See `client.Client.watch`."""
        async for event in super().watch(*args, **kwargs):
            await self._pause.over()
            yield event

    async def _read(self, *args: Any) -> Any:
        await self._pause.over()
        try:
            return await super()._read(*args)
        finally:
            await self._pause.over()

    async def _write(self, *args: Any) -> Any:
        await self._pause.reach(Moment.BEFORE)
        self._gate()
        await self._pause.reach(Moment.WIRE)
        try:
            return await super()._write(*args)
        finally:
            await self._pause.over()


class PausedLease:
    """The way to the Lease of a process that may stand still."""

    def __init__(self, server: LeaseServer, pause: Pause) -> None:
        self._server, self._pause = server, pause

    def __getattr__(self, verb: str) -> Any:
        async def ask(*args: Any) -> bytes:
            await self._pause.over()
            raw: bytes = await getattr(self._server, verb)(*args)
            await self._pause.over()
            return raw

        return ask

    async def watch(self, *args: Any, **kwargs: Any) -> AsyncGenerator[WatchEvent, None]:
        """See `client.Client.watch`."""
        async for event in self._server.watch(*args, **kwargs):
            await self._pause.over()
            yield event


class Replica(Controller):
    """A controller that works while it leads, as `runtime.main` has it."""

    def share(self, election: Election, pause: Pause, end: Callable[[], None]) -> None:
        """Say how the work is shared, and what follows on the end of the process."""
        self._election, self._pause, self._end = election, pause, end
        self._led_at = 0.0
        self.queue.shut_down()
        loop = asyncio.get_running_loop()
        self.reconciler._reads_live = lambda: loop.time() - self._led_at < _LIVE_READ_SECONDS

    async def _work(self) -> None:
        await self.cluster.wait_synced()
        try:
            await self._election.run(self._lead)
        except LeadershipLost:
            await self._pause.over()
            asyncio.get_running_loop().call_soon(self._end)

    async def _lead(self) -> None:
        self._led_at = asyncio.get_running_loop().time()
        self.queue.start()
        self.cluster.rebuild_slots()
        self.cluster.enqueue_all()
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self.reconciler.work())


class Deposed(World):
    """One life of two replicas."""

    def __init__(self, seed: int, *, trace: bool = False, **fixed: Any) -> None:
        rng = random.Random(f"{seed}/deposed")
        self._plight = dataclasses.replace(_draw_plight(rng), **fixed)
        self._closed = False
        self._leases = LeaseServer(latency=0.005)
        super().__init__(seed, trace=trace, script=_draw_script(rng, self._plight), given=_faults(self._plight))

    def _begin(self) -> None:
        super()._begin()
        asyncio.get_running_loop().call_later(_END_SECONDS, self._close)

    def _close(self) -> None:
        """End the life: the holder of a Lease would renew it without end."""
        self._closed = True
        for replica in self._controllers.values():
            replica.kill()

    def _start(self, place: str) -> None:
        if self._closed:
            return
        self._births += 1
        who = f"{place}.{self._births}"
        rng = random.Random(self._rng.random())
        pause = self._draw_pause()
        faults = dataclasses.replace(self.faults, lag={}) if self._births == 1 else self.faults
        client = PausedClient(self.server, faults, rng, who, self, self.nodes)
        lease = LeaseClient(
            PausedLease(self._leases, pause),  # type: ignore[arg-type]
            namespace="ns",
            name="l",
            identity=who,
            duration_seconds=DURATION_SECONDS,
        )
        election = Election(lease, has_work=lambda: False, now=pause.now)
        client.begin(pause, election.check)
        self._note(f"{who} starts")
        replica = Replica(client, rng, self._offset, self._breach, alone=True, running_pods_limit=None)
        replica.share(election, pause, lambda: self._die(who))
        self._controllers[who] = replica

    def _draw_pause(self) -> Pause:
        """The first leader is suspended; replicas that started later are not."""
        is_first = self._births == 1
        return Pause(self._plight if is_first else dataclasses.replace(self._plight, at_write=0, at_second=0.0))

    def judge_strictly(self) -> list[str]:
        """No attempt has run twice, and nothing ran after a success."""
        found = list(self.outcome.broken)
        for uid in self.uids.values():
            started = sorted(
                (r for r in self.truth.of(uid) if r.started_at is not None), key=lambda r: r.started_at or 0
            )
            attempts = [run.attempt for run in started]
            if len(attempts) != len(set(attempts)):
                found.append(f"attempts {attempts} ran")
            if any(run.exit_code == 0 for run in started[:-1]):
                found.append("it ran again after it had succeeded")
        return found


def live(seed: int, **fixed: Any) -> list[str]:
    """Live one life, with some of its faults given; returns the laws that were broken."""
    world = Deposed(seed, **fixed)
    world.run()
    return world.judge_strictly()


def _draw_plight(rng: random.Random) -> Plight:
    moment = rng.choice(list(Moment))
    return Plight(
        at_write=rng.randrange(1, 8),
        moment=moment,
        # A write on the wire can be as late as the hold is long, less the Lease; docs/design/0003 says what is beyond.
        seconds=rng.uniform(5, 45) if moment is Moment.WIRE else rng.choice((20.0, 100.0, 250.0)),
        lagging=rng.choice(((), ("pods",), ("podtasks",), ("pods", "podtasks"))),
        is_late=rng.random() < 0.5,
    )


def _draw_script(rng: random.Random, plight: Plight) -> Script:
    def task(number: int) -> TaskScript:
        codes = rng.choice(((0,), (0,), (1, 0)))
        spec = {"image": "x", "backoffLimit": 1, "backoff": {"initialSeconds": 1}, "terminationGracePeriodSeconds": 1}
        acts = (Act(rng.uniform(1, 30), "delete-pods"),) if rng.random() < 0.3 else ()
        if plight.is_late:
            spec["suspend"] = True
            acts = (Act(0.0, "suspend"), Act(3.0, "resume"), *acts)
        return TaskScript(f"task-{number}", spec, Habits(exit_codes=codes, run=rng.choice((0.3, 2.0, 8.0))), acts)

    return Script(tuple(task(number) for number in range(rng.randint(1, 3))))


def _faults(plight: Plight) -> Faults:
    lag = dict.fromkeys(plight.lagging, 150.0)
    return Faults(until=250.0, latency=0.005, lag=lag, lag_often=1.0, controllers=2, downtime=1.0)
