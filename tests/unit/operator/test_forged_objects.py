"""A tenant's pods and Secrets that have the names, labels and owners of the operator's own are never taken for them."""

import base64
import contextlib
import copy
import hashlib

import pytest

from sandbox_operator.api import naming
from sandbox_operator.errors import ForbiddenError, UnavailableError
from sandbox_operator.kube.resources import NETWORK_POLICIES, PODS, POOLS, SECRETS, SESSIONS
from sandbox_operator.watch.handlers import session_key
from tests.unit.operator.conftest import NAMESPACE, server_name


def forge(world, name, owner, *, state=naming.BOUND, **changes):
    """Create the pod that a tenant would, with a copy of all that the operator's own shows."""
    reference = {"apiVersion": "sandboxsessions.dev/v1alpha1", "controller": True, **owner}
    labels = {naming.MANAGED_BY: naming.MANAGER, naming.STATE: state, naming.TEMPLATE: "default"}
    metadata = {"name": name, "labels": labels, "annotations": {naming.CLAIMED_AT: ""}, "ownerReferences": [reference]}
    for key, value in changes.items():
        metadata[key] = {**metadata[key], **value}
    body = {"metadata": metadata, "spec": {"containers": [{"name": "agent", "image": "evil"}]}}
    world.kube.put(PODS, NAMESPACE, body)
    world.kube.run_pod(NAMESPACE, name, ip="10.6.6.6")


def owner_of(world, kind=SESSIONS, name="one"):
    uid = world.kube.objects[kind.plural, NAMESPACE, name]["metadata"]["uid"]
    return {"kind": kind.kind, "name": name, "uid": uid}


async def test_a_forged_pod_of_a_session_is_not_dialled_but_deleted(world):
    world.add_template()
    world.add_session(suspended=True)
    await world.settle()
    forge(world, "evil", owner_of(world))
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle()
    assert server_name("evil") not in world.agents.views
    assert "evil" not in world.pods()
    assert world.status()["phase"] == "Ready"
    assert world.status()["podUid"] == world.pods()[world.pod()]["metadata"]["uid"]
    assert len(world.agents.requests) == 1


async def test_a_forged_pod_with_the_very_name_is_not_dialled_but_replaced(world):
    await world.start()
    name, signed = world.pod(), world.pods()[world.pod()]["metadata"]["annotations"][naming.ORIGIN]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    asked = len(world.agents.requests)
    forge(world, name, owner_of(world), annotations={naming.ORIGIN: signed})
    uid = world.pods()[name]["metadata"]["uid"]
    world.agents.asked = 0
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.operator.settle()
    assert world.agents.asked == 0
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.pods()[name]["metadata"]["uid"] != uid
    assert len(world.agents.requests) == asked + 1


async def test_a_start_does_not_wait_for_the_end_of_a_pod_that_was_not_signed_before_a_crash(world):
    await world.start()
    name = world.pod()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    forge(world, name, owner_of(world))
    uid = world.pods()[name]["metadata"]["uid"]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    # No kubelet reports that the pod has ended.
    await world.operator.settle()
    assert world.pods()[name]["metadata"]["uid"] != uid
    assert world.status()["conditions"][0]["reason"] != "PodNameTaken"


async def test_a_forged_blank_pod_is_never_claimed_nor_certified(world):
    world.add_template()
    world.add_pool(replicas=1)
    await world.settle()
    (genuine,) = world.blank()
    labels = copy.deepcopy(world.pods()[genuine]["metadata"]["labels"])
    signed = world.pods()[genuine]["metadata"]["annotations"][naming.ORIGIN]
    owner = owner_of(world, POOLS, "pool")
    forge(world, "evil", owner, state=naming.BLANK, labels=labels, annotations={naming.ORIGIN: signed})
    world.add_session()
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.status()["podName"] == genuine
    assert "evil-tls" not in world.secrets()
    assert "evil" not in world.pods()


async def test_a_pod_whose_agent_got_another_image_is_not_trusted_any_more(world):
    await world.start()
    name = world.pod()
    uid = world.pods()[name]["metadata"]["uid"]
    containers = copy.deepcopy(world.pods()[name]["spec"]["containers"])
    containers[0]["image"] = "evil"
    world.agents.asked = 0
    world.kube.change(PODS, NAMESPACE, name, {"spec": {"containers": containers}})
    await world.operator.settle()
    assert world.agents.asked == 0
    await world.settle()
    assert world.pods()[world.pod()]["metadata"]["uid"] != uid
    assert "ForeignPod" in {action[0] for action in [event_of(world)]} or world.status()["phase"] == "Ready"


def event_of(world):
    queue = world.operator.recorder._queue
    reasons = [each["reason"] for each in queue._queue]
    return ("ForeignPod",) if "ForeignPod" in reasons else ("",)


@pytest.mark.parametrize("is_owned", [True, False])
async def test_a_pre_made_access_secret_does_not_give_its_maker_the_session(world, is_owned):
    world.add_template()
    world.add_session(suspended=True)
    await world.settle()
    token = b"A" * 43
    metadata = {"name": "one-access"}
    if is_owned:
        reference = {"apiVersion": "sandboxsessions.dev/v1alpha1", "controller": True, **owner_of(world)}
        metadata["ownerReferences"] = [reference]
        metadata["annotations"] = {naming.ORIGIN: base64.b64encode(b"forged").decode()}
    world.kube.put(SECRETS, NAMESPACE, {"metadata": metadata, "data": {"token": base64.b64encode(token).decode()}})
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle()
    if not is_owned:
        assert world.condition()[1] == "SecretNameTaken"
        assert world.agents.requests == []
        return
    assert world.status()["phase"] == "Ready"
    (request,) = world.agents.requests
    assert request.token_sha256 != hashlib.sha256(token).digest()
    stored = base64.b64decode(world.kube.named(SECRETS)["one-access"]["data"]["token"])
    assert request.token_sha256 == hashlib.sha256(stored).digest()


async def test_a_signature_of_one_sessions_token_is_worthless_for_another(world):
    await world.start()
    secret = world.kube.named(SECRETS)["one-access"]
    world.add_session("two", suspended=True)
    await world.settle()
    reference = {"apiVersion": "sandboxsessions.dev/v1alpha1", "controller": True, **owner_of(world, name="two")}
    metadata = {"name": "two-access", "ownerReferences": [reference]}
    metadata["annotations"] = secret["metadata"]["annotations"]
    world.kube.put(SECRETS, NAMESPACE, {"metadata": metadata, "data": dict(secret["data"])})
    world.kube.change(SESSIONS, NAMESPACE, "two", {"spec": {"suspended": False}})
    await world.settle()
    digests = {request.session_name: request.token_sha256 for request in world.agents.requests}
    assert digests["team/two"] != digests["team/one"]


async def test_the_pod_of_an_earlier_version_is_adopted_once(world):
    await world.start()
    name = world.pod()
    uid = world.pods()[name]["metadata"]["uid"]
    del world.kube.objects[PODS.plural, NAMESPACE, name]["metadata"]["annotations"][naming.ORIGIN]
    del world.session()["status"]["podUid"]
    world.restart()
    await world.operator.list_all()
    for _ in range(2):
        world.operator._enqueue(session_key(NAMESPACE, "one"))
        await world.settle()
    assert world.pods()[name]["metadata"]["uid"] == uid
    assert world.pods()[name]["metadata"]["annotations"][naming.ORIGIN]
    assert world.status()["phase"] == "Ready"
    assert world.status()["podUid"] == uid
    assert len(world.agents.requests) == 1


async def test_a_forged_pod_is_not_adopted_as_one_of_an_earlier_version(world):
    await world.start()
    name = world.pod()
    del world.session()["status"]["podUid"]
    owner = owner_of(world)
    world.kube.objects.pop((PODS.plural, NAMESPACE, name))
    world.clock.advance(seconds=5)
    forge(world, name, owner)
    uid = world.pods()[name]["metadata"]["uid"]
    world.restart()
    world.agents.asked = 0
    await world.operator.list_all()
    await world.operator.settle()
    assert world.agents.asked == 0
    await world.settle()
    assert world.pods()[name]["metadata"]["uid"] != uid


def refuse_signatures(world, errors):
    """Let the API server answer the next patches that sign a pod with these errors."""
    real = world.kube.patch

    async def patch(resource, namespace, name, body, kind="merge", subresource=""):
        is_signature = resource is PODS and kind == "merge" and naming.ORIGIN in str(body)
        if is_signature and errors:
            raise errors.pop(0)
        return await real(resource, namespace, name, body, kind, subresource)

    world.kube.patch = patch


FAILURES = [UnavailableError(500, "InternalError", "no answer"), ForbiddenError(403, "Forbidden", "denied by policy x")]


@pytest.mark.parametrize("failure", FAILURES, ids=["unavailable", "forbidden"])
async def test_a_pod_whose_signature_was_not_taken_is_signed_later_and_kept(world, failure):
    refuse_signatures(world, [failure])
    world.add_template()
    world.add_session()
    with contextlib.suppress(UnavailableError):
        await world.settle()
    name, uid = world.pod(), world.pods()[world.pod()]["metadata"]["uid"]
    world.clock.advance(minutes=1)
    for _ in range(2):
        world.operator._enqueue(session_key(NAMESPACE, "one"))
        await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.pods()[name]["metadata"]["uid"] == uid
    assert event_of(world) == ("",)


async def test_a_signature_that_is_refused_each_time_is_named_and_tried_ever_more_rarely(world):
    refuse_signatures(world, errors := [FAILURES[1]] * 100)
    world.add_template()
    world.add_session()
    await world.settle()
    assert world.condition()[1] == "PodRefused"
    assert world.condition()[2].endswith(f"signature of pod {world.pod()}: denied by policy x")
    before = len(errors)
    for number in range(10):
        world.kube.change(SESSIONS, NAMESPACE, "one", {"metadata": {"annotations": {"poke": str(number)}}})
        await world.settle()
    assert len(errors) >= before - 1
    assert world.agents.requests == []
    assert event_of(world) == ("",)


async def test_such_a_pod_that_was_changed_meanwhile_is_not_signed(world):
    refuse_signatures(world, [FAILURES[0]])
    world.add_template()
    world.add_session()
    with contextlib.suppress(UnavailableError):
        await world.settle()
    name, uid = world.pod(), world.pods()[world.pod()]["metadata"]["uid"]
    containers = copy.deepcopy(world.pods()[name]["spec"]["containers"])
    containers[0]["image"] = "evil"
    world.kube.change(PODS, NAMESPACE, name, {"spec": {"containers": containers}})
    world.agents.asked = 0
    for _ in range(2):
        world.operator._enqueue(session_key(NAMESPACE, "one"))
        await world.operator.settle()
    assert world.agents.asked == 0
    await world.settle()
    assert world.pods()[world.pod()]["metadata"]["uid"] != uid
    assert event_of(world) == ("ForeignPod",)


@pytest.mark.parametrize("failure", FAILURES, ids=["unavailable", "forbidden"])
async def test_a_blank_pod_whose_signature_was_not_taken_is_signed_later_and_kept(world, failure):
    refuse_signatures(world, [failure])
    world.add_template()
    world.add_pool(replicas=1)
    with contextlib.suppress(UnavailableError):
        await world.settle()
    (name,) = world.pods()
    uid = world.pods()[name]["metadata"]["uid"]
    for _ in range(3):
        world.operator._enqueue(("sandboxwarmpools", NAMESPACE, "pool"))
        await world.settle()
    assert {each["metadata"]["uid"] for each in world.pods().values()} == {uid}
    assert world.pool()["status"]["readyReplicas"] == 1


async def test_a_pod_that_was_not_signed_before_a_crash_is_replaced_and_the_event_says_why(world):
    refuse_signatures(world, [FAILURES[0]])
    world.add_template()
    world.add_session()
    with contextlib.suppress(UnavailableError):
        await world.settle()
    uid = world.pods()[world.pod()]["metadata"]["uid"]
    world.restart()
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.pods()[world.pod()]["metadata"]["uid"] != uid
    (message,) = [e["message"] for e in world.operator.recorder._queue._queue if e["reason"] == "ForeignPod"]
    assert "or stopped before it could sign it" in message


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "theirs"}]},
        {"finalizers": ["example.com/theirs"]},
        {"finalizers": ["foregroundDeletion"], "deletionTimestamp": "2026-01-01T00:00:00Z"},
    ],
    ids=["owner", "finalizer", "deletion"],
)
async def test_no_policy_that_a_tenant_made_before_can_vanish_later(world, metadata):
    """A policy with an owner is deleted with it, by the garbage collector, which no admission policy holds back."""
    name = "sandbox-default-none"
    rules = {"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{}]}
    world.kube.put(NETWORK_POLICIES, NAMESPACE, {"metadata": {"name": name, **metadata}, "spec": rules})
    await world.start()
    found = world.kube.named(NETWORK_POLICIES)[name]
    assert not metadata.keys() & found["metadata"].keys()
    assert found["metadata"]["labels"][naming.MANAGED_BY] == naming.MANAGER
    assert found["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert world.status()["phase"] == "Ready"
