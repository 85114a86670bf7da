"""The body of a LIST, cut as it arrives: however the network cuts it, the items are the same."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtask.kube import client, errors
from podtask.kube.list_splitter import ListSplitter

Json = Any
HEAD = b'{"apiVersion":"v1","items":['
TAIL = b'],"kind":"List","metadata":{"continue":"t","remainingItemCount":3,"resourceVersion":"9"}}'
TEXTS = st.text(alphabet='{}[]",:\\ax\n\u00e9', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
METADATA = {"continue": "t{", "remainingItemCount": 3, "resourceVersion": "9"}


def cut(chunks: list[bytes], read: Callable[[bytes], Any] = bytes) -> client.Page[Any]:
    cutter = ListSplitter(read)
    for chunk in chunks:
        cutter.feed(chunk)
    return cutter.page()


def chunked(body: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(body) + 1) for place in places)
    return [body[begin:end] for begin, end in zip([0, *ends], [*ends, len(body)], strict=True)]


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[Json]]:
    """Give a list as JSON, its fields in any order and with any spaces, and its items."""
    items = draw(st.lists(OBJECTS, max_size=5))
    others = {"kind": "List", "metadata": METADATA, "more": draw(VALUES)}
    fields = draw(st.permutations([*others.items(), ("items", items)]))
    spaces = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    text = json.dumps(
        dict(fields), separators=spaces, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
    )
    return text.encode(), items


@given(bodies(), st.lists(st.integers(min_value=0), max_size=8))
def test_any_chunking_gives_the_same_items(made: tuple[bytes, list[Json]], places: list[int]) -> None:
    body, items = made
    page = cut(chunked(body, places))
    assert [json.loads(item) for item in page.items] == items
    assert (page.resource_version, page.continue_token, page.size_bytes) == ("9", "t{", len(body))


@given(bodies())
def test_byte_by_byte(made: tuple[bytes, list[Json]]) -> None:
    body, items = made
    page = cut([body[place : place + 1] for place in range(len(body))])
    assert [json.loads(item) for item in page.items] == items


@given(bodies(), st.integers(min_value=0))
def test_a_list_that_was_cut_is_no_list(made: tuple[bytes, list[Json]], place: int) -> None:
    body, _ = made
    with pytest.raises(errors.TransportError):
        cut([body[: place % len(body)]])


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.integers(min_value=0, max_value=40), st.integers(min_value=1))
def test_items_as_deep_as_can_be(items: list[Json], levels: int, place: int) -> None:
    for _ in range(levels):
        items = [{"a": items, "b": [[]]}, {"c": "}]"}]
    body = HEAD + json.dumps(items)[1:].encode() + TAIL[1:]
    page = cut(chunked(body, [place]))
    assert [json.loads(item) for item in page.items] == items


def test_items_are_not_decoded() -> None:
    page = cut([HEAD + b'{"a": 1} , {"b":[2, 3]}' + TAIL])
    assert page == client.Page([b'{"a": 1}', b'{"b":[2, 3]}'], "9", "t", len(HEAD + TAIL) + 23)


@pytest.mark.parametrize("levels", [0, 50, 3_000])
@pytest.mark.parametrize("step", [1, 100, 1 << 20])
def test_what_looks_like_a_border_is_none(levels: int, step: int) -> None:
    begin = '{"apiVersion":"v1","kind":"T"'
    items = [
        begin + ',"a":[' + begin + "}," + begin + "}]}",
        begin + ',"a":' + json.dumps("}," + begin + "}," + begin) + "}",
        begin + ',"a":' + '{"b":' * levels + "1" + "}" * levels + "}",
    ] * 20
    body = HEAD + ",".join(items).encode() + TAIL
    page = cut([body[place : place + step] for place in range(0, len(body), step)])
    if levels < 1_000:
        assert [item.decode() for item in page.items] == items
    assert len(page.items) == len(items)


def test_an_item_is_read_as_soon_as_it_has_come() -> None:
    seen: list[bytes] = []
    cutter = ListSplitter(seen.append)
    cutter.feed(HEAD + b'{"a":"')
    assert seen == []
    cutter.feed(b'}"},{"b":')
    assert seen == [b'{"a":"}"}']


@pytest.mark.parametrize("items", [b"", b',"items":null', b',"items":[]'])
def test_an_empty_page(items: bytes) -> None:
    body = b'{"metadata":{"resourceVersion":"9"}' + items + b"}"
    assert cut([body]) == client.Page([], "9", "", len(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b"<html>" * (1 << 18),
        HEAD + b"1" + TAIL,
        HEAD + b'{"a":1}x' + TAIL,
        HEAD + b'{"a":1}' + TAIL + b"}",
        HEAD + b'{"a":1}' + TAIL[:-1] + b',"deep":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_what_is_no_list(body: bytes) -> None:
    with pytest.raises(errors.TransportError, match="the list cannot be read"):
        cut([body, b""])


def test_what_reading_raises_goes_to_the_caller() -> None:
    with pytest.raises(json.JSONDecodeError):
        cut([HEAD + b"{1}" + TAIL], json.loads)


def test_a_page_is_never_there_as_a_whole() -> None:
    """A hundred objects of a megabyte, in the chunks of a TLS connection, take the memory of a few."""
    text = b'{"metadata":{"uid":"u"},"spec":{"a":"' + b'{\\"b' * 200_000 + b'"}}'
    chunks = [text[place : place + 16_384] for place in range(0, len(text), 16_384)]
    cutter = ListSplitter(len)
    tracemalloc.start()
    try:
        cutter.feed(HEAD)
        for number in range(30):
            cutter.feed(b"," if number else b"")
            for chunk in chunks:
                cutter.feed(chunk)
        cutter.feed(TAIL)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cutter.page().items == [len(text)] * 30
    assert peak < 5 * len(text)
