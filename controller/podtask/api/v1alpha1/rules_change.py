"""Rules over a change: what may never be otherwise again.

Immutability is written out of the model, so a new field is immutable unless it is named below. The rules stand on
`spec` and on the object, because a rule on a field does not fire when the field is added or removed.

What CEL cannot see: the server compares lists with keys without their order, and takes one unknown key swapped for
another for no change. The controller pins the spec's hash at the first attempt for that.
"""

import re
from collections.abc import Iterator

from pydantic import BaseModel

from .rule import Json, Predicate, Refusal, Rule, at, has, is_same, number, objects
from .spec import PodTaskSpec
from .values import TERMINAL

MUTABLE = frozenset(
    {
        "suspend",
        "cancel",
        "cancelAfter",
        "ttlSecondsAfterFinished",
        "ttlSecondsAfterSucceeded",
        "ttlSecondsAfterFailed",
        "podRetention",
        "podTTLSecondsAfterFinished",
        "forceDeletePodAfterSeconds",
    }
)
SCHEDULING = (("nodeSelector",), ("affinity",), ("tolerations",), ("template", "metadata", "labels"))
"""What a queueing system sets before it lifts `suspend`."""
COUNTERS = ("attemptCount", "failureCount", "disruptionCount", "suspendedSeconds")

Path = tuple[str, ...]


def _fields(model: type[BaseModel], above: Path = ()) -> Iterator[Path]:
    """Yield the paths of a model's fields, one level deep, but deeper around what may change under conditions."""
    for name, field in model.model_fields.items():
        path = (*above, field.alias or name)
        if any(scheduling[: len(path)] == path and scheduling != path for scheduling in SCHEDULING):
            yield from _fields(_model_of(field.annotation), path)
        else:
            yield path


def _model_of(annotation: object) -> type[BaseModel]:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise TypeError(f"no model in {annotation!r}")


def _unchanged(*keys: str) -> str:
    """Write CEL that says that a path is as it was, absent included."""
    now, before = has("self", *keys), has("oldSelf", *keys)
    path = ".".join(keys)
    if len(keys) > 1:
        now, before = f"({now})", f"({before})"
    return f"{now} == {before} && (!{now} || self.{path} == oldSelf.{path})"


def _is_unchanged(*keys: str) -> Predicate:
    return lambda now, before: is_same(at(now, *keys), at(before, *keys))


def _kebab(path: Path) -> str:
    return "-".join(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", key).lower() for key in path)


def _immutable(path: Path) -> Rule:
    name = ".".join(path)
    return Rule(
        id=f"immutable-{_kebab(path)}",
        path="spec",
        cel=_unchanged(*path),
        message=f"{name} cannot be changed; create another PodTask instead",
        holds=_is_unchanged(*path),
        field=name if len(path) == 1 else "",
        refusal=Refusal.FORBIDDEN,
        is_transition=True,
    )


_NOT_BEGUN = (
    "has(oldSelf.spec.suspend) && oldSelf.spec.suspend"
    f" && (!({has('oldSelf', 'status', 'attemptCount')}) || oldSelf.status.attemptCount == 0)"
    f" && (!({has('oldSelf', 'status', 'attempts')}) || size(oldSelf.status.attempts) == 0)"
)


def _has_not_begun(before: Json) -> bool:
    return (
        at(before, "spec", "suspend") is True
        and not number(at(before, "status", "attemptCount"))
        and not objects(at(before, "status", "attempts"))
    )


def _scheduling(path: Path) -> Rule:
    name = ".".join(path)
    whole = ("spec", *path)
    return Rule(
        id=f"scheduling-{_kebab(path)}",
        path="",
        cel=f"({_NOT_BEGUN}) || ({_unchanged(*whole)})",
        message=f"{name} can be changed only while suspend is true and before the first attempt",
        holds=lambda now, before: _has_not_begun(before) or _is_unchanged(*whole)(now, before),
        field="spec",
        refusal=Refusal.FORBIDDEN,
        is_transition=True,
    )


def _stays_cancelled(now: Json, before: Json) -> bool:
    return at(before, "cancel") is not True or at(now, "cancel") is True


_TERMINAL = sorted(TERMINAL)
_PHASES = ", ".join(f"'{phase}'" for phase in _TERMINAL)


def _stays_terminal(now: Json, before: Json) -> bool:
    phase = at(before, "phase")
    return phase not in _TERMINAL or at(now, "phase") == phase


def _does_not_fall(name: str) -> str:
    return f"(!has(oldSelf.{name}) || (has(self.{name}) && self.{name} >= oldSelf.{name}))"


def _falls(now: Json, before: Json, name: str) -> bool:
    last, this = number(at(before, name)), number(at(now, name))
    return last is not None and (this is None or this < last)


CHANGE_RULES = (
    *(_immutable(path) for path in _fields(PodTaskSpec) if path[0] not in MUTABLE and path not in SCHEDULING),
    *(_scheduling(path) for path in SCHEDULING),
    Rule(
        id="cancel-one-way",
        path="spec",
        cel="!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
        message="cancel cannot be taken back",
        holds=_stays_cancelled,
        field="cancel",
        refusal=Refusal.FORBIDDEN,
        is_transition=True,
    ),
    Rule(
        id="terminal-for-ever",
        path="status",
        cel=f"!has(oldSelf.phase) || !(oldSelf.phase in [{_PHASES}])"
        " || (has(self.phase) && self.phase == oldSelf.phase)",
        message=f"status.phase stays as it is once it is one of {', '.join(_TERMINAL)}",
        holds=_stays_terminal,
        refusal=Refusal.FORBIDDEN,
        is_transition=True,
    ),
    Rule(
        id="counters-never-fall",
        path="status",
        cel=" && ".join(map(_does_not_fall, COUNTERS)),
        message=f"status.{', '.join(COUNTERS)} never fall",
        holds=lambda now, before: not any(_falls(now, before, name) for name in COUNTERS),
        refusal=Refusal.FORBIDDEN,
        is_transition=True,
    ),
)
