"""The objects an informer knows, by uid.

By uid and not by name: a Pod may be deleted and made again under the same name, and the two are different Pods. The
store also holds the one rule about order: an object is never replaced by an older version of itself.

What is held is bytes, and is decoded whenever it is asked for: a Pod takes 4 kB as Python objects and 1 kB packed, is
unpacked in 3 us, and is looked at a dozen times in a life of hours (docs/design/0009).
"""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Meta(NamedTuple):
    """What tells one version of one object from all others."""

    namespace: str
    name: str
    uid: str
    resource_version: str

    @property
    def version(self) -> int:
        """The resourceVersion as a number; Kubernetes allows comparing those of one kind (KEP-5504)."""
        return int(self.resource_version)


class Codec(NamedTuple, Generic[T]):
    """How objects are held."""

    pack: Callable[[T], bytes]
    """May leave out fields that no caller reads."""
    unpack: Callable[[memoryview], T]


_VERSION_BYTES = 8
"""resourceVersions are revisions of etcd, which has 63 bits for them."""


class Store(Generic[T]):
    """Objects by uid, and by one more key of the caller's choice."""

    def __init__(self, codec: Codec[T], meta: Callable[[T], Meta], index: Callable[[T], str | None]) -> None:
        """`index` gives the second key, None for none; made for few objects to a key, such as the Pods of an owner."""
        self._codec = codec
        self._meta = meta
        self._index = index
        # The version, then the object: beside so small an object, an integer and a tuple would be a tenth of it.
        self._objects: dict[str, bytes] = {}
        # Tuples and not sets: nearly every key has one object, and a tuple of one costs a quarter of a set.
        self._by_key: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[T]:
        """Give what is there now, one at a time: all at once would take four times the memory of the store."""
        return (self._unpack(held) for held in tuple(self._objects.values()))

    def get(self, uid: str) -> T | None:
        """The object of this uid."""
        held = self._objects.get(uid)
        return None if held is None else self._unpack(held)

    def by_key(self, key: str) -> tuple[T, ...]:
        """The objects of one index key, in the order in which they came."""
        return tuple(self._unpack(self._objects[uid]) for uid in self._by_key.get(key, ()))

    def uids(self) -> set[str]:
        """Every uid, as a set of the caller's own."""
        return set(self._objects)

    def version(self, uid: str) -> int:
        """The version stored for this uid, -1 for none."""
        held = self._objects.get(uid)
        return -1 if held is None else int.from_bytes(held[:_VERSION_BYTES], "big")

    def put(self, obj: T) -> T | None:
        """Store `obj` in place of what has its uid, and return that. The caller has compared the versions."""
        meta = self._meta(obj)
        uid = meta.uid
        old = self.get(uid)
        self._objects[uid] = meta.version.to_bytes(_VERSION_BYTES, "big") + self._codec.pack(obj)
        old_key = None if old is None else self._index(old)
        new_key = self._index(obj)
        if old_key != new_key:
            self._unlink(old_key, uid)
            if new_key is not None:
                self._by_key[new_key] = (*self._by_key.get(new_key, ()), uid)
        return old

    def remove(self, uid: str) -> T | None:
        """Forget the object of this uid, and return it."""
        held = self._objects.pop(uid, None)
        if held is None:
            return None
        old = self._unpack(held)
        self._unlink(self._index(old), uid)
        return old

    def _unpack(self, held: bytes) -> T:
        return self._codec.unpack(memoryview(held)[_VERSION_BYTES:])

    def _unlink(self, key: str | None, uid: str) -> None:
        if key is None:
            return
        rest = tuple(other for other in self._by_key[key] if other != uid)
        if rest:
            self._by_key[key] = rest
        else:
            del self._by_key[key]
