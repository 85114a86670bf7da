"""Names, subnets, ports, cgroups, mounts, locks: everything by which two clusters could meet."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cluster import cgroups, lock, mounts, namespaces, ports, processes
from cluster.errors import ClusterError
from cluster.paths import ClusterDirectory, all_cluster_names
from cluster.spec import in_namespace


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("PODTASK_CACHE", str(tmp_path))
    return tmp_path


def test_the_cache_lies_where_the_variable_says(monkeypatch) -> None:
    monkeypatch.setenv("PODTASK_CACHE", "/short")
    assert ClusterDirectory.of("one").root == Path("/short/clusters/one")


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", "a-", "a" * 33, "a b"])
def test_a_name_that_would_be_a_bad_path_or_namespace_is_refused(name) -> None:
    with pytest.raises(ClusterError, match="not a valid name of a cluster"):
        ClusterDirectory.of(name)


def test_a_directory_too_deep_for_its_sockets_is_refused_before_anything_starts(monkeypatch) -> None:
    monkeypatch.setenv("PODTASK_CACHE", "/tmp/" + "deep/" * 20)
    with pytest.raises(ClusterError, match="PODTASK_CACHE"):
        ClusterDirectory.of("one")


def test_half_deleted_clusters_and_locks_are_no_clusters(cache) -> None:
    for name in ("one", ".deleted-one-12345678"):
        (cache / "clusters" / name).mkdir(parents=True)
    (cache / "clusters" / ".one.lock").touch()
    assert all_cluster_names() == ["one"]


def test_the_subnet_of_the_last_start_comes_first_and_used_ones_not_at_all() -> None:
    assert namespaces.candidates(0, taken=[1, 2])[:2] == [3, 4]
    assert namespaces.candidates(5, taken=[1])[:3] == [5, 2, 3]
    assert namespaces.candidates(5, taken=[5])[0] == 1


def test_used_subnets_are_read_from_the_routing_table() -> None:
    table = [
        "10.77.3.0/30 dev podtask3 proto kernel scope link src 10.77.3.1",
        "local 10.77.12.1 dev x table local",
        "10.7.7.0/24 dev y",
        "default via 10.77.x dev z",
    ]
    assert namespaces.subnets_in_use(table) == {3, 12}


def test_the_addresses_of_two_subnets_are_disjoint() -> None:
    one, two = in_namespace(1), in_namespace(99)
    fields = ("address", "host_address", "gateway", "pod_cidr", "server")
    assert all(getattr(one, field) != getattr(two, field) for field in fields)


def test_only_links_with_our_alias_are_ours(tmp_path) -> None:
    for link, alias in (("podtask1", "podtask-one"), ("podtask2", "podtask-other"), ("eth0", "podtask-one")):
        (tmp_path / link).mkdir()
        (tmp_path / link / "ifalias").write_text(alias + "\n")
    assert namespaces.links_of("one", tmp_path) == ["podtask1"]


def test_reserved_ports_are_distinct_and_come_back_while_they_are_free() -> None:
    with ports.reserved(3) as first:
        assert len(set(first)) == 3
    with ports.reserved(3, first) as again:
        assert again == first


def test_a_port_that_somebody_took_meanwhile_is_not_insisted_on() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with ports.reserved(1, (taken,)) as (got,):
            assert got != taken


def test_nobody_else_gets_a_reserved_port_but_its_own_program_may_share_it() -> None:
    with ports.reserved(1) as (port,):
        assert not ports.is_free(port)
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            own.bind(("127.0.0.1", port))
            own.listen()


def make_cgroup_tree(root: Path, *controllers: str) -> None:
    for controller in controllers:
        (root / controller).mkdir(parents=True)
        (root / controller / "cgroup.procs").touch()
    if "cpuset" in controllers:
        (root / "cpuset" / "cpuset.cpus").write_text("0-1\n")


def test_version_1_hierarchies_are_all_directories_that_hold_processes(tmp_path) -> None:
    make_cgroup_tree(tmp_path, "cpu", "cpuset")
    (tmp_path / "no-hierarchy").mkdir()
    assert [tree.name for tree in cgroups.hierarchies(tmp_path)] == ["cpu", "cpuset"]


def test_missing_controllers_are_named(tmp_path) -> None:
    make_cgroup_tree(tmp_path, "cpu,cpuacct", "cpuset")
    with pytest.raises(ClusterError, match="memory, pids"):
        cgroups.check(tmp_path)
    make_cgroup_tree(tmp_path, "memory", "pids")
    cgroups.check(tmp_path)


def test_version_2_reads_one_file(tmp_path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory\n")
    with pytest.raises(ClusterError, match="pids"):
        cgroups.check(tmp_path)


def test_groups_are_made_in_every_tree_found_again_and_removed(tmp_path) -> None:
    make_cgroup_tree(tmp_path, "cpu", "memory")
    cgroups.create("one", tmp_path)
    cgroups.create("one", tmp_path)
    pod = tmp_path / "memory" / "podtask-one" / "kubepods"
    pod.mkdir()
    assert cgroups.processes("one", tmp_path) == set()
    (pod / "cgroup.procs").write_text("12\n13\n")
    assert cgroups.processes("one", tmp_path) == {12, 13}
    (pod / "cgroup.procs").unlink()  # a real one goes with its group
    cgroups.remove("one", tmp_path)
    assert not (tmp_path / "memory" / "podtask-one").exists()
    assert (tmp_path / "memory").exists()


def test_a_group_that_stays_busy_is_an_error_not_an_endless_wait(tmp_path) -> None:
    make_cgroup_tree(tmp_path, "cpu")
    (tmp_path / "cpu" / "podtask-one").mkdir()
    (tmp_path / "cpu" / "podtask-one" / "file").touch()
    with pytest.raises(ClusterError, match="busy"):
        cgroups.remove("one", tmp_path, within_seconds=0)


def test_mounts_below_a_directory_come_deepest_first_and_neighbours_not_at_all() -> None:
    table = (
        "a /c/one tmpfs rw 0 0\nb /c/one/x tmpfs rw 0 0\nc /c/one-more tmpfs rw 0 0\nd /c/one/a\\040b tmpfs rw 0 0\n"
    )
    got = mounts.below(Path("/c/one"), table)
    assert set(got) == {Path("/c/one"), Path("/c/one/x"), Path("/c/one/a b")}
    assert got[-1] == Path("/c/one")


def test_a_process_is_found_by_what_it_inherited_and_by_nothing_else(tmp_path) -> None:
    directory, other = ClusterDirectory(tmp_path / "one"), ClusterDirectory(tmp_path / "one-more")
    code = "import sys; sys.stdout.write('up'); sys.stdout.flush(); sys.stdin.read()"
    environment = {**os.environ, processes.MARKER: str(other.root)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        child.stdout.read(2)
        assert processes.members(other) == {child.pid}
        assert processes.members(directory) == set()
        assert processes.end(lambda: processes.members(other)) == 1
        child.wait()


def test_a_plain_file_where_a_namespace_was_before_a_reboot_holds_nobody(tmp_path) -> None:
    handle = tmp_path / "podtask-one"
    handle.touch()
    assert processes.in_network_namespace(handle) == set()
    assert processes.in_network_namespace(Path("/proc/self/ns/net")) == set()  # never the machine's own


def test_listening_is_seen_from_outside(tmp_path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not processes.listens(os.getpid(), port)
        server.listen()
        assert processes.listens(os.getpid(), port)


def test_the_second_one_waits_for_the_lock_and_is_told_why(tmp_path) -> None:
    said: list[str] = []
    path = tmp_path / ".one.lock"
    with lock.held(path, "cluster one", said.append):
        code = (
            "import sys; sys.path.insert(0, 'hack')\n"
            "from pathlib import Path\nfrom cluster import lock\n"
            "def say(line): print(line, flush=True)\n"
            f"with lock.held(Path({str(path)!r}), 'cluster one', say): say('mine')\n"
        )
        root = Path(__file__).parents[3]
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting for another process that holds cluster one\n"
    assert child.stdout.readline() == "mine\n"
    child.stdout.close()
    assert child.wait() == 0
    assert said == []


def test_a_lock_file_may_be_deleted_by_its_holder_while_others_wait(tmp_path) -> None:
    path = tmp_path / ".one.lock"
    at_once: list[int] = []
    inside = 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside
        for _ in range(50):
            with lock.held(path, "cluster one", lambda _: None):
                with guard:
                    inside += 1
                    at_once.append(inside)
                with guard:
                    inside -= 1
                path.unlink(missing_ok=True)  # the last thing that a holder does

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert at_once == [1] * 200
