"""Each refusal is one class and one sentence that says what to do."""

import pytest
import wire
from podtask_airflow.hooks import api_errors

DOING = "create a PodTask in namespace team-a"
RBAC = 'podtasks.podtask.dev is forbidden: User "u" cannot create resource "podtasks" in API group "podtask.dev"'


@pytest.mark.parametrize(
    ("code", "message", "kind", "says"),
    [
        (400, 'strict decoding error: unknown field "spec.imag"', api_errors.Invalid, "spec.imag"),
        (401, "Unauthorized", api_errors.Unauthorized, "credential plugin"),
        (403, RBAC, api_errors.Forbidden, "bind PodTask's role"),
        (403, RBAC.replace('"u"', '"system:anonymous"'), api_errors.Unauthorized, "renew the token"),
        (403, "exceeded quota: q", api_errors.Forbidden, "denied the request to create a PodTask"),
        (404, 'podtasks.podtask.dev "a" not found', api_errors.NotFound, "may have been deleted"),
        (404, 'namespaces "team-a" not found', api_errors.NotFound, "The namespace does not exist"),
        (404, "the server could not find the requested resource", api_errors.CrdMissing, "Helm chart"),
        (409, "already exists", api_errors.Conflict, "exists already"),
        (410, "too old resource version", api_errors.Expired, "resourceVersion expired"),
        (422, "spec.image: Forbidden: image cannot be changed", api_errors.Invalid, "image cannot be changed"),
        (429, "slow down", api_errors.TooManyRequests, "overloaded"),
        (500, "etcdserver: request timed out", api_errors.Unreachable, "check that it is up"),
        (418, "I am a teapot", api_errors.ApiError, "418"),
    ],
)
def test_a_status_becomes_a_sentence(code: int, message: str, kind: type, says: str) -> None:
    error = api_errors.of_reply(code, wire.status(code, "R", message), doing=DOING)
    assert type(error) is kind
    assert error.status == code
    assert says in str(error)
    assert "\n" not in str(error)
    if kind is not api_errors.CrdMissing:
        assert DOING in str(error)


def test_a_cluster_without_the_crd_answers_in_plain_text() -> None:
    error = api_errors.of_reply(404, b"404 page not found\n", doing=DOING)
    assert isinstance(error, api_errors.CrdMissing)


def test_a_front_ends_page_is_not_repeated() -> None:
    error = api_errors.of_reply(502, b"<html>secret inner name</html>", doing=DOING)
    assert isinstance(error, api_errors.Unreachable)
    assert "secret" not in str(error)
    assert type(api_errors.of_reply(404, b"<html>", doing=DOING)) is api_errors.NotFound


def test_only_what_can_pass_by_itself_is_not_permanent() -> None:
    passing = {api_errors.Unreachable, api_errors.TooManyRequests, api_errors.Expired}
    every = {
        *api_errors._CLASSES.values(),
        api_errors.CrdMissing,
        api_errors.PatchTestFailed,
        api_errors.Unreachable,
        api_errors.Untrusted,
    }
    assert {kind for kind in every if not kind.is_permanent} == passing


def test_a_message_is_bounded() -> None:
    assert len(str(api_errors.of_status({"code": 422, "message": "x" * 100_000}, doing=DOING))) < 2000
