"""Faults of the cluster itself: its parts, its node, a pod's network, a leader that is cut off and comes back."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox_client import Sandbox, SandboxUnavailable
from sandbox_client.transport.connection_policy import CONNECT_TIMEOUT
from sandbox_client.transport.reattach import ExecutionLostError
from tests.e2e.support.kubectl import Kubectl, RefusedError, poll
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import Sessions
from tests.e2e.support.sockets import Sockets, read_sockets
from tests.e2e.support.stolen import find_agent
from tests.e2e.test_operator_faults import holder

LONGER_THAN_A_LEASE = 6.0
FORCE_AFTER = 30.0
"""Seconds behind a pod's own time after which the operator takes it for one of a lost node."""

FOUND_WITHIN = 32.0
"""Seconds: a ping after 20 without a byte, 10 for its answer, and what a busy machine adds.

Where a ping was under way, or something else that is not acknowledged, a kernel finds it after those 10 alone.
"""
OUTLASTS_THE_CUT = """
import time
print("begun", flush=True)
time.sleep(5)
open("ran.txt", "a").write("ran\\n")
print("done")
"""


def use_for(sandbox: Sandbox, seconds: float) -> int:
    """Count in the session for so long; each call answers."""
    until, calls = time.monotonic() + seconds, 0
    assert sandbox.run_code("count = 0").ok
    while time.monotonic() < until:
        calls += 1
        assert sandbox.run_code("count += 1; print(count)").stdout == f"{calls}\n"
    return calls


def test_fault_11_sessions_that_are_made_while_the_api_server_restarts_become_ready_and_running_ones_notice_nothing(
    own_node: Platform, sessions: Sessions
):
    """In a cluster, new sessions become Ready afterwards, and running ones notice nothing."""
    running = sessions.ready()
    before = sessions.pod(running)["metadata"]["uid"]
    with sessions.connect(running, is_direct=True) as sandbox:
        made = [sessions.create() for _ in range(3)]
        with own_node.api_server_outage():
            calls = use_for(sandbox, LONGER_THAN_A_LEASE)
        began = time.monotonic()
        for name in made:
            sessions.wait_phase(name, "Ready", timeout=30)
        print(f"\nall Ready {time.monotonic() - began:.1f} s after the API server, {calls} calls without it")  # noqa: T201 - a measurement, for people
        assert sandbox.run_code("print(count)").stdout == f"{calls}\n"
    for name in made:
        assert len(sessions.owned("pods", name)) == 1
        assert sessions.run_soon(name, "print(6 * 7)") == "42\n"
    assert sessions.pod(running)["metadata"]["uid"] == before


def test_fault_25_a_restart_of_the_kubelet_costs_no_pod_no_variable_and_no_call(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions
):
    """In a cluster, a restart of the kubelet costs no pod, no variable and no call."""
    name = sessions.ready()
    before = sessions.pod(name)
    with sessions.connect(name, is_direct=True) as sandbox:
        with own_node.kubelet_outage():
            calls = use_for(sandbox, 3.0)
        began = time.time()
        poll("the kubelet reports again", lambda: heartbeat(kubectl) >= began, timeout=60)
        other = sessions.ready()
        assert sandbox.run_code("print(count)").stdout == f"{calls}\n"
    after = sessions.pod(name)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [status["restartCount"] for status in after["status"]["containerStatuses"]] == [0, 0]
    assert sessions.status(name)["phase"] == "Ready"
    assert len(sessions.owned("pods", other)) == 1


def heartbeat(kubectl: Kubectl) -> float:
    """When the kubelet renewed its node's lease last, in seconds since 1970."""
    lease = kubectl.within("kube-node-lease").get("lease", "node1")
    return time.mktime(time.strptime(lease["spec"]["renewTime"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


def test_fault_23_a_pod_whose_node_is_lost_is_forced_away_only_after_its_time_and_its_successor_has_what_was_saved(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions
):
    """In a cluster, the pod is deleted by force after its deadline, and its successor has the saved files."""
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("kept.txt", "kept")
        assert sandbox.workspace.push().failed == ()
    before = sessions.pod(name)["metadata"]
    with own_node.kubelet_outage():
        kubectl.delete("pod", before["name"], "--grace-period=1")
        began = time.monotonic()
        poll(
            "the pod is forced away",
            lambda: kubectl.get("pod", before["name"]).get("metadata", {}).get("uid") != before["uid"],
            timeout=FORCE_AFTER + 15,
        )
        waited = time.monotonic() - began
        assert waited > FORCE_AFTER - 1, "its node may still have been alive"
    sessions.wait_phase(name, "Ready", timeout=60)
    print(f"\nforced away after {waited:.1f} s")  # noqa: T201 - a measurement, for people
    assert len(sessions.owned("pods", name)) == 1
    assert sessions.run_soon(name, "print(open('kept.txt').read())") == "kept\n"


def test_fault_5_a_leader_that_stood_still_while_another_took_over_leads_no_more_when_it_goes_on(
    own_node: Platform, system: Kubectl, sessions: Sessions
):
    """In a cluster, a leader that was stopped while another took over no longer leads when it continues."""
    first = poll("there is a leader", lambda: holder(system), timeout=60)
    pod = system.get("pod", first)
    own_node.kill(pod, "operator", "SIGSTOP")
    try:
        second = poll("another one leads", lambda: holder(system) not in {"", first} and holder(system), timeout=15)
        name = sessions.create()
        sessions.wait_phase(name, "Ready", timeout=30)
    finally:
        own_node.kill(pod, "operator", "SIGCONT")
    poll("it knows", lambda: "does not lead" in system("logs", first, "--tail=200"), timeout=15)
    other = sessions.ready()
    assert holder(system) == second
    for each in (name, other):
        assert len(sessions.owned("pods", each)) == 1


@pytest.mark.parametrize("part", ["etcd", "containerd", "controllers", "scheduler", "felix", "proxy"])
def test_fault_41_a_part_of_the_cluster_that_is_killed_costs_no_call_and_sessions_are_made_again_when_it_is_back(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions, part: str
):
    """No call fails, and new sessions become Ready once the component is back."""
    name = sessions.ready()
    before = sessions.pod(name)
    with sessions.connect(name, is_direct=True) as sandbox:
        with own_node.killed(part):
            calls = use_for(sandbox, LONGER_THAN_A_LEASE)
        began = time.monotonic()
        poll("the API server is ready", lambda: is_serving(kubectl), timeout=60)
        other = sessions.ready()
        print(f"\n{part}: a new session Ready {time.monotonic() - began:.1f} s after it, {calls} calls without it")  # noqa: T201 - a measurement, for people
        assert sandbox.run_code("print(count)").stdout == f"{calls}\n"
    assert sessions.run_soon(other, "print(6 * 7)") == "42\n"
    after = sessions.pod(name)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [status["restartCount"] for status in after["status"]["containerStatuses"]] == [0, 0]
    for each in (name, other):
        assert len(sessions.owned("pods", each)) == 1


def is_serving(kubectl: Kubectl) -> bool:
    """Whether the API server answers, its store too."""
    try:
        return kubectl("get", "--raw", "/readyz") == "ok"
    except RefusedError:
        return False


def test_fault_40_both_sides_find_a_host_that_is_gone_and_a_cell_is_told_to_its_end_once_it_is_back(
    own_node: Platform, sessions: Sessions
):
    """In a cluster, both sides detect a host that is gone, and a cell is followed to its end once it is back."""
    name = sessions.ready()
    before = sessions.pod(name)
    address, agent = before["status"]["podIP"], find_agent(before["metadata"]["name"])
    ends = {"client": lambda: read_sockets(address, 8443), "agent": lambda: read_sockets(address, 8443, process=agent)}
    has_begun = threading.Event()
    with (
        # Its threads end once the connections are closed, whatever was not found.
        ThreadPoolExecutor() as threads,
        sessions.connect(name, is_direct=True) as sandbox,
        sessions.connect(name, is_direct=True) as other,
    ):
        sandbox.files.write("kept.txt", "kept")
        assert other.run("true").exit_code == 0
        cell = threads.submit(sandbox.run_code, OUTLASTS_THE_CUT, on_stdout=lambda _: has_begun.set())
        assert has_begun.wait(30)
        poll("all is acknowledged: nobody sends", lambda: not any(end().unacknowledged for end in ends.values()))
        assert ends["client"]().open == ends["agent"]().open >= 3
        with own_node.silence(before):
            began = time.monotonic()
            # Of the calls that are sent now the kernel knows that they do not arrive; of the cell nobody does.
            command = threads.submit(other.run, "echo ran >>command.txt")
            reads = [threads.submit(each.files.read, "kept.txt") for each in (sandbox, other)]
            for side, read in ends.items():
                wait_found(side, read, began)
            for call in reads:
                with pytest.raises(SandboxUnavailable):
                    call.result(CONNECT_TIMEOUT)
            # As long again as a call waits for a connection: what may run is waited for, whoever found it when.
            time.sleep(CONNECT_TIMEOUT + 1)
            assert not cell.done()
            assert not command.done()
        execution = cell.result(30)
        assert (execution.ok, execution.stdout) == (True, "begun\ndone\n")
        with pytest.raises(ExecutionLostError):
            command.result(30)
        assert sandbox.files.read("kept.txt") == b"kept"
        sessions.wait_phase(name, "Ready", timeout=30)
        assert sandbox.run("cat ran.txt; ls command.txt").stdout == "ran\n"
    after = sessions.pod(name)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert [status["restartCount"] for status in after["status"]["containerStatuses"]] == [0, 0]


def wait_found(side: str, read: Callable[[], Sockets], began: float) -> None:
    """Wait until a side has given up its connections."""
    left = began + FOUND_WITHIN - time.monotonic()
    poll(f"the {side} gives up all of {read()}", lambda: not read().open, timeout=left, pause=0.05)
    print(f"\n{side}: found after {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement, for people
