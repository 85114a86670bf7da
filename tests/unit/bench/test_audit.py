"""Requests are counted once each, by who made them."""

import json
from pathlib import Path
from typing import Any

from bench.audit import Audit


def event(audit_id: str, user: str, verb: str, *, stage: str = "ResponseComplete", sub: str = "") -> dict[str, Any]:
    about = {"resource": "pods"} | ({"subresource": sub} if sub else {})
    return {"auditID": audit_id, "stage": stage, "user": {"username": user}, "verb": verb, "objectRef": about}


def write(audit: Audit, *events: dict[str, Any], end: str = "\n") -> None:
    with audit.log.open("a") as log:
        log.write("\n".join(map(json.dumps, events)) + end)


def test_each_user_has_an_account_of_its_own(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    write(audit, event("1", "a", "get"), event("2", "a", "get"), event("3", "b", "get", sub="log"))
    assert audit.news() == {"a": {"get pods": 2}, "b": {"get pods/log": 1}}


def test_a_watch_counts_when_it_begins_and_never_again(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    write(audit, event("1", "a", "watch", stage="ResponseStarted"))
    assert audit.news() == {"a": {"watch pods": 1}}
    write(audit, event("1", "a", "watch"), event("2", "a", "list"))
    assert audit.news() == {"a": {"list pods": 1}}


def test_a_line_that_is_being_written_waits_for_the_next_call(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    half = json.dumps(event("2", "a", "patch"))
    write(audit, event("1", "a", "get"), end="\n" + half[:20])
    assert audit.news() == {"a": {"get pods": 1}}
    with audit.log.open("a") as log:
        log.write(half[20:] + "\n")
    assert audit.news() == {"a": {"patch pods": 1}}


def test_what_was_refused_is_told_apart(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    write(audit, event("1", "a", "get") | {"responseStatus": {"code": 404}}, event("2", "a", "get"))
    assert audit.news() == {"a": {"get pods refused with 404": 1, "get pods": 1}}


def test_what_is_about_no_resource_is_left_out(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    health = event("1", "a", "get")
    del health["objectRef"]
    write(audit, health)
    assert audit.news() == {}


def test_the_server_is_told_to_leave_out_what_is_only_announced(tmp_path: Path) -> None:
    policy, log = (argument.partition("=")[2] for argument in Audit(tmp_path).arguments())
    assert json.loads(Path(policy).read_text())["omitStages"] == ["RequestReceived"]
    assert Path(log).parent == tmp_path
