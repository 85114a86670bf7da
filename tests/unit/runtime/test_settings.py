"""Flags and variables: what can be set, in which form, and what is refused before anything starts."""

import pytest

from podtask.core.policy import Policy
from podtask.runtime import settings


def test_without_a_word_there_is_no_policy_but_for_what_one_task_may_take_of_memory() -> None:
    assert settings.parse([], {}).for_core().policy == Policy(max_spec_bytes=524_288)


def test_flags_win_over_variables() -> None:
    variables = {"PODTASK_POLICY_MAX_RUN_SECONDS": "10", "PODTASK_POLICY_NAMESPACES": "a, b,"}
    got = settings.parse(["--policy-max-run-seconds=20", "--policy-host-access=false"], variables).for_core().policy
    assert got == Policy(namespaces=("a", "b"), max_run_seconds=20, host_access=False, max_spec_bytes=524_288)


def test_every_rule_can_be_set() -> None:
    flags = [
        "--policy-namespaces=n", "--policy-service-accounts=s", "--policy-image-prefixes=i,j",
        "--policy-priority-classes=p", "--policy-host-access=true", "--policy-default-run-seconds=1",
        "--policy-default-total-seconds=2", "--policy-default-ttl-seconds=3", "--policy-max-run-seconds=4",
        "--policy-max-total-seconds=5", "--policy-max-ttl-seconds=6", "--policy-max-result-bytes=7",
        "--policy-max-spec-bytes=8", "--policy-max-running-pods=9",
    ]  # fmt: skip
    want = Policy(("n",), ("s",), ("i", "j"), ("p",), True, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert settings.parse(flags, {}).for_core().policy == want


def test_an_empty_value_means_no_rule() -> None:
    """A chart passes what its values leave open."""
    flags = [
        "--policy-namespaces=", "--policy-max-run-seconds=", "--policy-max-running-pods=", "--policy-max-spec-bytes="
    ]  # fmt: skip
    assert settings.parse(flags, {}).for_core().policy == Policy()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--policy-host-access=no"], "--policy-host-access"),
        (["--policy-max-running-pods=0"], "--policy-max-running-pods"),
        (["--policy-max-result-bytes=-1"], "--policy-max-result-bytes"),
        (["--policy-max-ttl-seconds=1h"], "--policy-max-ttl-seconds"),
        (
            ["--policy-default-run-seconds=2", "--policy-max-run-seconds=1"],
            "--policy-default-run-seconds 2 is over --policy-max-run-seconds 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_at_the_start(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings.parse(flags, {})
    assert words in capsys.readouterr().err
