"""Checks the invariants that must hold after every fault of the operator.

A session has one pod, nothing is orphaned, nothing acknowledged is lost, and nothing runs twice.
"""

import base64
import hashlib

from sandbox_operator.kube.resources import PODS, POOLS, SECRETS, SESSIONS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.settings import Settings


def check_invariants(kube, agents) -> None:
    """Check an in-memory cluster when its operator has nothing left to do.

    Args:
        kube: The FakeKube.
        agents: The RememberingAgents that served it, which record `lost` and `bound_twice`.
    """
    sessions = {raw["metadata"]["uid"]: raw for raw in kube.named(SESSIONS).values()}
    check_one_pod_a_session(kube, sessions)
    check_no_orphan(kube, sessions)
    check_one_token_a_session(kube, sessions, agents)
    assert agents.lost == [], "a pod was deleted while it had acknowledged files that were not pushed"
    assert agents.bound_twice == [], "an agent was bound to a session while it served another"


def check_one_pod_a_session(kube, sessions) -> None:
    """Check that no session has two pods, no suspended session has one, and no workspace has two sessions with pods."""
    owners = [uid for pod in kube.named(PODS).values() if (uid := controller_uid(pod)) in sessions]
    assert len(owners) == len(set(owners)), f"a session with two pods: {owners}"
    with_pod = [sessions[uid] for uid in owners]
    for raw in with_pod:
        assert (raw.get("status") or {}).get("phase") != "Suspended", "the session is Suspended but has a pod"
    workspaces = [(raw["spec"].get("workspace") or {}).get("name") or raw["metadata"]["name"] for raw in with_pod]
    assert len(workspaces) == len(set(workspaces)), f"two sessions write to one workspace: {workspaces}"


def check_no_orphan(kube, sessions) -> None:
    """Check that every pod and Secret belongs to an existing session, pool or pod. The CA has no owner."""
    known = sessions.keys() | {raw["metadata"]["uid"] for kind in (POOLS, PODS) for raw in kube.named(kind).values()}
    for kind in (PODS, SECRETS):
        for name, raw in kube.named(kind).items():
            if (kind, name) == (SECRETS, Settings().ca_secret):
                continue
            owner = controller_uid(raw)
            assert owner in known, f"the owner {owner} of {kind.kind} {name} does not exist"


def check_one_token_a_session(kube, sessions, agents) -> None:
    """Check that a session's agent accepts the token in its access Secret, and that the token never changed."""
    for uid, raw in sessions.items():
        digests = {request.token_sha256 for request in agents.requests if request.session_uid == uid}
        assert len(digests) <= 1, "a session's token changed"
        if (raw.get("status") or {}).get("phase") != "Ready":
            continue
        data = kube.named(SECRETS)[raw["status"]["accessSecretName"]]["data"]
        assert digests == {hashlib.sha256(base64.b64decode(data["token"])).digest()}
        assert base64.b64decode(data["endpoint"]).decode() == raw["status"]["endpoint"]
