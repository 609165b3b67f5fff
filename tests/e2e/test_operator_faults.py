"""The operator dies, at every write and as the leader: what it left behind converges, and nothing is orphaned."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import replicas_ready
from tests.e2e.support.chart import RELEASE
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.local_operator import LocalOperator, open_local_operator
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import SESSION, Sessions

MOST_WRITES = 40
QUIET_SECONDS = 1.0
"""An operator that wrote nothing for so long after a goal is reached has nothing more to write for it."""
TAKEOVER_SECONDS = 15
KEPT = b"kept over every crash\n"


@pytest.fixture
def local_operator(own_node: Platform, system: Kubectl, tmp_path: Path) -> Iterator[LocalOperator]:
    """An operator of this machine in place of the cluster's."""
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    try:
        poll("the cluster's operator is gone", lambda: not system.list("pods"), timeout=60)
        with open_local_operator(own_node, system, tmp_path, RELEASE) as operator:
            yield operator
    finally:
        system("scale", f"deployment/{RELEASE}", "--replicas=2")


@dataclass(frozen=True)
class Step:
    """A part of a session's life: how it is asked for, and how one sees that it is over."""

    name: str
    ask: Callable[[Sessions, str], object]
    is_done: Callable[[Sessions, str], bool]
    check: Callable[[Sessions, str, Platform], None]


def is_ready(sessions: Sessions, name: str) -> bool:
    return sessions.status(name).get("phase") == "Ready"


def is_suspended(sessions: Sessions, name: str) -> bool:
    return sessions.status(name).get("phase") == "Suspended"


def check_created(sessions: Sessions, name: str, _platform: Platform) -> None:
    assert len(sessions.owned("pods", name)) == 1
    with sessions.connect(name) as sandbox:
        sandbox.files.write("kept.txt", KEPT)


def check_suspended(sessions: Sessions, name: str, platform: Platform) -> None:
    assert not sessions.owned("pods", name)
    stored = platform.storage.digests(sessions.kubectl.namespace, name)
    assert stored == {"kept.txt": hashlib.sha256(KEPT).hexdigest()}


def check_resumed(sessions: Sessions, name: str, _platform: Platform) -> None:
    assert len(sessions.owned("pods", name)) == 1
    with sessions.connect(name) as sandbox:
        assert sandbox.files.read("kept.txt") == KEPT


STEPS = (
    Step("create", lambda sessions, name: sessions.create(name), is_ready, check_created),
    Step("suspend", lambda sessions, name: sessions.suspend(name), is_suspended, check_suspended),
    Step("resume", lambda sessions, name: sessions.suspend(name, suspended=False), is_ready, check_resumed),
    Step(
        "delete",
        lambda sessions, name: sessions.kubectl.delete(SESSION, name),
        lambda sessions, name: not sessions.read(name),
        lambda _sessions, _name, _platform: None,
    ),
)


@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("fault", ["kill_at", "kill_after"])
def test_fault_1_a_crash_around_any_write_converges_and_orphans_nothing(
    local_operator: LocalOperator, own_node: Platform, kubectl: Kubectl, fault: str, record_property
):
    """In a cluster, a crash around any write converges and leaves no orphan."""
    sessions, began = Sessions(kubectl), time.monotonic()
    survived: dict[str, int] = {}
    names = []
    for number in range(1, MOST_WRITES):
        names.append(f"crash-{fault[5:]}-{number}")
        for step in STEPS:
            if step.name in survived:
                # Every write of this step was a place to die at already; it is only the way to the next one.
                reach(step, local_operator, sessions, names[-1])
            elif not crash(step, local_operator, sessions, names[-1], **{fault: number}):
                survived[step.name] = number - 1
            step.check(sessions, names[-1], own_node)
        if len(survived) == len(STEPS):
            break
    for name in names:
        poll(f"nothing of {name} is left", lambda name=name: not sessions.leftovers(name), timeout=60)
    seconds = time.monotonic() - began
    print(f"\n{fault}: writes {json.dumps(survived)}, {local_operator.starts} operators, {seconds:.0f} s")  # noqa: T201 - a measurement, for people
    record_property("writes", survived)
    assert survived.keys() == {step.name for step in STEPS}
    assert min(survived["create"], survived["resume"]) >= 5, "more than this is written: the faults do not strike"
    assert survived["suspend"] >= 3


def crash(step: Step, operator: LocalOperator, sessions: Sessions, name: str, **fault: int) -> bool:
    """Take a step with an operator that dies in it, then with one that does not; whether it died."""
    operator.start(**fault)
    step.ask(sessions, name)
    poll(
        f"{step.name} of {name} is done or the operator dead",
        lambda: operator.has_died or step.is_done(sessions, name),
        timeout=90,
        pause=0.02,
    )
    has_died = is_dead_soon(operator)
    operator.start()
    wait_done(step, operator, sessions, name)
    return has_died


def reach(step: Step, operator: LocalOperator, sessions: Sessions, name: str) -> None:
    """Take a step with an operator that has no fault."""
    operator.start()
    step.ask(sessions, name)
    wait_done(step, operator, sessions, name)


def wait_done(step: Step, operator: LocalOperator, sessions: Sessions, name: str) -> None:
    try:
        poll(f"{step.name} of {name} is done", lambda: step.is_done(sessions, name), timeout=30, pause=0.02)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{sessions.status(name)}\n{operator.tail()}") from None


def is_dead_soon(operator: LocalOperator) -> bool:
    """Whether it dies of what it still has to write."""
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        if operator.has_died:
            return True
        time.sleep(0.05)
    return False


def test_fault_5_when_the_leader_is_killed_the_other_replica_serves_a_new_session_within_15_seconds(
    own_node: Platform, system: Kubectl, sessions: Sessions, record_property
):
    """In a cluster, the other replica serves a new session within 15 seconds."""
    leader = poll("there is a leader", lambda: holder(system), timeout=60)
    pod = system.get("pod", leader)
    own_node.kill(pod, "operator")
    began = time.monotonic()
    # Or the kubelet starts the same replica again, under the same name.
    system.delete("pod", leader, "--grace-period=0", "--force")
    name = sessions.create()
    poll("the lease has another holder", lambda: holder(system) not in {"", leader}, timeout=TAKEOVER_SECONDS)
    taken = time.monotonic() - began
    sessions.wait_phase(name, "Ready", timeout=TAKEOVER_SECONDS)
    served = time.monotonic() - began
    print(f"\ntakeover: lease {taken:.1f} s, new session Ready {served:.1f} s after the leader's death")  # noqa: T201 - a measurement, for people
    record_property("takeover_seconds", served)
    assert served < TAKEOVER_SECONDS
    assert sessions.run_soon(name, "print(6 * 7)") == "42\n"


def holder(system: Kubectl) -> str:
    """The leader's pod, by the lease; "" where that pod is none of now."""
    name = system.get("lease", RELEASE).get("spec", {}).get("holderIdentity") or ""
    return name if name and system.get("pod", name) else ""


def test_fault_8_and_10_sessions_are_served_while_the_operator_is_away_and_a_poison_one_holds_up_nobody_when_it_returns(
    system: Kubectl, sessions: Sessions
):
    """In a cluster, sessions are served without an operator, and a bad one delays no other when it returns."""
    poison = sessions.create(templateRef={"name": "no-such-template"})
    good = sessions.ready()
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    try:
        poll("the operator is gone", lambda: not system.list("pods"), timeout=60)
        assert sessions.run_soon(good, "kept = 1; print('alone')") == "alone\n"
        waiting = sessions.create()
        asleep = sessions.create(suspended=True)
    finally:
        system("scale", f"deployment/{RELEASE}", "--replicas=2")
    sessions.wait_phase(waiting, "Ready", timeout=120)
    sessions.wait_phase(asleep, "Suspended", timeout=30)
    assert sessions.run_soon(waiting, "print(6 * 7)") == "42\n"
    assert sessions.run_soon(good, "print(kept)") == "1\n"
    condition = sessions.condition(poison, "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "TemplateNotFound")
    assert "no-such-template" in condition["message"]
    poll("both replicas are back", lambda: replicas_ready(system) == 2, timeout=90)
