"""Rows 11 to 18 of docs/faults.md: the API server is away, refuses, loses answers, lags behind; clocks differ."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox_operator.kube.resources import PODS
from sandbox_testing.faults import Fault, broken, conflict, no_answer, throttled
from tests.support.troubled_world import TroubledWorld
from tests.unit.faults.test_fault_operator_process import create, idle, replace_pod, resume, suspend

STEPS = {create: "Ready", suspend: "Suspended", resume: "Ready", idle: "Suspended", replace_pod: "Ready"}
each_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)


async def strike_at_each_write(step, **fault):
    """Run a step once for each of its writes with a fault there; the invariants and the phase hold each time."""
    struck = 0
    for skip in range(30):
        world = TroubledWorld()
        await step(world)
        await world.operator.list_all()
        world.kube.fault = Fault(skip=skip, **fault)
        await world.settle()
        await world.come_to_rest()
        assert world.status()["phase"] == STEPS[step]
        assert len(world.pods()) == (STEPS[step] == "Ready")
        if not world.kube.fault.raised:
            break
        struck += 1
    assert struck >= 2


@each_step
async def test_fault_11_while_the_api_server_restarts_calls_fail_and_then_it_goes_on(step):
    """Every write fails twenty times, and the session becomes Ready afterwards."""
    await strike_at_each_write(step, error=no_answer, times=20)


@each_step
async def test_fault_13_a_conflict_is_a_reason_to_look_again(step):
    """A conflict leads to another reconcile."""
    await strike_at_each_write(step, error=conflict)


@each_step
async def test_fault_15_a_write_that_is_throttled_is_made_later(step):
    """A throttled write is made later."""
    await strike_at_each_write(step, error=throttled, times=3)


@each_step
async def test_fault_16_a_write_whose_answer_was_500_is_not_made_twice(step):
    """A write that took effect although the answer was 500 is not made twice."""
    await strike_at_each_write(step, error=broken, committed=True)


@each_step
async def test_fault_12_with_a_watch_that_hangs_the_lists_alone_are_enough(step):
    """With a watch that hangs, the lists alone are enough."""
    world = TroubledWorld()
    await step(world)
    world.kube.hang_watch()
    for _ in range(5):
        await world.operator.list_all()
        await world.settle()
    world.kube.resume_watch(dropped=True)
    await world.come_to_rest()
    assert world.status()["phase"] == STEPS[step]


@each_step
async def test_fault_12_events_that_come_late_change_nothing_back(step):
    """Late events do not revert newer state."""
    world = TroubledWorld()
    await step(world)
    world.kube.hang_watch()
    for _ in range(5):
        await world.operator.list_all()
        await world.settle()
    before = list(world.kube.writes)
    world.kube.resume_watch()
    await world.settle()
    assert [call for call in world.kube.writes[len(before) :] if call[1] == PODS.plural] == []
    await world.come_to_rest()
    assert world.status()["phase"] == STEPS[step]


@each_step
async def test_fault_17_a_list_that_lags_behind_our_own_writes_takes_nothing_back(step):
    """A list that is older than our own writes reverts nothing."""
    world = TroubledWorld()
    await step(world)
    await world.operator.list_all()
    world.kube.freeze_reads()
    world.kube.hang_watch()
    for _ in range(8):
        keys, world.operator.queue[:] = list(world.operator.queue), []
        for key in keys:
            await world.operator.work(key)
        await world.operator.list_all()
    pods = [call for call in world.kube.writes if call[:2] == ("create", "pods")]
    world.kube.thaw_reads()
    world.kube.resume_watch()
    await world.come_to_rest()
    assert world.status()["phase"] == STEPS[step]
    assert len(pods) <= 2


async def test_fault_12_a_late_event_of_a_suspension_that_is_long_over_ends_nothing():
    """A late event of an old suspend does not suspend the session again."""
    world = TroubledWorld()
    await world.start()
    writes, agents = list(world.kube.writes), len(world.agents.calls)
    world.kube.hang_watch()
    world.change_session(suspended=True)
    world.change_session(suspended=False)
    await world.operator.list_all()
    await world.settle()
    (suspended, *later), world.kube._held = world.kube._held, None
    world.kube._notify(*suspended)
    await world.settle()
    assert [call for call in world.kube.writes[len(writes) :] if call[1] == PODS.plural] == []
    assert [call for call in world.agents.calls[agents:] if call[1] == "agents"] == []
    for event in later:
        world.kube._notify(*event)
    await world.come_to_rest()
    assert world.status()["phase"] == "Ready"


async def test_fault_17_a_list_from_before_a_session_was_resumed_suspends_it_not_again():
    """A list from before a resume does not suspend the session again."""
    world = TroubledWorld()
    await world.start()
    world.change_session(suspended=True)
    await world.settle()
    world.kube.freeze_reads()
    world.change_session(suspended=False)
    await world.settle()
    pod, calls = world.pod(), len(world.agents.calls)
    await world.operator.list_all()
    await world.settle()
    assert [call for call in world.kube.calls[calls:] if call[1] in {"pods", "agents"}] == []
    assert world.pod() == pod
    world.kube.thaw_reads()
    await world.come_to_rest()
    assert world.status()["phase"] == "Ready"


async def test_fault_17_a_list_from_before_a_pod_was_made_is_no_reason_to_make_another():
    """A list from before a pod was created does not create a second pod."""
    world = TroubledWorld()
    await create(world)
    world.kube.freeze_reads()
    await world.settle()
    assert world.status()["phase"] == "Ready"
    calls = len(world.kube.calls)
    await world.operator.list_all()
    await world.settle()
    assert [call for call in world.kube.calls[calls:] if call[1] != "events"] == []
    world.kube.thaw_reads()
    await world.come_to_rest()
    assert world.status()["phase"] == "Ready"


@pytest.mark.parametrize("minutes", [10, -10])
async def test_fault_18_an_operator_whose_clock_is_off_by_ten_minutes_ends_nobodys_session(minutes):
    """An operator whose clock is off by ten minutes ends no session early."""
    world = TroubledWorld()
    world.operator_clock = lambda: world.clock() + timedelta(minutes=minutes)
    world.restart()
    await world.start()
    await world.come_to_rest()
    assert world.status()["phase"] == "Ready"


@pytest.mark.parametrize("minutes", [10, -10])
async def test_fault_18_an_agent_whose_clock_is_off_by_ten_minutes_is_not_taken_for_idle(minutes):
    """An agent whose clock is off by ten minutes does not count as idle."""
    world = TroubledWorld()
    await world.start()
    (name,) = world.agents.views
    used = world.clock() + timedelta(minutes=minutes)
    world.agents.views[name] = replace(world.agents.views[name], last_active=used)
    world.clock.advance(minutes=4)
    await world.come_to_rest()
    assert world.status()["phase"] == "Ready"


@pytest.mark.parametrize("minutes", [10, -10])
@pytest.mark.parametrize(("idle", "phase"), [(4, "Ready"), (6, "Suspended")])
async def test_fault_18_an_idle_timeout_below_the_skew_is_kept_by_what_the_agent_counts(minutes, idle, phase):
    """An idle timeout shorter than the skew holds, because the agent counts idle time itself."""
    world = TroubledWorld()
    await world.start(lifecycle={"idleTimeout": "5m"})
    (name,) = world.agents.views
    world.clock.advance(minutes=30)
    used = world.clock() + timedelta(minutes=minutes)
    world.agents.views[name] = replace(world.agents.views[name], last_active=used, idle=timedelta(minutes=idle))
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == phase


async def test_fault_18_an_operator_ahead_of_the_api_server_keeps_an_idle_timeout_below_the_skew():
    """The same holds for an operator whose clock is ahead of the API server's."""
    world = TroubledWorld()
    world.operator_clock = lambda: world.clock() + timedelta(minutes=10)
    world.restart()
    world.add_template()
    world.add_session(lifecycle={"idleTimeout": "5m"})
    bind = world.agents.bind

    async def bind_and_tell(address, request):
        view = world.agents.views[address.server_name] = replace(
            await bind(address, request), idle=timedelta(minutes=1)
        )
        return view

    world.agents.bind = bind_and_tell
    await world.settle()
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"
