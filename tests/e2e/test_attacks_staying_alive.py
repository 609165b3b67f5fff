"""Row 44 on real pods: no session outlives its end, however its owner deletes it or its pod, or breaks its spec."""

import pytest

from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.sessions import SESSION, Sessions

# Code that ignores every signal that it can.
STUBBORN = """
import os, signal
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
"""
ORPHANED = 180
"""Seconds: a minute as an orphan, up to half a minute until the operator looks, and the pod's grace period."""


def start_stubborn(sessions: Sessions, name: str = "", **spec: object) -> tuple[str, str]:
    """Start a session with a process that ignores SIGTERM. Return its name and its pod's."""
    name = sessions.ready(name, **spec)
    with sessions.connect(name) as sandbox:
        sandbox.run(STUBBORN)
    return name, sessions.pod(name)["metadata"]["name"]


def is_gone(kubectl: Kubectl, pod: str) -> bool:
    return not kubectl.get("pod", pod)


def test_attack_44_a_pod_gets_no_days_to_end(sessions: Sessions, kubectl: Kubectl):
    _, pod = start_stubborn(sessions)
    uid = kubectl.get("pod", pod)["metadata"]["uid"]
    kubectl("delete", "pod", pod, "--grace-period=864000", "--wait=false")
    poll("the pod has ended", lambda: kubectl.get("pod", pod).get("metadata", {}).get("uid") != uid, timeout=90)


def test_attack_44_a_pod_that_its_session_leaves_behind_is_deleted(sessions: Sessions, kubectl: Kubectl):
    name, pod = start_stubborn(sessions)
    kubectl.delete(SESSION, name, "--cascade=orphan")
    poll("the pod has ended", lambda: is_gone(kubectl, pod), timeout=ORPHANED)


def test_attack_44_nor_with_both(sessions: Sessions, kubectl: Kubectl):
    name, pod = start_stubborn(sessions)
    kubectl("delete", "pod", pod, "--grace-period=864000", "--wait=false")
    kubectl.delete(SESSION, name, "--cascade=orphan")
    poll("the pod has ended", lambda: is_gone(kubectl, pod), timeout=ORPHANED)


@pytest.mark.parametrize("finalizer", ["example.com/stay"])
def test_attack_44_a_session_that_a_finalizer_keeps_loses_its_pod(sessions: Sessions, kubectl: Kubectl, finalizer: str):
    name, pod = start_stubborn(sessions)
    kubectl.patch(SESSION, name, {"metadata": {"finalizers": [finalizer]}})
    try:
        kubectl.delete(SESSION, name)
        poll("the pod has ended", lambda: is_gone(kubectl, pod), timeout=90)
    finally:
        kubectl.patch(SESSION, name, {"metadata": {"finalizers": None}})
