"""How deep JSON is, and what is left of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtask.kube import client, json_depth, list_splitter, reply

leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def depth(value: object) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@given(documents, st.integers(0, 6))
def test_the_depth_is_that_of_the_decoded_value(value: object, levels: int) -> None:
    assert json_depth.is_deeper(json.dumps(value).encode(), levels) == (depth(value) > levels)


@given(documents, st.integers(1, 6))
def test_what_is_cut_is_json_and_all_that_is_not_too_deep(value: object, levels: int) -> None:
    def trimmed(part: object, left: int) -> object:
        if isinstance(part, dict | list) and not left:
            return "(cut: nested too deep)"
        if isinstance(part, dict):
            return {key: trimmed(child, left - 1) for key, child in part.items()}
        return [trimmed(child, left - 1) for child in part] if isinstance(part, list) else part

    assert json.loads(json_depth.cut(json.dumps(value).encode(), levels)) == trimmed(value, levels)


@pytest.mark.parametrize("text", ['{"a":"}]{{[["}', '{"\\"{":"\\\\"}', '"[[[["'])
def test_brackets_in_strings_are_text(text: str) -> None:
    assert not json_depth.is_deeper(text.encode(), 1)
    assert json_depth.cut(text.encode(), 1) == text.encode()


@pytest.mark.parametrize("levels", [900, 1_000, 10_000])
def test_a_list_and_a_watch_go_on_beside_an_object_that_is_too_deep(levels: int) -> None:
    items = b'{"metadata":{"name":"a"},"spec":' + deep(levels) + b'},{"metadata":{"name":"b"}}'
    cutter = list_splitter.ListSplitter(bytes)
    cutter.feed(b'{"metadata":{"resourceVersion":"7"},"items":[' + items + b"]}")
    found = cutter.page()
    assert not json_depth.is_deeper(found.items[0], 1_000)
    assert [json.loads(item)["metadata"] for item in found.items[1:]] == [{"name": "b"}]
    assert found.resource_version == "7"
    event = reply.watch_event(b'{"type":"ADDED","object":{"metadata":{"name":"a"},"spec":' + deep(levels) + b"}}")
    assert event.type is client.EventType.ADDED
