"""A session that does not become Ready: what a client shows while it waits, and when waiting has no more purpose."""

import asyncio
import time

import pytest

from sandbox_client import SessionFailed
from sandbox_client.cluster import start_policy
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.cluster.start_policy import StartWatch, describe_failure, describe_progress
from tests.support.session_api import problem, session

UNSCHEDULABLE = "0/1 nodes are available: 1 Insufficient cpu."
HOPELESS = [
    ("TemplateNotFound", 3), ("TemplateInvalid", 3), ("SecretKeyNotFound", 3), ("PodRefused", 5), ("PodNameTaken", 5),
    ("StorageCredentialsMissing", 10), ("ImagePullFailed", 20), ("ContainerFailed", 20), ("Unschedulable", 20),
]  # fmt: skip


@pytest.fixture
async def cluster(options):
    return await SessionApi.open(options)


@pytest.fixture
def quick(monkeypatch):
    """Every problem may last for a fifth of a second."""
    short = {reason: (0.2, advice) for reason, (_, advice) in start_policy._HOPELESS.items()}
    monkeypatch.setattr(start_policy, "_HOPELESS", short)


@pytest.mark.parametrize(("reason", "seconds"), HOPELESS)
def test_a_problem_that_lasts_ends_the_wait_within_seconds(reason, seconds):
    watch = StartWatch()
    assert watch.give_up_at(problem("Pending", reason, "x"), 100.0) == 100.0 + seconds
    assert watch.give_up_at(problem("Pending", reason, "another message"), 101.0) == 100.0 + seconds


@pytest.mark.parametrize("reason", ["WorkspaceInUse", "PodLost", "AgentUnreachable", "RestoreFailed", "Restoring", ""])
def test_other_reasons_are_waited_for(reason):
    assert StartWatch().give_up_at(problem("Starting", reason, "x"), 100.0) is None


def test_another_problem_begins_again_and_a_passing_one_is_forgotten():
    watch = StartWatch()
    assert watch.give_up_at(problem("Pending", "PodRefused", "x"), 0.0) == 5.0
    assert watch.give_up_at(problem("Starting", "ImagePullFailed", "x"), 4.0) == 24.0
    assert watch.give_up_at(session("Starting"), 10.0) is None
    assert watch.give_up_at(problem("Starting", "ImagePullFailed", "x"), 11.0) == 31.0


@pytest.mark.parametrize("word", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_the_kubelet_never_pulls_ends_the_wait_at_once(word):
    found = problem("Starting", "ImagePullFailed", f"container sandbox: image x: {word}")
    assert StartWatch().give_up_at(found, 0.0) == 3.0


def test_a_status_that_is_older_than_the_spec_is_no_problem():
    found = problem("Suspended", "Expired", "it ended", observedGeneration=1)
    found["metadata"]["generation"] = 2
    assert StartWatch().give_up_at(found, 0.0) is None
    found["status"]["observedGeneration"] = 2
    assert StartWatch().give_up_at(found, 0.0) == 3.0


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({}, ""),
        (session("Starting"), "Starting"),
        (problem("Starting", "Restoring", ""), "Starting"),
        (problem("Suspended", "Suspended", "set spec.suspended to false to resume the session"), "Suspended"),
        (problem("Pending", "PodRefused", "exceeded quota"), "Pending: PodRefused: exceeded quota"),
        (problem("Pending", "WorkspaceInUse", ""), "Pending: WorkspaceInUse"),
    ],
)
def test_progress_has_the_phase_and_the_problem(found, text):
    assert describe_progress(found) == text


def test_a_failure_names_each_problem_once_and_leaves_out_what_follows_from_it():
    found = problem("Starting", "Unschedulable", UNSCHEDULABLE)
    found["status"]["conditions"] += [
        {"type": "Scheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE},
        {"type": "Bound", "status": "False", "reason": "NotBound", "message": ""},
    ]
    assert describe_failure(found) == f"it is Starting (Ready: Unschedulable {UNSCHEDULABLE})"


@pytest.mark.parametrize(
    ("reason", "message", "advice"),
    [
        ("TemplateNotFound", "there is no SandboxTemplate x in this namespace", "Name a SandboxTemplate"),
        ("PodRefused", "exceeded quota: pods", "Ask for less"),
        ("ImagePullFailed", "image x: cannot be pulled", "Correct the image's name"),
        ("PodRefused", "denied by the policy p", "have the quota or policy changed"),
    ],
)
async def test_a_create_that_cannot_succeed_shows_its_reason_and_ends_soon(
    api, cluster, quick, reason, message, advice
):
    api.sessions["s"] = problem("Pending", reason, message)
    api.watches_last = True
    shown, started = [], time.monotonic()
    with pytest.raises(SessionFailed) as caught:
        await cluster.wait_ready("s", timeout=60, on_phase=shown.append)
    assert time.monotonic() - started < 10
    assert shown == [f"Pending: {reason}: {message}"]
    assert caught.value.message.startswith(f"session s is not ready: it is Pending (Ready: {reason} {message}).")
    assert advice in caught.value.message


async def test_a_problem_that_passes_in_time_is_only_shown(api, cluster, monkeypatch):
    api.sessions["s"] = problem("Pending", "TemplateNotFound", "there is none")
    shown = []

    def create_template():
        api.sessions["s"] = session("Ready")

    asyncio.get_running_loop().call_later(1.0, create_template)
    assert (await cluster.wait_ready("s", timeout=30, on_phase=shown.append))["status"]["phase"] == "Ready"
    assert shown == ["Pending: TemplateNotFound: there is none", "Ready"]


def event(reason, pod="p"):
    return {"reason": reason, "involvedObject": {"name": pod}}


@pytest.mark.parametrize(
    ("events", "waits"),
    [
        ([], False),
        ([event("FailedScheduling"), event("NotTriggerScaleUp")], False),
        ([event("TriggeredScaleUp", pod="another")], False),
        ([event("TriggeredScaleUp")], True),
        ([event("Nominated")], True),
        (None, True),
    ],
    ids=["no autoscaler", "it cannot help", "another pod", "cluster autoscaler", "Karpenter", "events are forbidden"],
)
async def test_a_pod_that_fits_on_no_node_is_waited_for_if_a_node_may_come(api, cluster, quick, events, waits):
    api.sessions["s"] = problem("Starting", "Unschedulable", UNSCHEDULABLE, podName="p")
    api.events = events
    loop = asyncio.get_running_loop()
    loop.call_later(2.5, lambda: api.sessions.update(s=session("Ready", podName="p")))
    if waits:
        assert (await cluster.wait_ready("s", timeout=30, on_phase=print))["status"]["phase"] == "Ready"
    else:
        with pytest.raises(
            SessionFailed, match=r"s is not ready: .*1 Insufficient cpu\.\)\. Ask for less, or add a node"
        ):
            await cluster.wait_ready("s", timeout=30, on_phase=print)


async def test_the_time_limit_ends_the_wait_for_a_node(api, cluster, quick):
    api.sessions["s"] = problem("Starting", "Unschedulable", UNSCHEDULABLE, podName="p")
    api.events = [event("TriggeredScaleUp")]
    started = time.monotonic()
    with pytest.raises(SessionFailed, match=r"was not ready within 3 s: .*Insufficient cpu"):
        await cluster.wait_ready("s", timeout=3, on_phase=print)
    assert 1 < time.monotonic() - started < 6


async def test_a_cluster_without_an_operator_is_named_as_such(api, cluster):
    api.sessions["s"] = session("")
    api.sessions["s"]["status"] = {}
    with pytest.raises(
        SessionFailed, match=r"within 1 s: it is not seen by the operator yet\. Check that the operator runs"
    ):
        await cluster.wait_ready("s", timeout=1, on_phase=print)


async def test_a_wake_of_a_session_past_its_end_says_how_to_continue(api, cluster, quick):
    found = problem("Suspended", "Expired", "the session reached spec.lifecycle.expiresAt")
    found["spec"]["suspended"] = True
    api.sessions["s"] = found
    with pytest.raises(
        SessionFailed, match=r"reached spec\.lifecycle\.expiresAt\)\. Resume it with a new end: `sandbox"
    ):
        await cluster.wake("s", timeout=30, on_phase=print)
