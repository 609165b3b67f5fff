"""Deadlines that move while a session runs, also without an operator, and the deletion of suspended sessions."""

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sandbox_client import SandboxError
from tests.e2e.support.chart import RELEASE
from tests.e2e.support.kubectl import Kubectl, RefusedError, poll
from tests.e2e.support.sessions import SESSION, Sessions, build, build_template


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def move(sessions: Sessions, name: str, expires_at: str | None, **spec) -> None:
    sessions.kubectl.patch(SESSION, name, {"spec": {"lifecycle": {"expiresAt": expires_at}, **spec}})


def test_a_deadline_moves_both_ways_while_the_session_runs_and_a_resume_keeps_it(sessions: Sessions):
    began = time.monotonic()
    name = sessions.ready(lifecycle={"expiresAt": later(25)})
    move(sessions, name, later(3600))
    poll("the status has the later time", lambda: sessions.status(name).get("expiresAt", "") > later(3000), timeout=10)
    time.sleep(max(0.0, began + 28 - time.monotonic()))
    assert sessions.run_soon(name, "print('alive')") == "alive\n"

    end = later(3)
    move(sessions, name, end)
    sessions.wait_phase(name, "Suspended", timeout=60)
    condition = sessions.condition(name, "Ready")
    assert condition["reason"] == "Expired"
    assert f"reached spec.lifecycle.expiresAt, {end}" in condition["message"]

    sessions.suspend(name, suspended=False)
    poll("it is suspended again", lambda: sessions.read(name)["spec"]["suspended"], timeout=30)
    assert not sessions.pod(name)
    move(sessions, name, later(600), suspended=False)
    sessions.wait_phase(name, "Ready")
    assert sessions.run_soon(name, "print('alive')") == "alive\n"


@contextlib.contextmanager
def no_operator(system: Kubectl) -> Iterator[None]:
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    selector = f"app.kubernetes.io/name={RELEASE}"
    poll("the operator is gone", lambda: not system.list("pods", selector), timeout=60)
    try:
        yield
    finally:
        system("scale", f"deployment/{RELEASE}", "--replicas=2")


def test_without_an_operator_the_agent_keeps_the_deadline_that_was_moved(system: Kubectl, sessions: Sessions):
    name = sessions.ready(lifecycle={"expiresAt": later(600)})
    with sessions.connect(name) as sandbox:
        end = time.monotonic() + 15
        move(sessions, name, later(15))
        poll("the status has it", lambda: sessions.status(name).get("expiresAt", "") < later(60), timeout=10)
        with no_operator(system):
            assert time.monotonic() < end, "the operator took too long to stop for this test"
            assert sandbox.run_code("print('alive')").stdout == "alive\n"
            time.sleep(max(0.0, end + 3 - time.monotonic()))
            assert sessions.status(name)["phase"] == "Ready", "nobody has ended it"
            with pytest.raises(SandboxError) as refusal:
                sandbox.files.list()
            assert refusal.value.reason in {"LIFETIME_EXPIRED", "SESSION_OVER"}
            move(sessions, name, later(600))
    poll("the operator is back", lambda: system.get("deployment", RELEASE)["status"].get("readyReplicas"), timeout=90)
    assert sessions.run_soon(name, "print('alive again')") == "alive again\n"


def test_a_template_caps_the_lifetime_of_its_sessions(kubectl: Kubectl, image: str, sessions: Sessions):
    kubectl.apply(build_template("brief", image, lifecycle={"maxLifetime": "20s"}))
    try:
        name = sessions.ready(templateRef={"name": "brief"}, lifecycle={"maxLifetime": "2h"})
        condition = sessions.condition(name, "LifecycleEffective")
        assert condition["reason"] == "LifetimeCapped"
        sessions.wait_phase(name, "Suspended", timeout=60)
        assert sessions.condition(name, "Ready")["reason"] == "Expired"
    finally:
        kubectl.delete("sbtpl", "brief")


def test_a_suspended_session_is_deleted_after_its_time_to_live(sessions: Sessions):
    name = sessions.create(suspended=True, lifecycle={"ttlAfterSuspended": "4s"})
    sessions.wait_phase(name, "Suspended", timeout=30)
    poll("it is gone", lambda: not sessions.read(name), timeout=30)
    events = sessions.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}", "-o", "json")
    poll("an Event says why", lambda: "ttlAfterSuspended" in events, timeout=10)


def test_the_api_server_keeps_that_a_name_was_generated(kubectl: Kubectl, sessions: Sessions):
    body = build("made-by-client")
    body["metadata"]["generateName"] = "made-"
    body["spec"]["suspended"] = True
    sessions.names.append("made-by-client")
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    assert sessions.read("made-by-client")["metadata"]["generateName"] == "made-"


@pytest.mark.parametrize("text", ["tomorrow", "2030-01-31", "2030-01-31T18:00:00"])
def test_the_api_server_refuses_an_expiry_time_that_is_none(kubectl: Kubectl, text: str):
    with pytest.raises(RefusedError, match=r"spec\.lifecycle\.expiresAt"):
        kubectl.apply(build("bad-time", lifecycle={"expiresAt": text}))
