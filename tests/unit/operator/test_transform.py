"""What the operator keeps of the objects it has seen."""

import json

import pytest

from sandbox_operator.api.models import Pool, Session, Template, parse
from sandbox_operator.api.session_spec import Egress
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.manifests.pod import BlankPodRequest, PodRequest, build_blank_pod, build_pod
from sandbox_operator.pool.available_pods import find_pool, is_blank, is_ready, kind_of
from sandbox_operator.session.admission import default_resources
from sandbox_operator.session.pod_state import read_pod_state
from sandbox_operator.settings import Images
from sandbox_operator.watch.transform import strip_unused

METADATA = {"namespace": "team", "creationTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "7"}
FIELDS = [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {"f:x": {}}}}]
STATUS = {
    "phase": "Running",
    "podIP": "10.1.0.1",
    "podIPs": [{"ip": "10.1.0.1"}],
    "hostIP": "10.0.0.1",
    "qosClass": "Burstable",
    "conditions": [
        {"type": "Initialized", "status": "True"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"},
        {"type": "Ready", "status": "True"},
    ],
    "containerStatuses": [
        {
            "name": name,
            "image": "i",
            "imageID": "sha256:0",
            "containerID": "c",
            "ready": True,
            "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}} if name == "sandbox" else {"running": {}},
            "lastState": {"terminated": {"exitCode": 1}},
        }
        for name in ("agent", "sandbox")
    ],
}


def seen(pod, uid="pod-uid"):
    """A pod as the API server tells it."""
    metadata = {**METADATA, **pod["metadata"], "uid": uid, "managedFields": FIELDS}
    metadata.setdefault("annotations", {})["cni/result"] = "x" * 500
    return {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": metadata, "status": STATUS}


@pytest.fixture
def template():
    return parse(Template, {"metadata": {"name": "default", **METADATA, "uid": "t"}, "spec": {"image": "i"}})


@pytest.fixture
def session_pod(template):
    session = parse(Session, {"metadata": {"name": "one", **METADATA, "uid": "s"}, "spec": {}})
    request = PodRequest(session, template, Egress.NONE, default_resources(template), Images("agent", "sandbox"))
    pod = build_pod(request)
    return seen({**pod, "spec": {**pod["spec"], "nodeName": "node1"}})


@pytest.fixture
def blank_pod(template):
    pool = parse(Pool, {"metadata": {"name": "default", **METADATA, "uid": "p"}, "spec": {"replicas": 1}})
    request = BlankPodRequest(pool, "blank-1", template, default_resources(template), Images("agent", "sandbox"))
    return seen(build_blank_pod(request))


def test_a_slim_pod_means_the_same_for_its_session(session_pod):
    view = read_pod_state(session_pod)
    assert view.memory_bytes
    assert view.problem
    assert read_pod_state(strip_unused(PODS, session_pod)) == view


def test_a_slim_blank_pod_can_be_claimed_as_the_whole_one(blank_pod):
    kept = strip_unused(PODS, blank_pod)
    assert is_blank(kept)
    assert (is_ready(kept), find_pool(kept), kind_of(kept)) == (
        is_ready(blank_pod),
        find_pool(blank_pod),
        kind_of(blank_pod),
    )


def test_a_pod_is_kept_in_a_fraction_of_its_size(session_pod):
    assert len(json.dumps(strip_unused(PODS, session_pod))) < len(json.dumps(session_pod)) / 3


def test_slimming_twice_changes_nothing(session_pod):
    kept = strip_unused(PODS, session_pod)
    assert strip_unused(PODS, kept) == kept


def test_of_a_session_everything_is_kept_but_what_others_noted_about_it():
    own = {"sandboxsessions.dev/suspended-by": "Idle/2"}
    metadata = {"name": "one", **METADATA, "uid": "s", "annotations": {"team/owner": "us", **own}}
    raw = {"metadata": {**metadata, "managedFields": FIELDS}, "spec": {"suspended": True}, "status": {"phase": "Ready"}}
    kept = strip_unused(SESSIONS, raw)
    assert kept == {**raw, "metadata": {**metadata, "annotations": own}}


def test_the_same_text_in_two_objects_is_one_string():
    one, other = (
        strip_unused(SESSIONS, json.loads('{"metadata": {"name": "n", "namespace": "team-a"}}')) for _ in range(2)
    )
    assert one["metadata"]["namespace"] is other["metadata"]["namespace"]
