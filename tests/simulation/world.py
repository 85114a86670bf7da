"""One life: a model cluster, one or two controllers, users, faults; run until nothing is left to happen."""

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import Any

from . import draws, faults, history, verdict
from .attacker import Attacker
from .client import ModelClient
from .controller import Complaints, Controller
from .draws import Script
from .etcd import Change
from .faults import Faults
from .laws import Laws, Watcher
from .loop import Spinning, VirtualLoop
from .model import Server
from .nodes import Nodes
from .truth import Truth
from .users import Users

END = 12 * 3600.0
"""Virtual seconds after which a life that still moves counts as endless."""

_ENOUGH_BREACHES = 20
"""A life that has broken the laws so often may never end, and has nothing to tell any more."""

_log = logging.getLogger("podtask")


@dataclass
class Outcome:
    """How one life went."""

    seed: int
    tasks: int = 0
    broken: list[str] = field(default_factory=list)
    faults: str = ""
    phases: tuple[str, ...] = ()
    requests: int = 0
    writes: int = 0
    seconds: float = 0.0
    history: list[str] = field(default_factory=list)


class World:
    """Everything in one life. `run` is called once."""

    def __init__(
        self, seed: int, *, trace: bool = False, script: Script | None = None, given: Faults | None = None
    ) -> None:
        self.outcome = Outcome(seed)
        self._seed = seed
        self._trace = trace
        self.faults = given if given is not None else faults.draw(random.Random(f"{seed}/faults"))
        if script is None:
            script = draws.draw(random.Random(f"{seed}/script"))
            script = draws.attack(script, random.Random(f"{seed}/attack"))
        self.script = script
        self._rng = random.Random(f"{seed}/life")
        self._controllers: dict[str, Controller] = {}
        self._births = 0
        self._writes = 0
        self.problems: list[dict[str, Any]] = []
        self._deaths = list(self.faults.deaths)

    def run(self) -> Outcome:
        """Live the life, and judge it."""
        loop = VirtualLoop(END)
        asyncio.set_event_loop(loop)
        complaints = Complaints(self._breach)
        _log.addHandler(complaints)
        level, _log.propagate = _log.level, False
        _log.setLevel(logging.ERROR)
        loop.set_exception_handler(self._failed)
        try:
            loop.call_soon(self._begin)
            self._live(loop)
            if self.problems:
                raise RuntimeError(self.problems[0]["message"]) from self.problems[0].get("exception")
        finally:
            for controller in self._controllers.values():
                controller.kill()
            loop.finish()
            asyncio.set_event_loop(None)
            _log.removeHandler(complaints)
            _log.setLevel(level)
            _log.propagate = True
        return self.outcome

    def _live(self, loop: VirtualLoop) -> None:
        try:
            quiet = loop.run_out()
        except Spinning as error:
            self._breach(f"the program spins: {error}")
        else:
            if self.problems:
                return
            if not quiet:
                self._breach("the life does not end: something still moves after 12 hours")
            tasks = [(t, self.last[self.uids[t.name]]) for t in self.script.tasks]
            verdict.judge_life(self.laws, self.server, self.truth, self.faults, tasks)
        self.outcome.broken = self.laws.broken
        self.outcome.faults = f"{self.faults.describe()} | {self.script.describe()}"
        self.outcome.seconds = loop.time()
        self.outcome.writes = self._writes
        self.outcome.requests = self.laws.requests
        self.outcome.tasks = len(self.uids)
        self.outcome.phases = tuple(
            (self.last.get(uid, {}).get("status", {}).get("phase", "none")) for uid in self.uids.values()
        )

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self.server = Server(loop.time)
        self.truth = Truth()
        self.laws = Laws(self.server.etcd, self.truth)
        self.laws.sender = lambda: self.server.sender
        if self.faults.controllers == 1:
            # Two that do not know of each other cannot keep a limit together: a Lease sees to it that there is one.
            self.laws.running_pods_limit = self.script.running_pods_limit
        self.last: dict[str, dict] = {}
        self.server.etcd.observers.append(self._remember)
        if self._trace:
            self.server.etcd.observers.append(self._write_down)
        habits = {}
        self.nodes = Nodes(
            self.server,
            self.truth,
            self._rng,
            lambda uid: habits.get(uid, draws.CALM),
            self.faults.until,
            Watcher(self.truth, self.laws).judge,
        )
        self.server.etcd.observers.append(self.laws.judge)
        users, attacker = Users(self.server, self.truth), Attacker(self.server, self.truth)
        self.uids: dict[str, str] = {}
        for task in self.script.tasks:
            uid = users.submit(task.name, task.spec, task.namespace)
            self.uids[task.name] = uid
            habits[uid] = task.habits
            users.plan(task.name, task.acts, task.namespace)
            attacker.plan(task.namespace, task.name, uid, task.attacks)
        if self.script.has_stranger:
            users.run_stranger("exact")
        for number in range(self.faults.controllers):
            loop.call_later(self._rng.uniform(0, 1) * number, self._start, f"c{number}")

    # ---- controllers ----

    def _start(self, place: str) -> None:
        self._births += 1
        who = f"{place}.{self._births}"
        rng = random.Random(self._rng.random())
        client = ModelClient(self.server, self.faults, rng, who, self, self.nodes)
        self._note(f"{who} starts")
        alone = self.faults.controllers == 1
        self._controllers[who] = Controller(
            client,
            rng,
            self._offset,
            self._breach,
            alone=alone,
            running_pods_limit=self.script.running_pods_limit,
        )

    def _offset(self) -> float:
        now = asyncio.get_running_loop().time()
        return next((by for at, by in reversed(self.faults.jumps) if at <= now < self.faults.until), 0.0)

    def _die(self, who: str) -> None:
        controller = self._controllers.pop(who, None)
        if controller is None:
            return
        self._note(f"{who} dies")
        controller.kill()
        loop = asyncio.get_running_loop()
        loop.call_later(self._rng.uniform(0.01, self.faults.downtime), self._start, who.partition(".")[0])

    # ---- what the clients tell ----

    def asked(self, who: str, verb: str, what: str) -> None:
        """A request is about to be sent."""
        loop = asyncio.get_running_loop()
        self.laws.count(who, verb, what, loop.time())
        if len(self.laws.broken) > _ENOUGH_BREACHES:
            loop.stop()

    def before_write(self, who: str) -> bool:
        """Whether the sender dies instead of sending."""
        self._writes += 1
        if self._deaths and self._deaths[0][0] <= self._writes and not self._deaths[0][1]:
            self._deaths.pop(0)
            asyncio.get_running_loop().call_soon(self._die, who)
            return True
        return False

    def after_write(self, who: str) -> None:
        """The server has carried the write out."""
        if self._deaths and self._deaths[0][0] <= self._writes and self._deaths[0][1]:
            self._deaths.pop(0)
            self._die(who)

    def carried_out(self, who: str, verb: str, what: str, outcome: str) -> None:
        """The server has answered, be it heard or not."""
        if self._trace and verb not in {"get", "list", "watch"}:
            self._note(f"{who} {verb} {what[:260]} {outcome}".rstrip())

    # ---- history ----

    def _remember(self, change: Change) -> None:
        if change.key[0] == "podtasks":
            obj = change.after or change.before
            assert obj is not None
            self.last[obj["metadata"]["uid"]] = obj

    def _write_down(self, change: Change) -> None:
        self._note(history.describe(change))

    def _note(self, text: str) -> None:
        if self._trace:
            self.outcome.history.append(f"{self.server.now():9.3f} {text}")

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.problems.append(context)
        loop.stop()

    def _breach(self, sentence: str) -> None:
        if sentence not in self.laws.broken:
            self.laws.breach(sentence)
            self._note(f"BROKEN {sentence}")


def live(seed: int) -> Outcome:
    """Live the life of one seed; a life that breaks a law is lived again, with its history written down."""
    outcome = World(seed).run()
    if outcome.broken:
        outcome = World(seed, trace=True).run()
    return outcome
