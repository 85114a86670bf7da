"""What a life is about: tasks drawn at random, with what they ask for, how they fare, and what users do to them."""

import random
from dataclasses import dataclass, field, replace

from . import attacker, users
from .attacker import Attack
from .etcd import Object
from .fate import DISASTERS, Habits
from .users import Act, draw_acts

CALM = Habits()


@dataclass(frozen=True)
class TaskScript:
    """One task of a life."""

    name: str
    spec: Object
    habits: Habits = CALM
    acts: tuple[Act, ...] = ()
    namespace: str = users.NAMESPACE
    attacks: tuple[Attack, ...] = ()


@dataclass(frozen=True)
class Script:
    """All tasks of a life."""

    tasks: tuple[TaskScript, ...] = field(default_factory=tuple)
    has_stranger: bool = False
    """A Pod of another owner has the name that a task's Pod needs."""
    running_pods_limit: int | None = None
    """The platform's policy."""

    def describe(self) -> str:
        """Name what is asked for."""
        limit = f"limit={self.running_pods_limit} " if self.running_pods_limit else ""
        return limit + "; ".join(
            f"{t.namespace}/{t.name} {t.spec} codes={t.habits.exit_codes} "
            f"acts={[(round(a.at, 1), a.kind) for a in t.acts]} attacks={[(round(a.at, 1), a.kind) for a in t.attacks]}"
            for t in self.tasks
        )


def attack(script: Script, rng: random.Random) -> Script:
    """Put the tasks of some lives under attack, and some tasks into a second namespace.

    Drawn beside the script, so that a seed keeps its life where nothing is attacked.
    """
    if rng.random() > 0.3:
        return script
    tasks = (
        replace(
            task,
            namespace=rng.choice((users.NAMESPACE, users.NAMESPACE, users.SECOND_NAMESPACE)),
            attacks=bearable(task, attacker.draw(rng), script.tasks) if rng.random() < 0.8 else (),
        )
        for task in script.tasks
    )
    return replace(script, tasks=tuple(tasks))


def bearable(task: TaskScript, attacks: tuple[Attack, ...], others: tuple[TaskScript, ...]) -> tuple[Attack, ...]:
    """Leave out what only a person can mend: labels taken off a Pod whose task is deleted before they are back.

    No watch brings such a Pod, and no status says any more that it was there (docs/operate/security.md).
    """
    is_shared = "name" in task.spec.get("template", {}).get("metadata", {})  # then another's Pod may be hit
    hit = others if is_shared else (task,)
    is_deleted = any(act.kind in {"delete", "delete-foreground", "delete-orphan"} for one in hit for act in one.acts)
    return tuple(attack for attack in attacks if not (is_deleted and attack.kind == "unmark"))


def draw(rng: random.Random) -> Script:
    """Draw one to three tasks."""
    count = rng.choice((1, 1, 1, 2, 3))
    tasks = tuple(_draw_task(rng, f"task-{number}") for number in range(1, count + 1))
    has_stranger = rng.random() < 0.1
    limit = rng.choice((None, None, 1)) if count > 1 else None
    if rng.random() < 0.05:
        for task in tasks:
            _fix_name(task.spec)
    return Script(tasks, has_stranger, running_pods_limit=limit)


def _fix_name(spec: Object) -> None:
    """All tasks of a life want one name for their Pods, as runs of a day do that share it."""
    container = {"name": spec.get("containerName", "base"), "image": "python:3"}
    template: Object = spec.setdefault("template", {})
    template.setdefault("spec", {}).setdefault("containers", [container])
    template["metadata"] = {"name": "exact"}


def _draw_task(rng: random.Random, name: str) -> TaskScript:
    spec: Object = {"image": "python:3", "backoff": {"initialSeconds": rng.choice((1, 5, 20))}}
    spec["backoffLimit"] = rng.choice((0, 1, 2, 3))
    spec["disruptionLimit"] = rng.choice((0, 1, 3, 6))
    spec["terminationGracePeriodSeconds"] = rng.choice((0, 1, 10, 30))
    run = rng.choice((0.5, 3.0, 15.0))
    _draw_pod(rng, spec)
    _draw_deadlines(rng, spec, run)
    _draw_retention(rng, spec)
    _draw_policy(rng, spec)
    result = _draw_result(rng, spec)
    acts = draw_acts(rng)
    if rng.random() < 0.06:
        spec["suspend"] = True
        acts = (Act(0.0, "suspend"), Act(rng.uniform(1, 60), "resume"), *(a for a in acts if a.kind != "suspend"))
    return TaskScript(name, spec, _draw_habits(rng, result, run), acts)


def _draw_pod(rng: random.Random, spec: Object) -> None:
    template: Object = {}
    if rng.random() < 0.2:
        template.setdefault("spec", {})["containers"] = [{"name": "mesh", "image": "envoy"}]
    if rng.random() < 0.15:
        template.setdefault("spec", {})["initContainers"] = [{"name": "fetch", "image": "busybox"}]
    if rng.random() < 0.08:
        template.setdefault("spec", {})["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    if rng.random() < 0.1:
        spec["containerName"] = "work"
    if rng.random() < 0.08:
        template["metadata"] = {"name": "exact"}
    if template:
        template.setdefault("spec", {}).setdefault(
            "containers", [{"name": spec.get("containerName", "base"), "image": "python:3"}]
        )
        spec["template"] = template


def _draw_deadlines(rng: random.Random, spec: Object, run: float) -> None:
    if rng.random() > 0.3:
        return
    chosen: Object = {}
    for field_name, values in (
        ("scheduleSeconds", (5, 30)),
        ("imagePullSeconds", (5, 30)),
        ("startSeconds", (5, 30)),
        ("runSeconds", (max(1, round(run)), 60)),
        ("totalSeconds", (20, 120)),
    ):
        if rng.random() < 0.4:
            chosen[field_name] = rng.choice(values)
    if chosen:
        spec["deadlines"] = chosen


def _draw_retention(rng: random.Random, spec: Object) -> None:
    if rng.random() < 0.3:
        spec["podRetention"] = rng.choice(("Delete", "DeleteSucceeded", "Keep"))
    if rng.random() < 0.2 and spec.get("podRetention") != "Keep":
        spec["podTTLSecondsAfterFinished"] = rng.choice((0, 100))
    if rng.random() < 0.3:
        spec["ttlSecondsAfterFinished"] = rng.choice((0, 5, 200))
    if rng.random() < 0.1:
        spec["forceDeletePodAfterSeconds"] = rng.choice((5, 60))
    if rng.random() < 0.05:
        spec["cancelTime"] = f"2026-01-01T00:00:{rng.randrange(1, 50):02d}Z"


def _draw_policy(rng: random.Random, spec: Object) -> None:
    if rng.random() > 0.2:
        return
    rules: list[Object] = []
    for code, action in ((42, "Ignore"), (43, "Fail"), (44, "Skip")):
        rules.append({"onExitCodes": {"operator": "In", "values": [code]}, "action": action})
    if rng.random() < 0.5:
        rules.append({"onReasons": {"values": ["Evicted", "Preempted"]}, "action": rng.choice(("Retry", "Ignore"))})
    spec["failurePolicy"] = {"rules": rules}


def _draw_result(rng: random.Random, spec: Object) -> bytes | None:
    if rng.random() < 0.4:
        return None
    xcom: Object = {}
    size = rng.choice((10, 300, 6000))
    if rng.random() < 0.2:
        xcom["mode"] = "Direct"
        xcom["maxBytes"] = 1000
        size = min(size, 300)
    for name, values in (("required", (True,)), ("onFailure", ("Keep",)), ("onLost", ("Drop", "Retry"))):
        if rng.random() < 0.25:
            xcom[name] = rng.choice(values)
    spec["xcom"] = xcom
    if rng.random() < 0.1:
        return rng.choice((None, b""))
    return bytes(rng.choice(b"abcdefgh0123456789") for _ in range(size))


def _draw_habits(rng: random.Random, result: bytes | None, run: float) -> Habits:
    def some(chance: float, most: float) -> float:
        return rng.uniform(0, most) if rng.random() < chance else 0.0

    codes = tuple(rng.choice((0, 0, 1, 1, 42, 43, 44)) for _ in range(rng.randint(0, 3)))
    habits = Habits(
        exit_codes=(*codes, rng.choice((0, 0, 1))),
        oom=some(0.2, 1.0),
        run=run,
        disaster=some(0.5, 0.9),
        disasters=tuple(rng.sample(DISASTERS, rng.randint(1, 4))),
        slow_schedule=some(0.2, 0.8),
        bad_pull=some(0.2, 0.5),
        bad_init=some(0.3, 0.5),
        start_error=some(0.1, 0.5),
        refused=some(0.1, 0.5),
        sidecar_crash=some(0.1, 0.7),
        log_lost=some(0.1, 0.7),
        lumps=rng.choice((0.0, 0.3, 1.0)),
        graceful=rng.random(),
        result=result,
        quota_until=some(0.1, 60.0),
        denied=rng.random() < 0.02,
        skew=rng.choice((0.0,) * 9 + (-90.0, 90.0)),
    )
    # Not drawn, so that a seed keeps its life: a kubelet that takes its Pods late hides how slow its clock is.
    return replace(habits, slow_to_take=100.0 if habits.skew < 0 and run == 3.0 else 0.0)
