"""Validation rules of the CRD in CEL: what the type of one field cannot express.

Rules over one object (`image-required`) say how fields fit together. Transition rules (`immutable-image`) compare the
object with the stored one, which CEL calls `oldSelf`. Only CEL that Kubernetes 1.29 and the evaluator of the tests both
know is used: no optionals, no quantities, and regular expressions of RE2.

Immutability is derived from the model: a new field of `spec` is immutable unless MUTABLE names it. These rules stand on
`spec` and on the object, because a rule on a field does not fire when the field is added or removed. Two changes are
invisible to CEL: the server compares lists with keys without their order, and does not see one unknown key replaced
by another. For these the controller compares the hash of the spec (`core/identity.py`).
"""

import dataclasses
import enum
import re
from collections.abc import Iterator

from pydantic import BaseModel

from ..names import DEFAULT_CONTAINER, GROUP, RESULT_CONTAINER
from .spec import PodTaskSpec
from .values import TERMINAL, Operator, PodRetention, ResultMode

MAX_DIRECT_BYTES = 4095
"""The kubelet truncates a termination message at 4096 bytes, so one of exactly 4096 bytes may have been longer."""

MUTABLE = frozenset(
    {
        "suspend",
        "cancel",
        "cancelTime",
        "ttlSecondsAfterFinished",
        "ttlSecondsAfterSucceeded",
        "ttlSecondsAfterFailed",
        "podRetention",
        "podTTLSecondsAfterFinished",
        "forceDeletePodAfterSeconds",
    }
)
"""Fields of `spec` that may change at any time."""
SCHEDULING = (("nodeSelector",), ("affinity",), ("tolerations",), ("template", "metadata", "labels"))
"""Fields of `spec` that a queueing system sets before it sets `suspend` to false."""
COUNTERS = ("attemptCount", "failureCount", "disruptionCount", "suspendedSeconds")

Path = tuple[str, ...]


class ErrorReason(enum.StrEnum):
    """The `reason` of the API server's error, out of the values that Kubernetes allows in a validation rule."""

    INVALID = "FieldValueInvalid"
    FORBIDDEN = "FieldValueForbidden"
    REQUIRED = "FieldValueRequired"


@dataclasses.dataclass(frozen=True, slots=True)
class ValidationRule:
    """One validation rule.

    `path` is the place of `self` in the object: "spec.env[]" for each entry of a list, "" for the object itself.
    `field` is the field below `self` that the error names.
    """

    id: str
    path: str
    cel: str
    message: str
    field: str = ""
    reason: ErrorReason = ErrorReason.INVALID

    @property
    def is_transition(self) -> bool:
        """Whether the rule compares the object with the stored one."""
        return "oldSelf" in self.cel


def _has(root: str, *keys: str) -> str:
    """Return CEL that tests whether a path is present: `has(self.a) && has(self.a.b)`."""
    return " && ".join(f"has({'.'.join((root, *keys[: end + 1]))})" for end in range(len(keys)))


def _exactly_one(*fields: str) -> str:
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields) + " == 1"


# ---- rules over one object ----

_PREFIX = f"{GROUP}/"
_TASK = f"(has(self.containerName) ? self.containerName : '{DEFAULT_CONTAINER}')"
_TEMPLATE_CONTAINERS = _has("self", "template", "spec", "containers")
_TEMPLATE_INIT = _has("self", "template", "spec", "initContainers")
_FILE_IN_A_DIRECTORY = "^(/[^/]+)+/[^/]+$"
_DOT_SEGMENT = "/[.][.]?(/|$)"
_CONTAINER_NAMES = {
    "result-name-reserved": "spec.containerName",
    "result-name-reserved-init": "spec.initContainers[].name",
    "result-name-reserved-sidecar": "spec.template.spec.containers[].name",
    "result-name-reserved-template-init": "spec.template.spec.initContainers[].name",
}
"""One rule for each place of a name: a rule over all of `spec` costs the server more (docs/design/0013)."""


def _result_name_reserved(rule: str, path: str) -> ValidationRule:
    return ValidationRule(
        id=rule,
        path=path,
        cel=f"self != '{RESULT_CONTAINER}'",
        message=f"{path} may not be {RESULT_CONTAINER}: that is the container that delivers the result",
        reason=ErrorReason.FORBIDDEN,
    )


_OBJECT_RULES = (
    ValidationRule(
        id="image-required",
        path="spec",
        cel=f"has(self.image) || ({_TEMPLATE_CONTAINERS}"
        f" && self.template.spec.containers.exists(c, c.name == {_TASK} && has(c.image)))",
        message="set spec.image, or give an image to the template's container that spec.containerName names"
        f" (default: {DEFAULT_CONTAINER})",
        field="image",
        reason=ErrorReason.REQUIRED,
    ),
    *(_result_name_reserved(rule, path) for rule, path in _CONTAINER_NAMES.items()),
    ValidationRule(
        id="container-name-clash",
        path="spec",
        cel=f"(!({_TEMPLATE_INIT}) || self.template.spec.initContainers.all(c, c.name != {_TASK}))"
        f" && (!has(self.initContainers) || self.initContainers.all(c, c.name != {_TASK}))",
        message="an init container has the name of the task's container; rename it, or set spec.containerName"
        f" (default: {DEFAULT_CONTAINER})",
        field="containerName",
    ),
    ValidationRule(
        id="restart-policy",
        path="spec.template.spec",
        cel="!has(self.restartPolicy) || self.restartPolicy == 'Never'",
        message="restartPolicy may only be Never: attempts are counted by spec.backoffLimit",
        field="restartPolicy",
    ),
    ValidationRule(
        id="labels-reserved",
        path="spec.template.metadata",
        cel=f"(!has(self.labels) || self.labels.all(k, !k.startsWith('{_PREFIX}')))"
        f" && (!has(self.annotations) || self.annotations.all(k, !k.startsWith('{_PREFIX}')))",
        message=f"labels and annotations that begin with {_PREFIX} are reserved for the controller",
        reason=ErrorReason.FORBIDDEN,
    ),
    ValidationRule(
        id="env-value-or-source",
        path="spec.env[]",
        cel="!has(self.valueFrom) || !has(self.value) || self.value == ''",
        message="set value or valueFrom, not both",
    ),
    ValidationRule(
        id="env-from-one-source",
        path="spec.envFrom[]",
        cel=_exactly_one("configMapRef", "secretRef"),
        message="set exactly one of configMapRef and secretRef",
    ),
    ValidationRule(
        id="xcom-path",
        path="spec.xcom",
        cel=f"!has(self.path) || (self.path.matches('{_FILE_IN_A_DIRECTORY}') && !self.path.matches('{_DOT_SEGMENT}'))",
        message="path must be absolute, with at least one directory, and without empty, . or .. segments",
        field="path",
    ),
    ValidationRule(
        id="direct-limit",
        path="spec.xcom",
        cel=f"!has(self.mode) || self.mode != '{ResultMode.DIRECT}' || !has(self.maxBytes)"
        f" || self.maxBytes <= {MAX_DIRECT_BYTES}",
        message=f"maxBytes is at most {MAX_DIRECT_BYTES} with mode Direct: the kubelet truncates a longer message at"
        " 4096 bytes",
        field="maxBytes",
    ),
    ValidationRule(
        id="backoff-order",
        path="spec.backoff",
        cel="!has(self.initialSeconds) || !has(self.maxSeconds) || self.initialSeconds <= self.maxSeconds",
        message="maxSeconds (default: 360) may not be less than initialSeconds",
        field="maxSeconds",
    ),
    ValidationRule(
        id="rule-one-matcher",
        path="spec.failurePolicy.rules[]",
        cel=_exactly_one("onExitCodes", "onReasons", "onPodConditions"),
        message="set exactly one of onExitCodes, onReasons and onPodConditions",
    ),
    ValidationRule(
        id="exit-code-zero-in",
        path="spec.failurePolicy.rules[].onExitCodes",
        cel=f"self.operator != '{Operator.IN}' || !(0 in self.values)",
        message="values may not contain 0 with operator In: exit code 0 is success",
        field="values",
    ),
    ValidationRule(
        id="keep-without-ttl",
        path="spec",
        cel=f"!has(self.podRetention) || self.podRetention != '{PodRetention.KEEP}'"
        " || !has(self.podTTLSecondsAfterFinished)",
        message="podTTLSecondsAfterFinished deletes finished Pods, and podRetention Keep keeps them; set only one",
        field="podTTLSecondsAfterFinished",
    ),
)


# ---- transition rules ----


def _field_paths(model: type[BaseModel], above: Path = ()) -> Iterator[Path]:
    """Yield the path of each field of a model. Only models around a field of SCHEDULING are entered."""
    for name, field in model.model_fields.items():
        path = (*above, field.alias or name)
        if any(scheduling[: len(path)] == path and scheduling != path for scheduling in SCHEDULING):
            yield from _field_paths(_model_of(field.annotation), path)
        else:
            yield path


def _model_of(annotation: object) -> type[BaseModel]:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    raise TypeError(f"no model in {annotation!r}")


def _unchanged(*keys: str) -> str:
    """Return CEL that tests whether a path is absent before and after, or has the same value."""
    now, before = _has("self", *keys), _has("oldSelf", *keys)
    path = ".".join(keys)
    if len(keys) > 1:
        now, before = f"({now})", f"({before})"
    return f"{now} == {before} && (!{now} || self.{path} == oldSelf.{path})"


def _kebab(path: Path) -> str:
    return "-".join(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", key).lower() for key in path)


def _immutable(path: Path) -> ValidationRule:
    name = ".".join(path)
    return ValidationRule(
        id=f"immutable-{_kebab(path)}",
        path="spec",
        cel=_unchanged(*path),
        message=f"{name} cannot be changed; create another PodTask instead",
        field=name if len(path) == 1 else "",
        reason=ErrorReason.FORBIDDEN,
    )


_NOT_BEGUN = (
    "has(oldSelf.spec.suspend) && oldSelf.spec.suspend"
    f" && (!({_has('oldSelf', 'status', 'attemptCount')}) || oldSelf.status.attemptCount == 0)"
    f" && (!({_has('oldSelf', 'status', 'attempts')}) || size(oldSelf.status.attempts) == 0)"
)


def _scheduling(path: Path) -> ValidationRule:
    name = ".".join(path)
    return ValidationRule(
        id=f"scheduling-{_kebab(path)}",
        path="",
        cel=f"({_NOT_BEGUN}) || ({_unchanged('spec', *path)})",
        message=f"{name} can be changed only while suspend is true and before the first attempt",
        field="spec",
        reason=ErrorReason.FORBIDDEN,
    )


def _counter_lowered(name: str) -> ValidationRule:
    return ValidationRule(
        id=f"counter-lowered-{_kebab((name,))}",
        path=f"status.{name}",
        cel="self >= oldSelf",
        message=f"status.{name} cannot be lowered",
        reason=ErrorReason.FORBIDDEN,
    )


def _kept(name: str) -> str:
    return f"(!has(oldSelf.{name}) || has(self.{name}))"


_TERMINAL = sorted(TERMINAL)
_TERMINAL_PHASES = ", ".join(f"'{phase}'" for phase in _TERMINAL)

_TRANSITION_RULES = (
    *(_immutable(path) for path in _field_paths(PodTaskSpec) if path[0] not in MUTABLE and path not in SCHEDULING),
    *(_scheduling(path) for path in SCHEDULING),
    ValidationRule(
        id="cancel-one-way",
        path="spec",
        cel="!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
        message="cancel cannot be reset",
        field="cancel",
        reason=ErrorReason.FORBIDDEN,
    ),
    ValidationRule(
        id="terminal-phase",
        path="status.phase",  # which is required, so it cannot be removed; a rule over the status costs the server more
        cel=f"!(oldSelf in [{_TERMINAL_PHASES}]) || self == oldSelf",
        message=f"status.phase cannot change after {', '.join(_TERMINAL)}",
        reason=ErrorReason.FORBIDDEN,
    ),
    *(_counter_lowered(name) for name in COUNTERS),
    ValidationRule(
        id="counter-removed",
        path="status",
        # The other counts are written with attemptCount at the earliest. Each look at the status costs the server.
        cel="(!has(oldSelf.attemptCount) || (has(self.attemptCount)"
        f" && {_kept('failureCount')} && {_kept('disruptionCount')})) && {_kept('suspendedSeconds')}",
        message=f"status.{', '.join(COUNTERS)} cannot be removed",
        reason=ErrorReason.FORBIDDEN,
    ),
)

RULES: tuple[ValidationRule, ...] = (*_OBJECT_RULES, *_TRANSITION_RULES)
