"""The store against a dict that is searched from end to end."""

import pickle
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from podtask.kube.store import Codec, Meta, Store


@dataclass(frozen=True)
class Thing:
    uid: str
    version: int
    key: str | None


PICKLED: Codec[Thing] = Codec(pickle.dumps, pickle.loads)


class AgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store: Store[Thing] = Store(
            PICKLED,
            lambda thing: Meta("", "", thing.uid, str(thing.version)),
            lambda thing: thing.key,
        )
        self.model: dict[str, Thing] = {}

    @rule(uid=st.sampled_from("abc"), version=st.integers(0, 9), key=st.sampled_from(["x", "y", None]))
    def put(self, uid: str, version: int, key: str | None) -> None:
        thing = Thing(uid, version, key)
        assert self.store.put(thing) == self.model.get(uid)
        self.model[uid] = thing

    @rule(uid=st.sampled_from("abc"))
    def remove(self, uid: str) -> None:
        assert self.store.remove(uid) == self.model.pop(uid, None)

    @invariant()
    def agree(self) -> None:
        assert set(self.store) == set(self.model.values())
        assert len(self.store) == len(self.model)
        assert self.store.uids() == set(self.model)
        for uid in "abc":
            assert self.store.get(uid) == self.model.get(uid)
            assert self.store.version(uid) == (self.model[uid].version if uid in self.model else -1)
        for key in "xyz":
            got = self.store.by_key(key)
            assert sorted(got, key=lambda thing: thing.uid) == sorted(
                (thing for thing in self.model.values() if thing.key == key), key=lambda thing: thing.uid
            )
        # No key outlives its objects: an owner comes once and is gone, a hundred thousand times.
        assert set(self.store._by_key) == {thing.key for thing in self.model.values()} - {None}


AgainstModel.TestCase.settings = settings(max_examples=50, deadline=None)
test_against_model = AgainstModel.TestCase


def test_iterating_allows_changes() -> None:
    store: Store[Thing] = Store(PICKLED, lambda thing: Meta("", "", thing.uid, "1"), lambda thing: thing.key)
    for uid in "abc":
        store.put(Thing(uid, 1, "k"))
    for thing in store:
        store.remove(thing.uid)
    assert len(store) == 0
