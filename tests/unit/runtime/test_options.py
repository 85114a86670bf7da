"""Flags and variables: their forms, and values that are refused before the start."""

import pytest

from podtask.core.policy import Policy
from podtask.core.settings import Settings
from podtask.runtime import options


def test_the_default_policy_only_limits_the_size_of_a_spec() -> None:
    assert options.parse([], {}).for_core().policy == Policy(max_spec_bytes=524_288)


def test_flags_win_over_variables() -> None:
    variables = {"PODTASK_POLICY_MAX_RUN_SECONDS": "10", "PODTASK_POLICY_NAMESPACES": "a, b,"}
    got = options.parse(["--policy-max-run-seconds=20", "--policy-host-access=false"], variables).for_core().policy
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
    assert options.parse(flags, {}).for_core().policy == want


def test_the_settings_of_the_sidecar() -> None:
    default = options.parse([], {}).for_core()
    assert default.sidecar_requests == Settings().sidecar_requests == {"cpu": "5m", "memory": "16Mi"}
    assert default.sidecar_limits == Settings().sidecar_limits == {"cpu": "100m", "memory": "64Mi"}
    assert default.sidecar_security_context == "auto"
    flags = [
        '--sidecar-resources={"limits": {"memory": "32Mi", "cpu": 0.1, "hugepages-2Mi": null}}',
        "--sidecar-security-context=none",
    ]
    got = options.parse(flags, {}).for_core()
    assert (got.sidecar_requests, got.sidecar_limits) == ({}, {"memory": "32Mi", "cpu": 0.1})
    assert got.sidecar_security_context == "none"
    assert options.parse([], {"PODTASK_SIDECAR_RESOURCES": "{}"}).for_core().sidecar_limits == {}


def test_an_empty_value_means_no_rule() -> None:
    """The chart passes empty values."""
    flags = [
        "--policy-namespaces=", "--policy-max-run-seconds=", "--policy-max-running-pods=", "--policy-max-spec-bytes="
    ]  # fmt: skip
    assert options.parse(flags, {}).for_core().policy == Policy()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers=0"], "argument --workers: 0 is less than 1"),
        (["--workers=-3"], "argument --workers: -3 is less than 1"),
        (["--workers=many"], "argument --workers: 'many' is not an integer"),
        (["--pod-hold-seconds=39"], "argument --pod-hold-seconds: 39 is less than 40"),
        (["--live-read-seconds=-1"], "argument --live-read-seconds: -1 is less than 0"),
        (["--relist-seconds=0"], "argument --relist-seconds: 0 is less than 1"),
        (["--http-port=65536"], "argument --http-port: 65536 is more than 65535"),
        (["--metrics-port=-1"], "argument --metrics-port: -1 is less than 0"),
        (["--log-level=LOUD"], "argument --log-level: 'LOUD' is not one of DEBUG, INFO, WARNING, ERROR"),
        (["--log-format=xml"], "argument --log-format: 'xml' is not one of json, plain"),
        (["--leader-election=maybe"], "argument --leader-election: 'maybe' is not one of on, off, auto"),
        (["--sidecar-pull-policy=always"], "argument --sidecar-pull-policy: 'always' is not one of"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--policy-host-access=no"], "--policy-host-access"),
        (["--policy-max-running-pods=0"], "--policy-max-running-pods"),
        (["--sidecar-security-context=root"], "--sidecar-security-context"),
        (["--sidecar-resources=5m"], "--sidecar-resources"),
        (["--sidecar-resources=[]"], "--sidecar-resources"),
        (['--sidecar-resources={"memory": "1Gi"}'], "--sidecar-resources"),
        (['--sidecar-resources={"limits": "1Gi"}'], "--sidecar-resources"),
        (['--sidecar-resources={"limits": {"cpu": true}}'], "--sidecar-resources"),
        (["--policy-max-result-bytes=-1"], "--policy-max-result-bytes"),
        (["--policy-max-ttl-seconds=1h"], "--policy-max-ttl-seconds"),
        *(
            (
                [f"--policy-default-{what}-seconds=2", f"--policy-max-{what}-seconds=1"],
                f"--policy-default-{what}-seconds 2 is greater than --policy-max-{what}-seconds 1",
            )
            for what in ("run", "total", "ttl")
        ),
    ],
)
def test_invalid_flags_are_refused_at_the_start(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(flags, {})
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("podtask: ")
    assert words in said
    assert said.count("\n") == 1, "one sentence"


def test_invalid_variables_are_refused_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options.parse([], {"PODTASK_WORKERS": "0"})
    assert "--workers: 0 is less than 1" in capsys.readouterr().err


def test_the_minimum_hold_is_longer_than_a_former_leaders_last_write() -> None:
    assert options.MIN_HOLD_SECONDS == 40, "as the chart's schema says"
    assert options.parse(["--pod-hold-seconds=40"], {}).pod_hold_seconds == 40
