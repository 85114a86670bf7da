"""Rules over one spec: what no single field's type can say."""

import re

from ..names import DEFAULT_CONTAINER, GROUP, RESULT_CONTAINER
from .rule import Json, Refusal, Rule, at, has, number, numbers, objects, texts
from .values import Operator, PodRetention, ResultMode

MAX_DIRECT_BYTES = 4095
"""The kubelet cuts a termination message at 4096 bytes, so one of exactly 4096 may have been longer."""

_PREFIX = f"{GROUP}/"
_TASK = f"(has(self.containerName) ? self.containerName : '{DEFAULT_CONTAINER}')"
_TEMPLATE_CONTAINERS = has("self", "template", "spec", "containers")
_TEMPLATE_INIT = has("self", "template", "spec", "initContainers")
_FILE_IN_A_DIRECTORY = "^(/[^/]+)+/[^/]+$"
_DOT_SEGMENT = "/[.][.]?(/|$)"


def _task_container(spec: Json) -> Json:
    return at(spec, "containerName") or DEFAULT_CONTAINER


def _init_containers(spec: Json) -> list[Json]:
    entries = objects(at(spec, "initContainers")) + objects(at(spec, "template", "spec", "initContainers"))
    return [at(entry, "name") for entry in entries]


def _has_image(spec: Json, _old: Json) -> bool:
    containers = objects(at(spec, "template", "spec", "containers"))
    return at(spec, "image") is not None or any(
        at(entry, "name") == _task_container(spec) and at(entry, "image") is not None for entry in containers
    )


_CONTAINER_NAMES = {
    "result-name-reserved": "spec.containerName",
    "result-name-reserved-init": "spec.initContainers[].name",
    "result-name-reserved-sidecar": "spec.template.spec.containers[].name",
    "result-name-reserved-template-init": "spec.template.spec.initContainers[].name",
}
"""Judged where each name stands: for each look into the spec the server copies the spec's schema (docs/design/0013)."""


def _leaves_the_result_name(rule: str, path: str) -> Rule:
    return Rule(
        id=rule,
        path=path,
        of=str,
        cel=f"self != '{RESULT_CONTAINER}'",
        message=f"{path} may not be {RESULT_CONTAINER}: that is the container that delivers the result",
        holds=lambda name, _old: name != RESULT_CONTAINER,
        refusal=Refusal.FORBIDDEN,
    )


def _one_of(value: Json, *fields: str) -> bool:
    return sum(at(value, field) is not None for field in fields) == 1


def _one_of_cel(*fields: str) -> str:
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields) + " == 1"


def _is_plain_path(xcom: Json, _old: Json) -> bool:
    path = at(xcom, "path")
    if not isinstance(path, str):
        return True
    is_file = re.search(_FILE_IN_A_DIRECTORY.replace("$", r"\Z"), path)
    return bool(is_file) and not re.search(_DOT_SEGMENT.replace("$", r"\Z"), path)


def _is_small_enough(xcom: Json, _old: Json) -> bool:
    return at(xcom, "mode") != ResultMode.DIRECT or (number(at(xcom, "maxBytes")) or 0) <= MAX_DIRECT_BYTES


def _is_rising(backoff: Json, _old: Json) -> bool:
    first, last = number(at(backoff, "initialSeconds")), number(at(backoff, "maxSeconds"))
    return first is None or last is None or first <= last


def _leaves_reserved_keys(metadata: Json, _old: Json) -> bool:
    keys = texts(at(metadata, "labels")) + texts(at(metadata, "annotations"))
    return not any(key.startswith(_PREFIX) for key in keys)


SPEC_RULES = (
    Rule(
        id="image-required",
        path="spec",
        cel=f"has(self.image) || ({_TEMPLATE_CONTAINERS}"
        f" && self.template.spec.containers.exists(c, c.name == {_TASK} && has(c.image)))",
        message="set spec.image, or give an image to the template's container that spec.containerName names"
        f" (default: {DEFAULT_CONTAINER})",
        holds=_has_image,
        field="image",
        refusal=Refusal.REQUIRED,
    ),
    *(_leaves_the_result_name(rule, path) for rule, path in _CONTAINER_NAMES.items()),
    Rule(
        id="container-name-clash",
        path="spec",
        cel=f"(!({_TEMPLATE_INIT}) || self.template.spec.initContainers.all(c, c.name != {_TASK}))"
        f" && (!has(self.initContainers) || self.initContainers.all(c, c.name != {_TASK}))",
        message="an init container has the name of the task's container; rename it, or set spec.containerName"
        f" (default: {DEFAULT_CONTAINER})",
        holds=lambda spec, _old: _task_container(spec) not in _init_containers(spec),
        field="containerName",
    ),
    Rule(
        id="restart-policy",
        path="spec.template.spec",
        cel="!has(self.restartPolicy) || self.restartPolicy == 'Never'",
        message="restartPolicy may only be Never: attempts are counted by spec.backoffLimit",
        holds=lambda pod, _old: at(pod, "restartPolicy") in (None, "Never"),
        field="restartPolicy",
    ),
    Rule(
        id="labels-reserved",
        path="spec.template.metadata",
        cel=f"(!has(self.labels) || self.labels.all(k, !k.startsWith('{_PREFIX}')))"
        f" && (!has(self.annotations) || self.annotations.all(k, !k.startsWith('{_PREFIX}')))",
        message=f"labels and annotations that begin with {_PREFIX} are the controller's own",
        holds=_leaves_reserved_keys,
        refusal=Refusal.FORBIDDEN,
    ),
    Rule(
        id="env-value-or-source",
        path="spec.env[]",
        cel="!has(self.valueFrom) || !has(self.value) || self.value == ''",
        message="set value or valueFrom, not both",
        holds=lambda env, _old: at(env, "value") in (None, "") or at(env, "valueFrom") is None,
    ),
    Rule(
        id="env-from-one-source",
        path="spec.envFrom[]",
        cel=_one_of_cel("configMapRef", "secretRef"),
        message="set exactly one of configMapRef and secretRef",
        holds=lambda source, _old: _one_of(source, "configMapRef", "secretRef"),
    ),
    Rule(
        id="xcom-path",
        path="spec.xcom",
        cel=f"!has(self.path) || (self.path.matches('{_FILE_IN_A_DIRECTORY}') && !self.path.matches('{_DOT_SEGMENT}'))",
        message="path is absolute, with at least one directory, and without empty, . or .. segments",
        holds=_is_plain_path,
        field="path",
    ),
    Rule(
        id="direct-limit",
        path="spec.xcom",
        cel=f"!has(self.mode) || self.mode != '{ResultMode.DIRECT}' || !has(self.maxBytes)"
        f" || self.maxBytes <= {MAX_DIRECT_BYTES}",
        message=f"maxBytes is at most {MAX_DIRECT_BYTES} with mode Direct: a termination message holds 4096 bytes, and"
        " a full one counts as cut",
        holds=_is_small_enough,
        field="maxBytes",
    ),
    Rule(
        id="backoff-order",
        path="spec.backoff",
        cel="!has(self.initialSeconds) || !has(self.maxSeconds) || self.initialSeconds <= self.maxSeconds",
        message="maxSeconds is not less than initialSeconds",
        holds=_is_rising,
        field="maxSeconds",
    ),
    Rule(
        id="rule-one-matcher",
        path="spec.failurePolicy.rules[]",
        cel=_one_of_cel("onExitCodes", "onReasons", "onPodConditions"),
        message="set exactly one of onExitCodes, onReasons and onPodConditions",
        holds=lambda rule, _old: _one_of(rule, "onExitCodes", "onReasons", "onPodConditions"),
    ),
    Rule(
        id="on-retry-reserved",
        path="spec.failurePolicy.rules[]",
        cel="!has(self.onRetry)",
        message="onRetry is not supported in this version",
        holds=lambda rule, _old: at(rule, "onRetry") is None,
        field="onRetry",
        refusal=Refusal.FORBIDDEN,
    ),
    Rule(
        id="exit-code-zero-in",
        path="spec.failurePolicy.rules[].onExitCodes",
        cel=f"self.operator != '{Operator.IN}' || !(0 in self.values)",
        message="values may not hold 0 with operator In: an exit code of 0 is success",
        holds=lambda match, _old: at(match, "operator") != Operator.IN or 0 not in numbers(at(match, "values")),
        field="values",
    ),
    Rule(
        id="keep-without-ttl",
        path="spec",
        cel=f"!has(self.podRetention) || self.podRetention != '{PodRetention.KEEP}'"
        " || !has(self.podTTLSecondsAfterFinished)",
        message="podTTLSecondsAfterFinished says when a Pod goes, and podRetention Keep that it stays; set one of them",
        holds=lambda spec, _old: (
            at(spec, "podRetention") != PodRetention.KEEP or at(spec, "podTTLSecondsAfterFinished") is None
        ),
        field="podTTLSecondsAfterFinished",
    ),
)
