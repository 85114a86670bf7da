"""Each rule stands twice, in Python and in CEL. Both must say the same, on a table and on generated values."""

import copy
import itertools

import cel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podtask.api.v1alpha1.rule import Rule
from podtask.api.v1alpha1.rules import RULES
from podtask.crdgen.manifest import place
from tests.crd import examples, judge, values

SCHEMA = examples.object_schema()
SPECS = values.valid(SCHEMA["properties"]["spec"])
STATUSES = values.valid(SCHEMA["properties"]["status"])
TASKS = st.fixed_dictionaries({"spec": SPECS}, optional={"status": STATUSES})

PAIRS = [
    *((None, examples.documents(path)[0]) for path in examples.VALID),
    *((case.before, case.after) for case in map(examples.refused, examples.INVALID) if case.at is None),
]


def _rule(rule: Rule) -> str:
    return rule.id


@pytest.mark.parametrize("rule", RULES, ids=_rule)
def test_python_and_cel_agree_on_the_examples(rule: Rule) -> None:
    verdicts = set()
    for before, after in [*PAIRS, *((after, after) for _, after in PAIRS), *((a, b) for b, a in PAIRS if b)]:
        want = judge.broken_by_cel(rule, after, before)
        assert judge.broken_by_python(rule, after, before) == want, (before, after)
        verdicts.add(bool(want))
    assert verdicts == {True, False}, "the examples must break each rule, and keep it"


def test_rules_have_ids_of_their_own_and_one_line_messages() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert len({rule.message for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.is_transition == ("oldSelf" in rule.cel), rule.id
        assert "\n" not in rule.message
        assert len(rule.message) < 160, rule.id


@pytest.mark.parametrize("rule", [rule for rule in RULES if not rule.is_transition], ids=_rule)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_python_and_cel_agree_where_the_rule_stands(rule: Rule, data: st.DataObject) -> None:
    """Dense in what one rule looks at, where a whole object seldom meets it."""
    value = data.draw(values.valid(place(SCHEMA, rule.path)))
    assert rule.holds(value, None) is judge.holds_by_cel(rule, value, None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(task=TASKS)
def test_python_and_cel_agree_on_any_object(task: values.Json) -> None:
    for rule in RULES:
        if not rule.is_transition:
            assert judge.broken_by_python(rule, task) == judge.broken_by_cel(rule, task), rule.id


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=TASKS, other=TASKS, data=st.data())
def test_python_and_cel_agree_on_any_change(before: values.Json, other: values.Json, data: st.DataObject) -> None:
    after = copy.deepcopy(before)
    for part in ("spec", "status"):
        for name in data.draw(st.lists(st.sampled_from(sorted(SCHEMA["properties"][part]["properties"])), max_size=4)):
            after.setdefault(part, {}).pop(name, None)
            if name in other.get(part, {}):
                after[part][name] = other[part][name]
    for old, new in ((before, after), (before, before), (before, other)):
        for rule in RULES:
            assert judge.broken_by_python(rule, new, old) == judge.broken_by_cel(rule, new, old), rule.id


COUNTS = (None, 0, 1)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.id.startswith("scheduling-")], ids=_rule)
def test_scheduling_fields_follow_suspension_and_attempts(rule: Rule) -> None:
    field = rule.message.partition(" can")[0].split(".")
    for suspend, count, attempts in itertools.product((None, False, True), COUNTS, (None, [], [{"number": 1}])):
        status = {key: value for key, value in (("attemptCount", count), ("attempts", attempts)) if value is not None}
        before: values.Json = {"spec": {} if suspend is None else {"suspend": suspend}, "status": status}
        after = copy.deepcopy(before)
        holder = after["spec"]
        for step in field[:-1]:
            holder = holder.setdefault(step, {})
        holder[field[-1]] = {"a": "b"}
        want = suspend is True and not count and not attempts
        assert rule.holds(after, before) is want
        assert judge.holds_by_cel(rule, after, before) is want


WRITTEN = {rule["message"]: rule["rule"] for rule in SCHEMA["x-kubernetes-validations"]}
OVER_SPEC = [rule for rule in RULES if rule.path == "spec" or (not rule.path and rule.field == "spec")]


@pytest.mark.parametrize("rule", [rule for rule in OVER_SPEC if not rule.is_transition], ids=_rule)
def test_a_rule_over_the_spec_is_judged_until_the_task_has_begun(rule: Rule) -> None:
    """They stand on the object behind a guard, for the server's sake (docs/design/0005)."""
    written, verdicts = cel.compile(WRITTEN[rule.message]), set()
    for _, after in PAIRS:
        broken = bool(judge.broken_by_python(rule, after))
        for status in ({}, {"status": {"phase": "Pending"}}):
            assert written.execute({"self": {"spec": after["spec"], **status}}) is not broken
        assert written.execute({"self": {"spec": after["spec"], "status": {"phase": "Running"}}})
        verdicts.add(broken)
    assert verdicts == {True, False}


def test_the_combined_rule_says_what_its_parts_say() -> None:
    """The CRD has one rule for all that a changed spec must keep (docs/design/0005)."""
    (combined,) = [rule for rule in SCHEMA["x-kubernetes-validations"] if "messageExpression" in rule]
    rule, message = cel.compile(combined["rule"]), cel.compile(combined["messageExpression"])
    over_change = [rule for rule in OVER_SPEC if rule.is_transition]
    parts = [*over_change, *(rule for rule in OVER_SPEC if not rule.is_transition)]
    verdicts = set()
    for one, other in PAIRS:
        if one is None:
            continue
        status = one.get("status", {"phase": "Pending"})
        before, after = {**one, "status": status}, {**other, "status": status}
        broken = [part for part in parts if judge.broken_by_python(part, after, before)]
        names = {"self": after, "oldSelf": before}
        assert rule.execute(names) is not bool(broken)
        if broken:
            assert message.execute(names) == broken[0].message
        verdicts.add(broken[0].is_transition if broken else None)
        # The server takes either a status or a spec from one write, so where the phase differs the spec cannot.
        assert rule.execute({"self": {**after, "status": {"phase": "Another"}}, "oldSelf": before})
    assert verdicts == {True, False, None}, "a part of each kind must have been broken, and kept"
