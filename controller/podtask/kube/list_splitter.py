"""Cuts the body of a LIST into its items as it arrives, so that a page is never there as a whole.

A page has as many objects as were asked for, whatever their size: five hundred of 1.4 MB are 700 MB. Each item is read
as soon as its last byte has come, and only what was read of it is kept.

Where one object ends, its brackets say. A regular expression follows them, a whole item at a step, in 26 us for a Pod.
Most need not be followed: what stands between two likely borders and is a JSON array consists of whole objects, as no
beginning of an object is one itself; the decoder finds that out in 2 us.
"""

import re
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from . import client, errors, json_depth

V = TypeVar("V")

_LEVELS = 12
"""Of nesting that the expression steps over at once. What is deeper is followed bracket by bracket."""
_BORDER_BYTES = 14
"""Of an item, to know the next by: `{"apiVersion":`, or `{"metadata":{"` of the kinds that are compiled in."""
_LONGEST_HEAD = 1 << 20
"""Bytes before the first item. Kubernetes writes some hundred."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = rb'[^"\[\]{}]++'


def _balanced(levels: int) -> bytes:
    inner = rb"(?:%s|%s)*+" % (_PLAIN, _STRING)
    for _ in range(levels):
        inner = rb"(?:%s|%s|[\[{]%s[\]}])*+" % (_PLAIN, _STRING, inner)
    return inner


_BALANCED = re.compile(_balanced(_LEVELS), re.DOTALL)
_NEXT_ITEM = re.compile(rb"[\s,]*+([{\]])")
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_HEAD = re.compile(
    rb'\s*+\{(?:\s*+(?!"items"\s*+:\s*+\[)%s\s*+:\s*+(?:%s|[\[{]%s[\]}]|[^"\[\]{},\s]++)\s*+,?)*+\s*+"items"\s*+:\s*+\['
    % (_STRING, _STRING, _balanced(_LEVELS)),
    re.DOTALL,
)


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_token: str = msgspec.field(name="continue", default="")


_array = msgspec.json.Decoder(list[msgspec.Raw])


class _Envelope(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


_envelope = msgspec.json.Decoder(_Envelope)


class ListSplitter(Generic[V]):
    """One page, chunk by chunk. `feed` never fails because of the bytes; `page` says what was wrong with them."""

    def __init__(self, read: Callable[[bytes], V]) -> None:
        """`read` is given each item as a copy of its own; what it returns is kept until the page is complete."""
        self._read = read
        self._items: list[V] = []
        self._size = 0
        self._left = bytearray()
        self._head: bytes | None = None
        """Up to the bracket behind `"items":`. None until that has come."""
        self._is_over = False
        """The bracket behind the last item has come."""
        self._border = b""
        """What is likely to stand between two items, and hardly within one: `},{"metadata":{"`."""
        self._may_skip = False
        self._fault = ""
        self._at = 0  # in `_left`: what is before has been looked at
        self._depth = 0
        self._deepest = 0
        self._in_string = False

    def feed(self, chunk: bytes) -> None:
        """Take in what came next. What `read` raises goes to the caller."""
        self._size += len(chunk)
        if self._fault:
            return
        self._left += chunk
        if self._head is None and not self._begin():
            return
        self._may_skip = True
        while not self._is_over and self._step():
            pass

    def page(self) -> client.Page[V]:
        """Give the page, once everything has come. Raises `errors.TransportError` where it is not a list."""
        body = bytes(self._left) if self._head is None else self._head + b"]" + self._left
        if self._fault or (self._head is not None and not self._is_over):
            raise errors.TransportError(f"the list cannot be read: {self._fault or 'it was cut'}")
        try:
            found = _envelope.decode(body)
        except (msgspec.MsgspecError, RecursionError) as fault:
            raise errors.TransportError(f"the list cannot be read: {fault}") from fault
        return client.Page(self._items, found.metadata.resource_version, found.metadata.continue_token, self._size)

    def _begin(self) -> bool:
        found = _HEAD.match(self._left)
        if found is None:
            if len(self._left) > _LONGEST_HEAD:
                self._fail("it does not begin like one")
            return False
        self._head = found[0]
        self._drop(found.end())
        return True

    def _step(self) -> bool:
        """Go on to the next item's end, or to that of several; False where it has not come."""
        if not self._depth:
            if not self._next_item():
                return False
            if self._may_skip and self._take_whole_ones():
                return True
        while self._depth:
            if not self._next_bracket():
                return False
        item = bytes(self._left[: self._at])
        self._drop(self._at)
        if self._deepest > json_depth.CUT_LEVELS:
            item = json_depth.cut(item)  # deeper than any decoder goes
        self._items.append(self._read(item))
        return True

    def _take_whole_ones(self) -> bool:
        """Take all items up to the last likely border. Tried once for each chunk: it may be none, but text."""
        self._may_skip = False
        self._border = self._border or b"}," + bytes(self._left[:_BORDER_BYTES])
        end = self._left.rfind(self._border) + 1
        if not end:
            return False
        try:
            items = _array.decode(b"[" + self._left[:end] + b"]")
        except (msgspec.MsgspecError, RecursionError):
            return False
        self._drop(end)
        self._depth = 0
        self._items += [self._read(bytes(item)) for item in items]
        return True

    def _next_item(self) -> bool:
        found = _NEXT_ITEM.match(self._left)
        if found is None:
            if self._left.strip(b" \t\r\n,"):
                self._fail("an item is not an object")
            return False
        self._is_over = found[1] == b"]"
        self._drop(found.end() if self._is_over else found.start(1))
        if self._is_over:
            return False
        self._at = self._depth = self._deepest = 1
        return True

    def _next_bracket(self) -> bool:
        """Follow the item to the next bracket, or end of a string, that could not be stepped over at once."""
        found = (_REST_OF_STRING if self._in_string else _BALANCED).match(self._left, self._at)
        self._at = found.end() if found is not None else self._at
        mark = self._left[self._at : self._at + 1]
        if not mark or mark == b"\\":
            return False
        self._at += 1
        if mark == b'"':
            self._in_string = not self._in_string
        elif mark in b"[{":
            self._depth += 1
            self._deepest = max(self._deepest, self._depth)
        else:
            self._depth -= 1
        return True

    def _drop(self, length: int) -> None:
        del self._left[:length]
        self._at = 0

    def _fail(self, fault: str) -> None:
        self._fault = fault
        self._left.clear()
