"""What must hold after every fault, whatever it was: checked in one place, for every test of a fault of the operator.

One pod a session, no orphan, nothing acknowledged lost, nothing run twice.
"""

import base64
import hashlib

from sandbox_operator.kube.resources import PODS, POOLS, SECRETS, SESSIONS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.settings import Settings


def check_invariants(kube, agents) -> None:
    """Check the cluster in memory once the operator has come to rest.

    Args:
        kube: The FakeKube.
        agents: The RememberingAgents that served it, whose `lost` and `bound_twice` are written as it happens.
    """
    sessions = {raw["metadata"]["uid"]: raw for raw in kube.named(SESSIONS).values()}
    check_one_pod_a_session(kube, sessions)
    check_no_orphan(kube, sessions)
    check_one_token_a_session(kube, sessions, agents)
    assert agents.lost == [], "a pod went with files that were acknowledged and not pushed"
    assert agents.bound_twice == [], "an agent was given a session while it served another"


def check_one_pod_a_session(kube, sessions) -> None:
    """No session has two pods, no suspended one has any, no two sessions of one workspace have one each."""
    owners = [uid for pod in kube.named(PODS).values() if (uid := controller_uid(pod)) in sessions]
    assert len(owners) == len(set(owners)), f"a session with two pods: {owners}"
    with_pod = [sessions[uid] for uid in owners]
    for raw in with_pod:
        assert (raw.get("status") or {}).get("phase") != "Suspended", "it says Suspended and has a pod"
    workspaces = [(raw["spec"].get("workspace") or {}).get("name") or raw["metadata"]["name"] for raw in with_pod]
    assert len(workspaces) == len(set(workspaces)), f"two sessions write one workspace: {workspaces}"


def check_no_orphan(kube, sessions) -> None:
    """Every pod and Secret of ours belongs to a session or a pool that is there, or to its pod; the CA is nobody's."""
    known = sessions.keys() | {raw["metadata"]["uid"] for kind in (POOLS, PODS) for raw in kube.named(kind).values()}
    for kind in (PODS, SECRETS):
        for name, raw in kube.named(kind).items():
            if (kind, name) == (SECRETS, Settings().ca_secret):
                continue
            owner = controller_uid(raw)
            assert owner in known, f"{kind.kind} {name} is an orphan of {owner}"


def check_one_token_a_session(kube, sessions, agents) -> None:
    """The token that a client reads in the Secret is the one the session's agent takes, and it never changed."""
    for uid, raw in sessions.items():
        digests = {request.token_sha256 for request in agents.requests if request.session_uid == uid}
        assert len(digests) <= 1, "a session's token changed"
        if (raw.get("status") or {}).get("phase") != "Ready":
            continue
        data = kube.named(SECRETS)[raw["status"]["accessSecretName"]]["data"]
        assert digests == {hashlib.sha256(base64.b64decode(data["token"])).digest()}
        assert base64.b64decode(data["endpoint"]).decode() == raw["status"]["endpoint"]
