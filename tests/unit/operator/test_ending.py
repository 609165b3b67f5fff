"""Every session ends, whatever its agent, its runtime or its owner do. Its files are kept as far as they can be."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox_operator.agent.client import _view
from sandbox_operator.agent.model import AgentView
from sandbox_operator.api.values import parse_time
from sandbox_operator.errors import AgentError, AgentUnreachableError
from sandbox_operator.kube.resources import PODS, SESSIONS, TEMPLATES
from sandbox_operator.watch.handlers import session_key
from sandbox_proto.v1 import session_pb2, workspace_pb2
from sandbox_testing.operator_agents import FakeAgents
from tests.unit.operator.conftest import NAMESPACE, World

LIFETIME = timedelta(minutes=10)
DEADLINE = timedelta(minutes=5)
GRACE = timedelta(seconds=30)
"""Time from a pod's deletion until the kubelet kills its containers."""
UNREACHABLE = AgentUnreachableError("DEADLINE_EXCEEDED", "no answer")


class HostileAgents(FakeAgents):
    """Agents whose answers to one RPC are those of a hostile, hanging or broken one.

    Attributes:
        evil: Name of the RPC.
        answer: The error that it raises, the view that it returns, or "hang".
    """

    evil, answer = "", None

    async def _spoil(self, rpc):
        if self.evil != rpc:
            return None
        if self.answer == "hang":
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def describe(self, address, wait=0.0, timeout=2.0):  # noqa: ASYNC109 - as in Agents
        return await self._spoil("describe") or await super().describe(address, wait, timeout)

    async def bind(self, address, request):
        return await self._spoil("bind") or await super().bind(address, request)

    async def renew(self, address, request):
        return await self._spoil("renew") or await super().renew(address, request)

    async def set_lifetime(self, address, session_uid, remaining):
        return await self._spoil("set_lifetime") or await super().set_lifetime(address, session_uid, remaining)

    async def drain(self, address, session_uid, grace, timeout, *, require_all=False):  # noqa: ASYNC109 - as in Agents
        return await self._spoil("drain") or await super().drain(
            address, session_uid, grace, timeout, require_all=require_all
        )


@pytest.fixture
def world():
    world = World()
    world.agents = HostileAgents(world.faults)
    world.restart()
    return world


def lie(**changes):
    """A view of an agent that claims things about the world's first session."""
    return AgentView(state="BOUND", session_uid="00000000-0000-4000-8000-000000000002", **changes)


async def start(world, *, lifecycle=None, **template):
    world.add_template(lifecycle={"endDeadline": f"{DEADLINE.total_seconds():.0f}s", **template})
    world.add_session(lifecycle={"maxLifetime": "10m", "idleTimeout": "9m", "onIdle": "Suspend", **(lifecycle or {})})
    await world.settle()
    return world.pods()[world.pod()]


async def pass_time(world, until, step=10.0):
    """Let time pass, reconciling whenever the operator has planned it. Return when the first pod was deleted."""
    first, end = world.pod(), world.clock.now + until
    while world.clock.now < end:
        world.clock.advance(seconds=step)
        for key in list(world.operator.later):
            world.operator._enqueue(key)
        await world.settle_without_kubelet()
        pod = world.pods().get(first)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return world.clock.now
    return None


async def settle_without_kubelet(self):
    """Reconcile what is queued, without ending pods."""
    await self.operator.settle()


World.settle_without_kubelet = settle_without_kubelet


@pytest.mark.parametrize("on_expiry", ["Suspend", "Delete"])
@pytest.mark.parametrize(
    ("rpc", "answer"),
    [
        ("drain", "hang"),
        ("drain", UNREACHABLE),
        ("drain", AgentError("STORAGE_UNAVAILABLE", "storage is down")),
        ("drain", AgentError("FILES_NOT_SAVED", "not saved: 'a'")),
        ("drain", lie(restore="DONE")),
        ("describe", UNREACHABLE),
        ("describe", AgentError("INVALID_ANSWER", "unknown state")),
        ("describe", lie(restore="RUNNING")),
        ("describe", lie(restore="DONE", running=5)),
        ("describe", lie(restore="DONE", idle=timedelta(0), remaining_lifetime=timedelta(days=9))),
        ("describe", AgentView(state="DRAINING", session_uid="00000000-0000-4000-8000-000000000002")),
        ("describe", AgentView(state="UNSPECIFIED", session_uid="00000000-0000-4000-8000-000000000002")),
        ("describe", AgentView()),
        ("set_lifetime", AgentError("INTERNAL", "no")),
        ("renew", "hang"),
        ("bind", AgentError("INTERNAL", "no")),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_no_pod_outlives_its_lifetime_and_deadline(world, rpc, answer, on_expiry):
    if rpc == "bind":
        world.agents.evil, world.agents.answer = rpc, answer
    pod = await start(world, lifecycle={"onExpiry": on_expiry})
    made = parse_time(pod["metadata"]["creationTimestamp"])
    world.agents.evil, world.agents.answer = rpc, answer
    ended = await pass_time(world, LIFETIME + 2 * DEADLINE)
    assert ended is not None
    assert ended + GRACE <= made + LIFETIME + DEADLINE


async def test_a_suspend_that_fails_stays_until_the_deadline_then_ends_and_says_so(world):
    await start(world)
    world.agents.evil, world.agents.answer = "drain", "hang"
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle_without_kubelet()
    assert world.status()["phase"] == "Suspending"
    await pass_time(world, LIFETIME + DEADLINE)
    assert world.condition()[1] == "Suspending"
    await world.settle()
    assert world.pods() == {}
    assert world.status()["phase"] == "Suspended"
    assert "endingSince" not in world.status()
    assert world.condition("WorkspaceSynced")[:2] == ("False", "EndDeadlineExceeded")
    assert "lifecycle.endDeadline (5m)" in world.condition("WorkspaceSynced")[2]


async def test_files_that_cannot_be_stored_keep_the_session_up_and_are_named(world):
    await start(world)
    (server,) = world.agents.views
    world.agents.views[server] = replace(world.agents.views[server], unsaved=("deep/file: its name is too long",))
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle_without_kubelet()
    assert world.condition()[1:] == ("FilesNotSaved", "FILES_NOT_SAVED: not saved: deep/file: its name is too long")
    assert world.status()["workspace"]["unsaved"] == ["deep/file: its name is too long"]
    assert "deletionTimestamp" not in world.pods()[world.pod()]["metadata"]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle_without_kubelet()
    assert world.status()["phase"] == "Ready"
    assert "endingSince" not in world.status()


async def test_a_template_may_suspend_without_those_files(world):
    await start(world, onUnsavedFiles="Suspend")
    (server,) = world.agents.views
    world.agents.views[server] = replace(world.agents.views[server], unsaved=("deep/file: its name is too long",))
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert world.pods() == {}
    assert world.status()["phase"] == "Suspended"
    assert world.status()["workspace"]["unsaved"] == ["deep/file: its name is too long"]


@pytest.mark.parametrize("answer", ["hang", AgentError("STORAGE_UNAVAILABLE", "storage is down")])
async def test_such_a_suspend_ends_within_the_deadline(world, answer):
    await start(world, onUnsavedFiles="Suspend")
    world.agents.evil, world.agents.answer = "drain", answer
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle_without_kubelet()
    suspended = world.clock.now
    assert parse_time(world.status()["endingSince"]) == suspended
    ended = await pass_time(world, LIFETIME)
    assert ended is not None
    assert suspended + DEADLINE / 2 < ended <= suspended + DEADLINE - GRACE


async def test_a_drain_gets_no_more_time_than_the_deadline_leaves(world):
    seen = []

    async def drain(address, session_uid, grace, timeout, *, require_all=False):  # noqa: ASYNC109 - as in Agents
        seen.append((grace + timeout, require_all))
        return await FakeAgents.drain(world.agents, address, session_uid, grace, timeout, require_all=require_all)

    await start(world)
    world.agents.drain = drain
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert seen == [(DEADLINE.total_seconds(), True)]


async def test_a_finalizer_does_not_keep_the_pod_of_a_deleted_session(world):
    await start(world)
    now = world.clock.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    world.kube.change(SESSIONS, NAMESPACE, "one", {"metadata": {"deletionTimestamp": now, "finalizers": ["a/b"]}})
    await world.settle_without_kubelet()
    assert world.pods()[world.pod()]["metadata"]["deletionTimestamp"]
    await world.settle()
    assert world.pods() == {}
    assert world.status()["phase"] == "Terminating"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_forged_start_does_not_lengthen_a_lifetime(world, moment):
    world.add_template(lifecycle={"maxLifetime": "1h", "endDeadline": "1m"})
    world.add_session(lifecycle={"idleTimeout": None})
    future = {"metadata": {"annotations": {"sandboxsessions.dev/claimed-at": "2100-01-01T00:00:00Z"}}}
    if moment == "before":
        await world.operator.settle()
        world.kube.change(PODS, NAMESPACE, world.pod(), future)
    await world.settle()
    assert world.status()["phase"] == "Ready"
    expires = parse_time(world.status()["expiresAt"])
    assert expires <= world.clock.now + timedelta(hours=1)
    world.kube.change(PODS, NAMESPACE, world.pod(), future)
    await world.settle()
    world.clock.advance(minutes=10)
    await world.operator.list_all()
    await world.settle()
    assert parse_time(world.status()["expiresAt"]) == expires


async def test_without_its_template_a_session_ends_after_half_an_hour_at_most(world):
    await start(world)
    world.kube.remove(TEMPLATES, NAMESPACE, "default")
    world.agents.evil, world.agents.answer = "drain", "hang"
    made = world.clock.now
    ended = await pass_time(world, timedelta(hours=2))
    assert ended is not None
    assert ended + GRACE <= made + LIFETIME + timedelta(minutes=30)


@pytest.mark.parametrize(
    "description",
    [
        session_pb2.SessionDescription(state=99),
        session_pb2.SessionDescription(restore=-1),
        session_pb2.SessionDescription(idle={"seconds": 2**62}),
        session_pb2.SessionDescription(remaining_lifetime={"seconds": -(2**62)}),
        session_pb2.SessionDescription(last_active={"seconds": 2**62}),
        session_pb2.SessionDescription(credentials_expire_at={"seconds": -(2**62)}),
    ],
)
def test_a_description_out_of_range_is_an_agents_error(description):
    with pytest.raises(AgentError, match="described itself wrongly"):
        _view(description)


@pytest.mark.parametrize(
    ("total", "last"), [(8, "x: too long"), (9, "and 1 more"), (51, "and 43 more"), (4000, "and 3992 more")]
)
def test_unsaved_files_are_named_within_bounds_and_counted_exactly(total, last):
    shown = [workspace_pb2.FileFailure(path="x", reason="too long") for _ in range(min(total, 49))]
    if total > len(shown):
        shown.append(workspace_pb2.FileFailure(reason=f"{total - len(shown)} more files failed"))
    view = _view(session_pb2.SessionDescription(state=2, workspace={"unsaved": shown, "unsaved_count": total}))
    assert view.unsaved_count == total
    assert view.unsaved[:8] == ("x: too long",) * 8
    assert view.unsaved[-1] == last
    assert len(view.unsaved) == (8 if total == 8 else 9)


def test_an_earlier_agent_that_does_not_count_unsaved_files_is_not_believed_to():
    many = [workspace_pb2.FileFailure(path="x" * 5000, reason="too long") for _ in range(50)]
    view = _view(session_pb2.SessionDescription(state=2, workspace={"unsaved": many}))
    assert {len(each) for each in view.unsaved[:8]} == {300}
    assert view.unsaved[8:] == ("and at least 42 more",)


async def test_the_event_about_unsaved_files_counts_all_and_names_the_first_eight(world):
    await start(world, onUnsavedFiles="Suspend")
    (server,) = world.agents.views
    names = tuple(f"{n}{'x' * 250}: its name is too long" for n in range(8))
    world.agents.views[server] = replace(world.agents.views[server], unsaved=(*names, "and 4 more"), unsaved_count=12)
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    (event,) = [each for each in world.operator.recorder._queue._queue if each["reason"] == "FilesNotSaved"]
    assert event["message"].startswith("the session is suspended, but 12 files were not saved: 0xxx")
    assert event["message"].endswith("; and 4 more")
    assert all(f"; {n}xxx" in event["message"] for n in range(1, 8))
    assert world.status()["workspace"]["unsaved"] == [*names, "and 4 more"]


async def test_a_status_that_names_as_many_files_as_it_can_is_not_written_again_and_again(world):
    await start(world)
    (server,) = world.agents.views
    unsaved = (*(f"{n}: its name is too long" for n in range(8)), "and 4 more")
    world.agents.views[server] = replace(world.agents.views[server], unsaved=unsaved, unsaved_count=12)
    for _ in range(4):
        world.operator._enqueue(session_key(NAMESPACE, "one"))
        await world.settle_without_kubelet()
    written = world.session()["metadata"]["resourceVersion"]
    world.operator._enqueue(session_key(NAMESPACE, "one"))
    await world.settle_without_kubelet()
    assert world.session()["metadata"]["resourceVersion"] == written


@pytest.mark.parametrize(
    ("restore", "workspace", "has_storage"),
    [("DONE", None, False), ("DONE", {}, True), ("RUNNING", None, True), ("UNSPECIFIED", None, True)],
)
def test_an_agent_that_is_restored_and_reports_no_workspace_has_no_storage(restore, workspace, has_storage):
    described = session_pb2.SessionDescription(state=2, restore=f"RESTORE_STATE_{restore}", workspace=workspace)
    assert _view(described).has_storage is has_storage
