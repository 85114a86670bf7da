"""Names, labels and hashes: stable, valid, and different where they must be."""

import re

import pytest

from podtask.api import names
from podtask.core import identity

UID = "11111111-2222-3333-4444-555555555555"
NAMES = {
    "a short name stays readable": ("etl", 1, r"etl-[a-z2-7]{8}-1"),
    "dots become dashes, for a hostname has none": ("a.b", 2, r"a-b-[a-z2-7]{8}-2"),
    "a long name is cut to a label": ("x" * 253, 1000, r"x{49}-[a-z2-7]{8}-1000"),
    "no dash is left before the hash": ("y" * 49 + "-.-zzz", 1000, r"y{49}-[a-z2-7]{8}-1000"),
}


@pytest.mark.parametrize(("name", "number", "want"), NAMES.values(), ids=NAMES)
def test_pod_name(name: str, number: int, want: str) -> None:
    got = identity.pod_name(name, UID, number)
    assert re.fullmatch(want, got)
    assert len(got) <= 63
    assert got == identity.pod_name(name, UID, number)


def test_another_uid_is_another_name() -> None:
    assert identity.pod_name("etl", UID, 1) != identity.pod_name("etl", "other", 1)


@pytest.mark.parametrize("field", sorted(identity.MUTABLE_FIELDS))
def test_a_mutable_field_is_not_in_the_hash(field: str) -> None:
    assert identity.spec_hash({"image": "a", field: 1}) == identity.spec_hash({"image": "a"})


def test_the_hash_knows_every_other_change_and_no_order() -> None:
    assert identity.spec_hash({"a": 1, "b": {"x": 1, "y": 2}}) == identity.spec_hash({"b": {"y": 2, "x": 1}, "a": 1})
    assert identity.spec_hash({"a": 1}) != identity.spec_hash({"a": None})


def test_labels_and_owner() -> None:
    assert identity.pod_labels("n" * 62 + ".more", UID, 3) == {
        names.LABEL_TASK_UID: UID,
        names.LABEL_ATTEMPT: "3",
        names.LABEL_TASK_NAME: "n" * 62,
    }
    owner = identity.owner_reference("etl", UID)
    assert owner["controller"] is True
    assert (owner["kind"], owner["name"], owner["uid"]) == (names.KIND, "etl", UID)
