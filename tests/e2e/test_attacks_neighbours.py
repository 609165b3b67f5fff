"""Attacks by objects: what a tenant makes must not weaken, starve or outlive what belongs to others. On real pods."""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.support.chart import RELEASE, SYSTEM
from tests.e2e.support.kubectl import Kubectl, Object, RefusedError, poll
from tests.e2e.support.sessions import SESSION, Sessions, build
from tests.e2e.support.tenants import Try, policy

TEMPLATE = "sandboxtemplate"
CROWD = 300
"""Suspended sessions of one workspace. Once, each status of one of them woke all the others."""


@contextlib.contextmanager
def own_template(kubectl: Kubectl) -> Iterator[str]:
    """A template of which no session has started, so that none of its NetworkPolicies exists."""
    name = f"fresh-{secrets.token_hex(3)}"
    spec = {"egress": {"mode": "Public"}}
    body = {"apiVersion": "sandboxsessions.dev/v1alpha1", "kind": "SandboxTemplate", "metadata": {"name": name}}
    kubectl.apply({**body, "spec": spec})
    try:
        yield name
    finally:
        kubectl.delete(TEMPLATE, name)


def owned_by(anchor: Object) -> Object:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": anchor["metadata"]["name"]}
    return {"ownerReferences": [{**reference, "uid": anchor["metadata"]["uid"]}]}


@pytest.mark.parametrize("how", ["owner", "finalizer"])
def test_attack_43_a_policy_that_a_tenant_made_before_does_not_vanish_later(
    tenant: Try, sessions: Sessions, kubectl: Kubectl, how: str
):
    """The garbage collector deletes what has lost its owner, or its last finalizer, and no policy holds it back."""
    with own_template(kubectl) as template:
        name, anchor = f"sandbox-{template}-public", f"anchor-{secrets.token_hex(3)}"
        tenant("create", "configmap", anchor)
        try:
            metadata = owned_by(kubectl.get("configmap", anchor)) if how == "owner" else {}
            metadata = metadata or {"finalizers": ["example.com/later"]}
            tenant("create", "-f", "-", stdin=policy(name, {"matchLabels": {"app": "mine"}}, metadata))
            if how == "finalizer":
                tenant("delete", "networkpolicy", name, "--wait=false")
            before = kubectl.get("networkpolicy", name)["metadata"]
            assert before.get("deletionTimestamp" if how == "finalizer" else "ownerReferences")
            sessions.ready(templateRef={"name": template})
            tenant("delete", "configmap", anchor)
            # The collector takes a second or two. This is when the policy vanished.
            time.sleep(5)
            found = kubectl.get("networkpolicy", name)
            assert found["spec"]["podSelector"]["matchLabels"]["sandboxsessions.dev/template"] == template
            assert not {"ownerReferences", "finalizers", "deletionTimestamp"} & found["metadata"].keys()
        finally:
            kubectl.delete("configmap", anchor)


def test_attack_46_no_session_reads_a_secret_of_another_namespace(tenant: Try):
    """The operator may read it, and asks for it by the name that the session gives."""
    for path in (f"../../{SYSTEM}/secrets/{RELEASE}-ca", f"x/../../../{SYSTEM}/secrets/{RELEASE}-storage", "a?watch=1"):
        body = build("thief", env=[{"name": "A", "secretKeyRef": {"name": path, "key": "tls.key"}}])
        with pytest.raises(RefusedError, match=r"spec.env\[0\].secretKeyRef.name"):
            tenant("create", "-f", "-", stdin=body)


def leads_since(system: Kubectl) -> tuple[str, str]:
    spec = system.get("lease", RELEASE)["spec"]
    return spec["holderIdentity"], spec["acquireTime"]


def start_seconds(sessions: Sessions) -> float:
    began = time.monotonic()
    sessions.ready()
    return time.monotonic() - began


def test_attack_of_starvation_hundreds_of_sessions_of_one_workspace_slow_nobody_down(
    sessions: Sessions, kubectl: Kubectl, system: Kubectl
):
    """The operator keeps its lease, and others' sessions start as before, while they are made, changed and deleted."""
    usual, leader = start_seconds(sessions), leads_since(system)
    names = [f"crowd-{number}" for number in range(CROWD)]
    items = [build(name, suspended=True, workspace={"name": "crowd"}) for name in names]
    changing = threading.Event()

    def change() -> None:
        while not changing.is_set():
            kubectl.patch(SESSION, names[0], {"metadata": {"annotations": {"poke": secrets.token_hex(4)}}})

    poker = threading.Thread(target=change)
    try:
        kubectl.apply(*items)
        poker.start()
        crowded = start_seconds(sessions)
    finally:
        changing.set()
        poker.join()
        kubectl("delete", SESSION, *names, "--ignore-not-found", "--wait=false")
    assert crowded < 3 * usual + 2, f"a start took {crowded:.1f} s beside {CROWD} sessions, and {usual:.1f} s without"
    assert leads_since(system) == leader


def test_attack_44_a_session_that_changes_all_the_time_ends_in_time(sessions: Sessions, kubectl: Kubectl):
    """Each change comes before the operator's suspend. Its wait must not grow with them."""
    name = sessions.ready(lifecycle={"maxLifetime": "20s"})
    changing = threading.Event()

    def change() -> None:
        while not changing.is_set():
            with contextlib.suppress(RefusedError):
                kubectl.patch(SESSION, name, {"metadata": {"annotations": {"poke": secrets.token_hex(4)}}})

    pokers = [threading.Thread(target=change) for _ in range(3)]
    try:
        for poker in pokers:
            poker.start()
        poll("it is suspended", lambda: sessions.read(name)["spec"].get("suspended"), timeout=35)
    finally:
        changing.set()
        for poker in pokers:
            poker.join()
