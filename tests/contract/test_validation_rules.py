"""The validation rules, evaluated as CEL: on the examples, on values at their limits and on generated objects.

Also as they are in the CRD, where rules over the spec are combined and guarded (docs/design/0005).
"""

import copy
import itertools
from typing import Any

import cel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podtask.api.v1alpha1.validation_rules import COUNTERS, RULES, ValidationRule
from podtask.crdgen.manifest import schema_at
from tests.crd import examples, judge, values

SCHEMA = examples.object_schema()
SPECS = values.valid(SCHEMA["properties"]["spec"])
STATUSES = values.valid(SCHEMA["properties"]["status"])
TASKS = st.fixed_dictionaries({"spec": SPECS}, optional={"status": STATUSES})
BY_ID = {rule.id: rule for rule in RULES}

PAIRS = [
    *((None, examples.documents(path)[0]) for path in examples.VALID),
    *((case.before, case.after) for case in map(examples.refused, examples.INVALID) if case.at is None),
]


def _id(rule: ValidationRule) -> str:
    return rule.id


@pytest.mark.parametrize("rule", RULES, ids=_id)
def test_the_examples_break_each_rule_and_keep_it(rule: ValidationRule) -> None:
    changes = [*PAIRS, *((after, after) for _, after in PAIRS), *((after, before) for before, after in PAIRS if before)]
    assert {bool(judge.broken_at(rule, after, before)) for before, after in changes} == {True, False}


def test_rules_have_distinct_ids_and_one_line_messages() -> None:
    assert len(BY_ID) == len(RULES)
    assert len({rule.message for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert "\n" not in rule.message
        assert len(rule.message) < 160, rule.id


CONTAINERS = {"template": {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b"}]}}}
INIT = {"template": {"spec": {"initContainers": [{"name": "a"}]}}}
VERDICTS: dict[str, list[tuple[Any, bool]]] = {
    "image-required": [
        ({"image": "i"}, True),
        ({"image": "i", "containerName": "z", **CONTAINERS}, True),
        ({"containerName": "a", **CONTAINERS}, True),
        ({"containerName": "b", **CONTAINERS}, False),
        ({"containerName": "z", **CONTAINERS}, False),
        (CONTAINERS, False),
        ({"template": {"spec": {"containers": [{"name": "base", "image": "i"}]}}}, True),
        ({"template": {"metadata": {}}}, False),
        ({"template": {"spec": {}}}, False),
        ({}, False),
    ],
    "container-name-clash": [
        ({}, True),
        (INIT, True),
        ({"containerName": "a", **INIT}, False),
        ({"containerName": "a", "initContainers": [{"name": "b"}, {"name": "a"}]}, False),
        ({"containerName": "b", "initContainers": [{"name": "a"}]}, True),
        ({"initContainers": [{"name": "base"}]}, False),
    ],
    "restart-policy": [({}, True), ({"restartPolicy": "Never"}, True), ({"restartPolicy": "Always"}, False)],
    "labels-reserved": [
        ({}, True),
        ({"labels": {"podtask.dev/a": "b"}}, False),
        ({"annotations": {"a": "b", "podtask.dev/a": "b"}}, False),
        ({"labels": {"my.podtask.dev/a": "podtask.dev/"}, "annotations": {"podtask.dev": "b"}}, True),
    ],
    "env-value-or-source": [
        ({"name": "A"}, True),
        ({"name": "A", "value": "x"}, True),
        ({"name": "A", "valueFrom": {}}, True),
        ({"name": "A", "value": "", "valueFrom": {}}, True),
        ({"name": "A", "value": "x", "valueFrom": {}}, False),
    ],
    "env-from-one-source": [
        ({}, False),
        ({"configMapRef": {"name": "a"}}, True),
        ({"secretRef": {"name": "a"}}, True),
        ({"configMapRef": {"name": "a"}, "secretRef": {"name": "a"}}, False),
    ],
    "xcom-path": [
        ({}, True),
        *(({"path": path}, True) for path in ("/a/b", "/a/.b", "/a/b.", "/a/...", "/..a/b", "/a b/ü", "/a/b/c.json")),
        *(
            ({"path": path}, False)
            for path in (
                "/a",
                "a/b",
                "/a/",
                "/a//b",
                "//a/b",
                "/a/.",
                "/a/..",
                "/a/./b",
                "/a/../b",
                "/../a",
                "/./a",
                "/",
            )
        ),
    ],
    "direct-limit": [
        ({}, True),
        ({"mode": "Direct"}, True),
        ({"mode": "Direct", "maxBytes": 4095}, True),
        ({"mode": "Direct", "maxBytes": 4096}, False),
        ({"mode": "Auto", "maxBytes": 4096}, True),
        ({"maxBytes": 524_288}, True),
    ],
    "backoff-order": [
        ({"initialSeconds": 5, "maxSeconds": 5}, True),
        ({"initialSeconds": 6, "maxSeconds": 5}, False),
        ({"initialSeconds": 6}, True),
        ({"maxSeconds": 5}, True),
    ],
    "rule-one-matcher": [
        ({"action": "Fail"}, False),
        *(({"action": "Fail", matcher: {}}, True) for matcher in ("onExitCodes", "onReasons")),
        ({"action": "Fail", "onPodConditions": []}, True),
        ({"action": "Fail", "onExitCodes": {}, "onReasons": {}}, False),
        ({"action": "Fail", "onExitCodes": {}, "onPodConditions": []}, False),
        ({"action": "Fail", "onReasons": {}, "onPodConditions": []}, False),
    ],
    "exit-code-zero-in": [
        ({"operator": "In", "values": [1, 2]}, True),
        ({"operator": "In", "values": [1, 0]}, False),
        ({"operator": "NotIn", "values": [0]}, True),
    ],
    "keep-without-ttl": [
        ({"podRetention": "Keep"}, True),
        ({"podTTLSecondsAfterFinished": 1}, True),
        ({"podRetention": "DeleteSucceeded", "podTTLSecondsAfterFinished": 1}, True),
        ({"podRetention": "Keep", "podTTLSecondsAfterFinished": 0}, False),
    ],
}
"""Values of `self` and the verdict, for each rule whose CEL has more than one way to be right or wrong."""


@pytest.mark.parametrize(
    ("rule", "value", "want"),
    [(BY_ID[name], value, want) for name, table in VERDICTS.items() for value, want in table],
    ids=lambda part: part.id if isinstance(part, ValidationRule) else None,
)
def test_verdict(rule: ValidationRule, value: Any, want: bool) -> None:
    assert judge.holds(rule, value) is want


PHASES = ("Suspended", "Pending", "Running", "Succeeded", "Failed", "Cancelled", "Skipped")
TERMINAL = PHASES[3:]


@pytest.mark.parametrize("before", PHASES)
def test_a_terminal_phase_is_final(before: str) -> None:
    for after in PHASES:
        want = before not in TERMINAL or after == before
        assert judge.holds(BY_ID["terminal-phase"], after, before) is want
    assert SCHEMA["properties"]["status"]["required"] == ["phase"], "or it could be removed, and come back as another"


@pytest.mark.parametrize("name", COUNTERS)
def test_a_counter_can_be_neither_lowered_nor_removed(name: str) -> None:
    (rule,) = [rule for rule in RULES if rule.path == f"status.{name}"]
    assert [judge.holds(rule, after, 1) for after in (0, 1, 2)] == [False, True, True]
    counted = {"attemptCount": 1}
    for before, after, want in (
        ({}, {}, True),
        ({}, {name: 0}, True),
        ({name: 1} | counted, {name: 1} | counted, True),
        ({name: 0} | counted, {}, False),
        ({name: 0} | counted, {key: 1 for key in COUNTERS if key != name}, False),
    ):
        assert judge.holds(BY_ID["counter-removed"], after, before) is want, (before, after)


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.is_transition], ids=_id)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_rule_gives_a_verdict_on_any_value_of_its_place(rule: ValidationRule, data: st.DataObject) -> None:
    """An error of CEL would refuse the object with a message about CEL."""
    judge.holds(rule, data.draw(values.valid(schema_at(SCHEMA, rule.path))))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=TASKS, after=TASKS)
def test_the_rules_give_a_verdict_on_any_change(before: values.Json, after: values.Json) -> None:
    """No change is refused where nothing changes, but for what a rule over one object refuses."""
    judge.violations(after, before)
    assert judge.violations(before, before) == judge.violations(before)


COUNTS = (None, 0, 1)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.id.startswith("scheduling-")], ids=_id)
def test_scheduling_fields_follow_suspension_and_attempts(rule: ValidationRule) -> None:
    field = rule.message.partition(" can")[0].split(".")
    for suspend, count, attempts in itertools.product((None, False, True), COUNTS, (None, [], [{"number": 1}])):
        status = {key: value for key, value in (("attemptCount", count), ("attempts", attempts)) if value is not None}
        before: values.Json = {"spec": {} if suspend is None else {"suspend": suspend}, "status": status}
        after = copy.deepcopy(before)
        holder = after["spec"]
        for step in field[:-1]:
            holder = holder.setdefault(step, {})
        holder[field[-1]] = {"a": "b"}
        assert judge.holds(rule, after, before) is (suspend is True and not count and not attempts)
        assert judge.holds(rule, before, before)


OVER_SPEC = [rule for rule in RULES if rule.path == "spec" or (not rule.path and rule.field == "spec")]
(AT_CREATE, AT_CHANGE) = SCHEMA["x-kubernetes-validations"]


def test_the_rules_over_the_spec_are_evaluated_until_the_task_has_begun() -> None:
    """They stand on the object behind a guard, which spares the server work (docs/design/0005)."""
    rule, message = cel.compile(AT_CREATE["rule"]), cel.compile(AT_CREATE["messageExpression"])
    parts = [part for part in OVER_SPEC if not part.is_transition]
    seen = set()
    for _, after in PAIRS:
        broken = [part for part in parts if judge.broken_at(part, after)]
        for status in ({}, {"status": {"phase": "Pending"}}):
            names = {"self": {"spec": after["spec"], **status}}
            assert rule.execute(names) is not bool(broken)
            if broken:
                assert message.execute(names) == broken[0].message
        assert rule.execute({"self": {"spec": after["spec"], "status": {"phase": "Running"}}})
        seen.add(broken[0].id if broken else None)
    assert seen == {*(part.id for part in parts), None}


def test_the_combined_rule_says_what_its_parts_say() -> None:
    """All that a changed spec must keep is one rule in the CRD (docs/design/0005)."""
    rule, message = cel.compile(AT_CHANGE["rule"]), cel.compile(AT_CHANGE["messageExpression"])
    parts = [*filter(lambda part: part.is_transition, OVER_SPEC), *(p for p in OVER_SPEC if not p.is_transition)]
    verdicts = set()
    for one, other in PAIRS:
        if one is None:
            continue
        status = one.get("status", {"phase": "Pending"})
        before, after = {**one, "status": status}, {**other, "status": status}
        broken = [part for part in parts if judge.broken_at(part, after, before)]
        names = {"self": after, "oldSelf": before}
        assert rule.execute(names) is not bool(broken)
        if broken:
            assert message.execute(names) == broken[0].message
        verdicts.add(broken[0].is_transition if broken else None)
        # The server takes either a status or a spec from one write, so where the phase differs the spec cannot.
        assert rule.execute({"self": {**after, "status": {"phase": "Another"}}, "oldSelf": before})
    assert verdicts == {True, False, None}, "a part of each kind must have been broken, and kept"
