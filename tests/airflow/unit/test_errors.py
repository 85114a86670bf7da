"""Each refusal is one class and one sentence that says what to do."""

import pytest
import wire
from podtask_airflow import errors

DOING = "create a PodTask in namespace team-a"
RBAC = 'podtasks.podtask.dev is forbidden: User "u" cannot create resource "podtasks" in API group "podtask.dev"'


@pytest.mark.parametrize(
    ("code", "message", "kind", "says"),
    [
        (400, 'strict decoding error: unknown field "spec.imag"', errors.Invalid, "spec.imag"),
        (401, "Unauthorized", errors.Unauthorized, "credential plugin"),
        (403, RBAC, errors.Forbidden, "give it PodTask's role"),
        (403, RBAC.replace('"u"', '"system:anonymous"'), errors.Unauthorized, "renew the token"),
        (403, "exceeded quota: q", errors.Forbidden, "The cluster refuses to create a PodTask"),
        (404, 'podtasks.podtask.dev "a" not found', errors.NotFound, "deleted meanwhile"),
        (404, 'namespaces "team-a" not found', errors.NotFound, "That namespace does not exist"),
        (404, "the server could not find the requested resource", errors.CrdMissing, "Helm chart"),
        (409, "already exists", errors.Conflict, "faster"),
        (410, "too old resource version", errors.Expired, "too old"),
        (422, "spec.image: Forbidden: image cannot be changed", errors.Invalid, "image cannot be changed"),
        (429, "slow down", errors.TooManyRequests, "too busy"),
        (500, "etcdserver: request timed out", errors.Unreachable, "check that it is up"),
        (418, "I am a teapot", errors.ApiError, "418"),
    ],
)
def test_a_status_becomes_a_sentence(code: int, message: str, kind: type, says: str) -> None:
    error = errors.of_reply(code, wire.status(code, "R", message), doing=DOING)
    assert type(error) is kind
    assert error.status == code
    assert says in str(error)
    assert "\n" not in str(error)
    if kind is not errors.CrdMissing:
        assert DOING in str(error)


def test_a_cluster_without_the_crd_answers_in_plain_text() -> None:
    error = errors.of_reply(404, b"404 page not found\n", doing=DOING)
    assert isinstance(error, errors.CrdMissing)


def test_a_front_ends_page_is_not_repeated() -> None:
    error = errors.of_reply(502, b"<html>secret inner name</html>", doing=DOING)
    assert isinstance(error, errors.Unreachable)
    assert "secret" not in str(error)
    assert type(errors.of_reply(404, b"<html>", doing=DOING)) is errors.NotFound


def test_only_what_can_pass_by_itself_is_not_lasting() -> None:
    passing = {errors.Unreachable, errors.TooManyRequests, errors.Expired}
    every = {*errors._CLASSES.values(), errors.CrdMissing, errors.PatchTestFailed, errors.Unreachable, errors.Untrusted}
    assert {kind for kind in every if not kind.lasting} == passing


def test_a_message_is_bounded() -> None:
    assert len(str(errors.of_status({"code": 422, "message": "x" * 100_000}, doing=DOING))) < 2000
