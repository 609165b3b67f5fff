"""The operator dies, at every write and as the leader: what it left behind converges, and nothing is orphaned."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import RELEASE, replicas_ready
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.local_operator import LocalOperator
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import SESSION, Sessions

MANAGED = "sandboxsessions.dev/managed-by=sandbox-operator"
MOST_WRITES = 40


@pytest.fixture
def local_operator(own_node: Platform, system: Kubectl, tmp_path: Path) -> Iterator[LocalOperator]:
    """An operator of this machine in place of the cluster's."""
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    poll("the cluster's operator is gone", lambda: not system.list("pods"), timeout=60)
    operator = LocalOperator(own_node, system, tmp_path, RELEASE)
    try:
        yield operator
    finally:
        operator.stop()
        system("scale", f"deployment/{RELEASE}", "--replicas=2")


@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("moment", ["kill_at", "kill_after"])
def test_a_crash_around_any_write_converges_and_orphans_nothing(
    local_operator: LocalOperator, kubectl: Kubectl, moment: str
):
    # Only what the operator made: the one test that needs no pods of others.
    sessions = Sessions(kubectl)
    for number in range(1, MOST_WRITES):
        name = f"crash-{moment[5:]}-{number}"
        local_operator.start(**{f"kill_{moment[5:]}": number})
        sessions.create(name)
        died_in = run_until_death(local_operator, sessions, name)
        print(f"\n{moment} {number}: died in {died_in or 'no phase'}", end="")
        if died_in:
            local_operator.stop()
            local_operator.start()
        if died_in == "create":
            converge(local_operator, sessions, name)
        if died_in != "delete":
            kubectl.delete(SESSION, name)
        assert_nothing_left(kubectl, name)
        local_operator.stop()
        if not died_in:
            assert number > 5
            return
    pytest.fail(f"more than {MOST_WRITES} writes for one session")


def run_until_death(operator: LocalOperator, sessions: Sessions, name: str) -> str:
    """Let the session be created, then deleted; in which of the two the operator died, or neither."""
    poll(
        f"{name} is Ready or the operator is dead",
        lambda: operator.has_died or sessions.status(name).get("phase") == "Ready",
        timeout=60,
    )
    if not settled(operator):
        return "create"
    sessions.kubectl.delete(SESSION, name)
    poll(
        f"{name} is gone or the operator is dead",
        lambda: operator.has_died or is_clean(sessions.kubectl, name),
        timeout=60,
    )
    return "" if settled(operator) else "delete"


def settled(operator: LocalOperator) -> bool:
    """Whether it lives on when its last writes had time to happen."""
    until = time.monotonic() + 1
    while time.monotonic() < until:
        if operator.has_died:
            return False
        time.sleep(0.05)
    return True


def converge(operator: LocalOperator, sessions: Sessions, name: str) -> None:
    """Ready, with one pod that works."""
    try:
        sessions.wait_phase(name, "Ready", timeout=60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{operator.log()}") from None
    uid = sessions.kubectl.get(SESSION, name)["metadata"]["uid"]
    assert len(sessions.kubectl.list("pods", f"sandboxsessions.dev/session={uid}")) == 1
    assert sessions.run_soon(name, "print(6 * 7)") == "42\n"


def is_clean(kubectl: Kubectl, name: str) -> bool:
    """Whether a session, its pods and its Secrets are all gone."""
    return not (
        kubectl.get(SESSION, name)
        or [pod for pod in kubectl.list("pods", MANAGED) if owned_by(pod, name)]
        or [secret for secret in kubectl.list("secrets") if owned_by(secret, name)]
    )


def owned_by(object_: dict, name: str) -> bool:
    """Whether a session of this name owns the object."""
    owners = object_["metadata"].get("ownerReferences", [])
    return any(owner["name"] == name for owner in owners)


def assert_nothing_left(kubectl: Kubectl, name: str) -> None:
    """Everything of a session goes with it."""
    poll(f"all of {name} is gone", lambda: is_clean(kubectl, name), timeout=60)


def test_when_the_leader_is_killed_the_other_serves_a_new_session_within_15_seconds(
    own_node: Platform, system: Kubectl, sessions: Sessions
):
    leader = poll("there is a leader", lambda: holder(system), timeout=30)
    pod = system.get("pod", leader)
    own_node.kill(pod, "operator")
    began = time.monotonic()
    name = sessions.create()
    sessions.wait_phase(name, "Ready", timeout=15)
    took = time.monotonic() - began
    print(f"\nReady {took:.1f} s after the leader's death; it was {leader}, now it is {holder(system)}")
    assert sessions.run_soon(name, "print(6 * 7)") == "42\n"
    poll("both replicas are back", lambda: replicas_ready(system) == 2, timeout=90)


def holder(system: Kubectl) -> str:
    """The leader's pod, by the lease; "" where that pod is none of now."""
    name = system.get("lease", RELEASE).get("spec", {}).get("holderIdentity") or ""
    return name if name and system.get("pod", name) else ""


def test_sessions_go_on_while_the_operator_is_away(system: Kubectl, sessions: Sessions):
    name = sessions.ready()
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    try:
        poll("the operator is gone", lambda: not system.list("pods"), timeout=60)
        assert sessions.run_soon(name, "print('alone')") == "alone\n"
    finally:
        system("scale", f"deployment/{RELEASE}", "--replicas=2")
