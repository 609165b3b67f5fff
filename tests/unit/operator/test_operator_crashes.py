"""A crash before and after every write: the next process reaches the same end, and nothing is left over."""

import contextlib

import pytest

from sandbox_operator.kube.resources import SECRETS, SESSIONS
from tests.support.troubled_world import Death, Killed

NAMESPACE = "team"


async def run_until_killed(world, faults):
    operator = world.restart(faults)
    await operator.list_all()
    with contextlib.suppress(Killed):
        await operator.settle(world.play_kubelet)


async def converge(world):
    operator = world.restart()
    await operator.list_all()
    await operator.settle(world.play_kubelet)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("n", range(1, 9))
async def test_fault_1_a_crash_at_each_write_of_a_start_ends_in_one_ready_session(world, n, after):
    """A crash at each write of a start ends in one Ready session."""
    world.add_template()
    world.add_session()
    await run_until_killed(world, Death(kill_after=n) if after else Death(kill_at=n))
    await converge(world)
    assert world.status()["phase"] == "Ready"
    assert len(world.pods()) == 1
    assert world.secrets() == ["one-access", f"{world.pod()}-tls"]
    (token,) = {request.token_sha256 for request in world.agents.requests}
    assert len(token) == 32


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("n", range(1, 6))
async def test_fault_1_a_crash_at_each_write_of_a_suspend_loses_nothing(world, n, after):
    """A crash at each write of a suspend loses nothing."""
    await world.start()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await run_until_killed(world, Death(kill_after=n) if after else Death(kill_at=n))
    await converge(world)
    assert world.status()["phase"] == "Suspended"
    assert world.pods() == {}
    assert world.agents.drains >= 1


async def test_fault_1_a_crash_between_idle_and_suspended_still_says_idle(world):
    """A crash between the decision and the suspend keeps the reason Idle."""
    await world.start()
    world.clock.advance(minutes=20)
    await run_until_killed(world, Death(kill_after=1))
    assert world.session()["spec"]["suspended"] is True
    await converge(world)
    assert world.condition()[1] == "Idle"


async def test_fault_3_a_session_deleted_while_no_operator_ran_leaves_nothing(world):
    """A session that is deleted while no operator runs leaves nothing behind."""
    await world.start()
    world.kube.remove(SESSIONS, NAMESPACE, "one")
    await converge(world)
    assert world.pods() == {}
    assert world.kube.named(SECRETS) == {}
