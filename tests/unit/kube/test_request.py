"""What goes over the wire, as data."""

import orjson
import pytest

from podtask.kube import client, request
from podtask.kube.client import PODS, PatchType, Resource
from podtask.kube.request import Request

TASKS = Resource("/apis/podtask.dev/v1alpha1", "podtasks")
JSON = {"Accept": "application/json"}
SENDS_JSON = JSON | {"Content-Type": "application/json"}
STRICT = {"fieldManager": "podtask", "fieldValidation": "Strict"}

CASES = {
    "a get asks for the live object: no resourceVersion": (
        request.get(PODS, "ns", "p"),
        Request("get", "pods", "GET", "/api/v1/namespaces/ns/pods/p", {}, JSON),
    ),
    "a list of all namespaces is consistent: no resourceVersion": (
        request.list_page(TASKS, namespace="", selector="", limit=500, continue_token=""),
        Request("list", "podtasks", "GET", "/apis/podtask.dev/v1alpha1/podtasks", {"limit": "500"}, JSON),
    ),
    "the next page repeats limit and selector": (
        request.list_page(PODS, namespace="ns", selector="a=b", limit=2, continue_token="t"),
        Request(
            "list",
            "pods",
            "GET",
            "/api/v1/namespaces/ns/pods",
            {"limit": "2", "labelSelector": "a=b", "continue": "t"},
            JSON,
        ),
    ),
    "a list by a field": (
        request.list_page(
            client.POD_EVENTS, namespace="ns", selector="", fields="involvedObject.uid=u", limit=1, continue_token=""
        ),
        Request(
            "list",
            "events",
            "GET",
            "/api/v1/namespaces/ns/events",
            {"limit": "1", "fieldSelector": "involvedObject.uid=u"},
            JSON,
        ),
    ),
    "a watch asks for bookmarks": (
        request.watch(PODS, namespace="", selector="a", resource_version="7", timeout_seconds=300),
        Request(
            "watch",
            "pods",
            "GET",
            "/api/v1/pods",
            {
                "watch": "true",
                "resourceVersion": "7",
                "allowWatchBookmarks": "true",
                "timeoutSeconds": "300",
                "labelSelector": "a",
            },
            JSON,
        ),
    ),
    "a create is strict": (
        request.create(PODS, "ns", b"{}"),
        Request("create", "pods", "POST", "/api/v1/namespaces/ns/pods", STRICT, SENDS_JSON, b"{}"),
    ),
    "a patch of the status": (
        request.patch(TASKS, "ns", "t", b"{}", PatchType.MERGE, subresource="status"),
        Request(
            "patch",
            "podtasks/status",
            "PATCH",
            "/apis/podtask.dev/v1alpha1/namespaces/ns/podtasks/t/status",
            {"fieldManager": "podtask"},
            JSON | {"Content-Type": "application/merge-patch+json"},
            b"{}",
        ),
    ),
    "a strategic patch of the object": (
        request.patch(PODS, "ns", "p", b"{}", PatchType.STRATEGIC, subresource=""),
        Request(
            "patch",
            "pods",
            "PATCH",
            "/api/v1/namespaces/ns/pods/p",
            {"fieldManager": "podtask"},
            JSON | {"Content-Type": "application/strategic-merge-patch+json"},
            b"{}",
        ),
    ),
    "a log is no JSON": (
        request.read_log("ns", "p", "main", limit_bytes=99),
        Request(
            "get",
            "pods/log",
            "GET",
            "/api/v1/namespaces/ns/pods/p/log",
            {"container": "main", "limitBytes": "99"},
            {"Accept": "*/*"},
        ),
    ),
}


@pytest.mark.parametrize(("got", "want"), CASES.values(), ids=CASES.keys())
def test_request(got: Request, want: Request) -> None:
    assert got == want


@pytest.mark.parametrize(
    ("grace", "want"),
    [(None, {}), (0, {"gracePeriodSeconds": 0}), (30, {"gracePeriodSeconds": 30})],
)
def test_a_delete_names_the_uid(grace: int | None, want: dict[str, object]) -> None:
    got = request.delete(PODS, "ns", "p", uid="u", grace_seconds=grace)
    assert (got.verb, got.method, got.path) == ("delete", "DELETE", "/api/v1/namespaces/ns/pods/p")
    assert got.body is not None
    assert (
        orjson.loads(got.body)
        == {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": "u"},
        }
        | want
    )


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    got = request.get(PODS, "ns", "../../secrets/x?y#z%2f")
    assert got.path == "/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets%2Fx%3Fy%23z%252f"


def test_the_query_is_encoded() -> None:
    got = request.list_page(PODS, namespace="", selector="a in (b,c),d!=e", limit=1, continue_token="x/+=")
    assert got.target == "/api/v1/pods?limit=1&labelSelector=a+in+%28b%2Cc%29%2Cd%21%3De&continue=x%2F%2B%3D"


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (request.get(PODS, "n", "p"), False),
        (request.watch(PODS, namespace="", selector="", resource_version="1", timeout_seconds=1), False),
        (request.read_log("n", "p", "c", limit_bytes=1), False),
        (request.create(PODS, "n", b""), True),
        (request.patch(PODS, "n", "p", b"", client.PatchType.MERGE, subresource=""), True),
        (request.delete(PODS, "n", "p", uid="u", grace_seconds=None), True),
    ],
)
def test_what_is_a_write(got: Request, want: bool) -> None:
    assert got.is_write is want
