"""All rules of the API, and their judgement in Python: what the server says in CEL, said without a server."""

import dataclasses

from .rule import Json, Rule, at, places
from .rules_change import CHANGE_RULES
from .rules_spec import SPEC_RULES

RULES: tuple[Rule, ...] = (*SPEC_RULES, *CHANGE_RULES)


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """A rule that an object breaks, and where."""

    rule: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or '(object)'}: {self.message} [{self.rule}]"


def violations(obj: Json, old: Json = None) -> list[Violation]:
    """Return every broken rule, in the order of the table; rules over a change only where there is an old object.

    Both are plain JSON as the API server sends it, of any shape: this never raises.
    """
    return [violation for rule in RULES for violation in _judged(rule, obj, old)]


def _judged(rule: Rule, obj: Json, old: Json) -> list[Violation]:
    if rule.is_transition and old is None:
        return []
    before = at(old, *rule.path.split(".")) if rule.is_transition and rule.path else old
    found = []
    for path, value in places(obj, rule):
        if not rule.holds(value, before):
            where = f"{path}.{rule.field}".strip(".") if rule.field else path
            found.append(Violation(rule.id, where, rule.message))
    return found
