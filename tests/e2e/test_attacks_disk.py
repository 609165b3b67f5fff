"""Attacks on the disk: row 26, under runc, runc with a user namespace, and gVisor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from sandbox_client import ResourceExhausted
from tests.e2e.support.isolations import SPECS
from tests.e2e.support.kubectl import poll
from tests.e2e.support.sessions import build_template
from tests.e2e.support.small_disk import on_small_disk
from tests.integration.test_scarce_resources import FILL

if TYPE_CHECKING:
    from sandbox_client import Sandbox
    from tests.e2e.support.arena import Arena
    from tests.e2e.support.platform import Platform

MANY, STORED = 200_000, 190_000
"""A workspace in storage has at most 200,000 files; the attacker's other tests have left some."""
MAKE_MANY = """
import os
for folder in range({count} // 1000):
    os.makedirs(f"many/{{folder}}")
    for number in range(1000):
        os.close(os.open(f"many/{{folder}}/{{number}}", os.O_CREAT | os.O_WRONLY))
print("made")
"""


def test_attack_26_a_full_disk_and_full_inodes_are_the_sessions_own(arena: Arena, own_node: Platform):
    """Each is refused by name at once; what was saved stays, and the session goes on once there is room."""
    with on_small_disk(own_node, arena.sessions, arena.isolation) as (name, sandbox):
        agent = agent_of(arena, name)
        assert sandbox.run_code("kept = 41").ok
        sandbox.files.write("saved.txt", "saved before")
        assert sandbox.workspace.push().failed == ()
        with arena.unharmed("full disk and full inodes"):
            for what, fill in FILL.items():
                assert "No space left on device" in sandbox.run_code(fill, timeout=120).stdout, what
                check_full(sandbox, what)
                assert sandbox.run("rm -r fill*").ok
                assert sandbox.files.write("room.txt", "x" * 100_000).size == 100_000
        assert sandbox.run_code("kept + 1").text == "42"
        assert sandbox.workspace.push().failed == ()
        assert sandbox.workspace.read("code-interpreter/saved.txt") == b"saved before"
        assert agent_of(arena, name) == agent


def check_full(sandbox: Sandbox, what: str) -> None:
    """The session says that its disk is full, and does all that needs none."""
    with pytest.raises(ResourceExhausted, match="the disk is full") as refusal:
        sandbox.files.write("more.txt", "x" * 100_000)
    assert refusal.value.reason == "DISK_FULL", what
    cell = sandbox.run_code(f"with open('new-{what}', 'w') as file: file.write('x' * 100_000)")
    assert cell.error is not None, what
    assert (cell.error.name, cell.limit) == ("OSError", "disk"), what
    assert sandbox.run("echo command").stdout == "command\n", what
    assert sandbox.files.read("saved.txt") == b"saved before", what


def agent_of(arena: Arena, name: str) -> tuple[str, int]:
    """Container id and restarts of a session's agent."""
    statuses = arena.sessions.pod(name)["status"]["containerStatuses"]
    return next((each["containerID"], each["restartCount"]) for each in statuses if each["name"] == "agent")


# One after the other on three isolations takes minutes.
@pytest.mark.parametrize(
    "arena",
    ["runc", *(pytest.param(other, marks=pytest.mark.long_attack) for other in ("userns", "gvisor"))],
    indirect=True,
    scope="module",
)
def test_attack_26_two_hundred_thousand_small_files_slow_nobody_down(arena: Arena):
    """They are made, listed, searched and removed; the agent's memory stays bounded."""
    # gVisor needs minutes for the whole number.
    sandbox, count = arena.attacker, MANY if arena.isolation != "gvisor" else MANY // 10
    with arena.unharmed(f"{count} small files"):
        made = sandbox.run_code(MAKE_MANY.format(count=count), timeout=200)
        assert made.stdout == "made\n", made
        assert sandbox.run("find many -type f | wc -l", timeout=60).stdout.strip() == str(count)
        assert len(sandbox.files.find("999", "many", timeout=60).matches) == count // 1000
        assert sandbox.run("rm -r many", timeout=120).ok
    if arena.has_process_of_agent:
        assert arena.peak_of_agent() < 256 << 20


@pytest.mark.long_attack
def test_attack_26_a_volume_above_its_size_costs_its_session_the_pod_and_nobody_else_anything(arena: Arena):
    """The kubelet evicts the pod; the session is Ready again in another one, with what was saved."""
    sessions, name = arena.sessions, f"bounded-{arena.isolation}"
    fields = {**SPECS[arena.isolation], "volumes": {"workspace": "64Mi"}}
    sessions.kubectl.apply(build_template(name, "", **fields))
    session = sessions.ready(templateRef={"name": name})
    with sessions.connect(session, is_direct=True) as sandbox:
        sandbox.files.write("saved.txt", "saved before")
        assert sandbox.workspace.push().failed == ()
        before = sessions.pod(session)["metadata"]["uid"]
        with arena.unharmed("volume above its size"):
            sandbox.run("head -c 200M /dev/zero > fill", timeout=60)
            poll(
                "another pod serves the session",
                lambda: sessions.pod(session).get("metadata", {}).get("uid", before) != before,
                timeout=180,
                pause=2,
            )
            sessions.wait_phase(session, "Ready", timeout=90)
    with sessions.connect(session, is_direct=True) as sandbox:
        assert sandbox.files.read("saved.txt") == b"saved before"


@pytest.mark.long_attack
@pytest.mark.timeout(1500, func_only=True)
def test_attack_26_as_many_small_files_as_fit_are_saved_while_a_neighbour_works(arena: Arena):
    """A push of all of them succeeds, and the agent's memory stays bounded."""
    if arena.isolation != "runc":
        pytest.skip("what is pushed is the agent's and the store's work, which an isolation does not change")
    sandbox = arena.attacker
    with arena.unharmed(f"push of {STORED} small files"):
        assert sandbox.run_code(MAKE_MANY.format(count=STORED), timeout=200).stdout == "made\n"
        began = time.monotonic()
        report = sandbox.workspace.push()
        print(f"\n{report.files_saved} files in {time.monotonic() - began:.0f} s")  # noqa: T201 - a measurement
        assert report.failed == ()
        assert report.files_moved >= STORED
        assert sandbox.run("rm -r many", timeout=120).ok
        assert sandbox.workspace.push().failed == ()
    assert arena.peak_of_agent() < 448 << 20
