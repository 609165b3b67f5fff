"""Files and variables across suspend, resume, killed containers, a deleted pod, deadlines, and storage that is down."""

import asyncio
import contextlib
import hashlib
import os
import unicodedata

import pytest

from sandbox_client import AsyncSandbox, SandboxError, SandboxUnavailable, Status
from tests.e2e.support.kubectl import Kubectl, Object, poll
from tests.e2e.support.platform import REPOSITORY, Platform
from tests.e2e.support.sessions import SESSION, Sessions
from tests.e2e.test_install import assert_languages_keep_variables

LARGE = os.urandom(50 << 20)
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Käsebrötchen.txt") for form in ("NFC", "NFD"))
FILES = {
    "empty": (b"", 0o644),
    "binary.bin": (bytes(range(256)) * 100, 0o600),
    "large.bin": (LARGE, 0o644),
    "nested/deep/er/file.txt": (b"nested\n", 0o640),
    "run me.sh": (b"#!/bin/sh\necho ran\n", 0o755),
    "grüße 你好.txt": (b"non-ASCII\n", 0o644),
    "Bücher/😀.csv": (b"a,b\n1,2\n", 0o444),
    COMPOSED: (b"composed\n", 0o644),
    DECOMPOSED: (b"decomposed\n", 0o644),
}


def test_every_kind_of_file_survives_suspend_and_resume(platform: Platform, kubectl: Kubectl, sessions: Sessions):
    name = sessions.ready()
    expected = {path: digest(content) for path, (content, _) in FILES.items()}
    with sessions.connect(name) as sandbox:
        for path, (content, mode) in FILES.items():
            sandbox.files.write(path, content, mode=mode)
        assert sandbox.run("mkdir hollow && ln -s nested/deep/er/file.txt link").exit_code == 0
        assert sandbox.run_code("variable = 1").ok
    first = sessions.pod(name)["metadata"]["uid"]

    sessions.suspend(name)
    status = sessions.wait_phase(name, "Suspended", timeout=120)
    assert status["workspace"]["dirty"] is False
    assert not sessions.pod(name)
    assert platform.storage.digests(kubectl.namespace, name) == expected

    sessions.suspend(name, suspended=False)
    sessions.wait_phase(name, "Ready", timeout=120)
    assert sessions.pod(name)["metadata"]["uid"] != first
    with sessions.connect(name) as sandbox:
        assert {path: digest(sandbox.files.read(path)) for path in FILES} == expected
        assert {path: sandbox.files.stat(path).mode for path in FILES} == {
            path: mode for path, (_, mode) in FILES.items()
        }
        assert sandbox.run("./'run me.sh' && cat link && ls -A hollow").stdout == "ran\nnested\n"
        gone = sandbox.run_code("variable").error
        assert gone
        assert gone.name == "NameError"


def test_fault_20_a_killed_agent_comes_back_and_variables_are_still_there(own_node: Platform, sessions: Sessions):
    """In a cluster, a killed agent comes back and the variables are still there."""
    name = sessions.ready()
    assert sessions.run_soon(name, "kept = 'still here'; print('set')") == "set\n"
    before = sessions.pod(name)
    own_node.kill(before, "agent")
    poll("the agent was restarted", lambda: restarts(sessions.pod(name), "agent") == 1, timeout=60)
    assert sessions.run_soon(name, "print(kept)") == "still here\n"
    sessions.wait_phase(name, "Ready", timeout=60)
    with sessions.connect(name) as sandbox:
        assert sandbox.run_code("print(kept * 2)").stdout == "still herestill here\n"
    after = sessions.pod(name)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert restarts(after, "sandbox") == 0


def test_killed_containers_come_back_with_files_that_were_never_saved(own_node: Platform, sessions: Sessions):
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("kept.txt", "saved")
        assert sandbox.workspace.push().failed == ()
        sandbox.files.write("kept.txt", "newer than what is saved")
    own_node.kill(sessions.pod(name), "sandbox")
    poll("the sandbox was restarted", lambda: restarts(sessions.pod(name), "sandbox") == 1, timeout=60)
    assert sessions.run_soon(name, "print(open('kept.txt').read())") == "newer than what is saved\n"
    sessions.wait_phase(name, "Ready", timeout=60)

    pod = sessions.pod(name)
    own_node.kill(pod, "agent")
    own_node.kill(pod, "sandbox")
    poll("the agent was restarted", lambda: restarts(sessions.pod(name), "agent") == 1, timeout=60)
    poll("the sandbox was restarted", lambda: restarts(sessions.pod(name), "sandbox") == 2, timeout=60)
    assert sessions.run_soon(name, "print(open('kept.txt').read())", timeout=90) == "newer than what is saved\n"
    sessions.wait_phase(name, "Ready", timeout=60)
    assert sessions.pod(name)["metadata"]["uid"] == pod["metadata"]["uid"]


def test_fault_27_a_pod_deleted_by_hand_is_made_anew_with_the_last_push(kubectl: Kubectl, sessions: Sessions):
    """In a cluster, the new pod has the files of the last push."""
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("pushed.txt", "pushed")
        assert sandbox.workspace.push().failed == ()
    before = sessions.pod(name)["metadata"]
    kubectl.delete("pod", before["name"], "--grace-period=1")
    poll(
        "another pod is there",
        lambda: sessions.pod(name).get("metadata", {}).get("uid") not in {None, before["uid"]},
        timeout=60,
    )
    assert sessions.run_soon(name, "print(open('pushed.txt').read())") == "pushed\n"
    sessions.wait_phase(name, "Ready", timeout=60)
    assert len(sessions.owned("pods", name)) == 1


def test_an_idle_session_is_saved_and_suspended_by_itself(platform: Platform, kubectl: Kubectl, sessions: Sessions):
    name = sessions.ready(lifecycle={"idleTimeout": "10s"})
    with sessions.connect(name) as sandbox:
        sandbox.files.write("idle.txt", "written before it went to sleep")
    sessions.wait_phase(name, "Suspended", timeout=60)
    assert kubectl.get(SESSION, name)["spec"]["suspended"] is True
    assert sessions.condition(name, "Ready")["reason"] == "Idle"
    assert not sessions.pod(name)
    stored = platform.storage.digests(kubectl.namespace, name)
    assert stored == {"idle.txt": digest(b"written before it went to sleep")}


def test_a_session_that_sleeps_is_woken_by_whoever_connects_and_says_what_that_cost(sessions: Sessions):
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        assert sandbox.notice == ""
        sandbox.run_code("kept = 1")
        sandbox.files.write("kept.txt", "kept")
    sessions.suspend(name)
    sessions.wait_phase(name, "Suspended", timeout=60)
    with sessions.connect(name) as sandbox:
        assert "was suspended and has been resumed" in sandbox.notice
        assert sandbox.files.read("kept.txt") == b"kept"
        lost = sandbox.run_code("kept").error
        assert lost is not None
        assert lost.name == "NameError"


KEPT = """
import threading
import pandas as pd
factor = 2
def scale(value): return value * factor
frame = pd.DataFrame({"x": [1, 2]})
lock = threading.Lock()
"""


def test_variables_are_kept_over_a_suspend_where_that_was_asked_for(
    platform: Platform, kubectl: Kubectl, sessions: Sessions
):
    name = sessions.ready(lifecycle={"keepVariables": True})
    with sessions.connect(name) as sandbox:
        assert sandbox.run_code(KEPT).ok
        context = sandbox.contexts.create(env={"ADDED": "1"}).id
        assert sandbox.run_code("import os; where = os.getcwd()", context=context).ok
        sandbox.files.write("kept.txt", "kept")
    sessions.suspend(name)
    status = sessions.wait_phase(name, "Suspended", timeout=60)
    assert status["workspace"]["dirty"] is False
    with sessions.connect(name) as sandbox:
        assert "installed packages and processes were lost; 7 variables were kept (" in sandbox.notice
        assert "; lost: lock (TypeError: cannot pickle '_thread.lock' object)" in sandbox.notice
        assert sandbox.run_code("factor = 10; print(scale(int(frame.x.sum())))").stdout == "30\n"
        assert sandbox.run_code("print(where, os.environ['ADDED'])", context=context).stdout == "/workspace 1\n"
        assert sandbox.files.read("kept.txt") == b"kept"
    # Handed back once: what a second sleep saves is what was there then.
    with sessions.connect(name) as sandbox:
        assert sandbox.notice == ""
        assert sandbox.run_code("del frame; factor = 11").ok
    sessions.suspend(name)
    sessions.wait_phase(name, "Suspended", timeout=60)
    assert platform.storage.digests(kubectl.namespace, name) == {"kept.txt": digest(b"kept")}
    with sessions.connect(name) as sandbox:
        assert "; lost:" not in sandbox.notice
        assert sandbox.run_code("print(scale(1))").stdout == "11\n"


@pytest.mark.parametrize("is_direct", [None, True], ids=["port-forward", "direct"])
def test_a_call_on_a_held_connection_wakes_the_session_and_says_what_that_cost(
    own_node: Platform, sessions: Sessions, *, is_direct: bool | None
):
    name = sessions.ready(lifecycle={"idleTimeout": "10s"})
    with sessions.connect(name, is_direct=is_direct) as sandbox:
        sandbox.run_code("kept = 1")
        sandbox.files.write("kept.txt", "kept")
        before = sessions.pod(name)["metadata"]["uid"]
        sessions.wait_phase(name, "Suspended", timeout=60)
        assert not sessions.pod(name)
        assert sandbox.notice == ""
        assert sandbox.run("cat kept.txt").stdout == "kept"
        assert "was suspended and has been resumed" in sandbox.notice
        assert sandbox.files.read("kept.txt") == b"kept"
        lost = sandbox.run_code("kept").error
        assert lost is not None
        assert lost.name == "NameError"
        assert sessions.pod(name)["metadata"]["uid"] != before


async def test_a_call_on_a_held_connection_wakes_the_session_for_async_calls_at_the_same_time(
    own_node: Platform, sessions: Sessions, kubectl: Kubectl
):
    name = sessions.ready(lifecycle={"idleTimeout": "10s"})
    sandbox = await AsyncSandbox.connect(name, namespace=kubectl.namespace, kubeconfig=kubectl.kubeconfig)
    async with sandbox:
        await sandbox.files.write("kept.txt", "kept")
        await asyncio.to_thread(sessions.wait_phase, name, "Suspended", timeout=60)
        count = "echo ran >> ran.txt; cat kept.txt"
        results = await asyncio.gather(*(sandbox.run(count) for _ in range(4)))
        assert [result.stdout for result in results] == ["kept"] * 4
        assert await sandbox.files.read("ran.txt") == b"ran\n" * 4
        assert "was suspended and has been resumed" in sandbox.notice


def test_a_call_on_a_held_connection_wakes_the_session_while_it_is_still_being_suspended(sessions: Sessions):
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("kept.txt", "kept")
        sessions.suspend(name)
        poll("the session takes no work any more", lambda: sessions.status(name).get("phase") != "Ready", timeout=60)
        assert sandbox.run("cat kept.txt").stdout == "kept"
        assert "was suspended and has been resumed" in sandbox.notice


def test_the_maximum_lifetime_ends_a_session_that_is_used_after_saving_it(
    platform: Platform, kubectl: Kubectl, sessions: Sessions
):
    name = sessions.ready(lifecycle={"maxLifetime": "15s", "onExpiry": "Delete"})
    with sessions.connect(name) as sandbox:
        sandbox.files.write("last.txt", "last words")
        # What its end looks like from here depends on who is gone first, interpreter or agent.
        with contextlib.suppress(SandboxError):
            assert sandbox.run_code("import time\nfor _ in range(600): time.sleep(0.1)").status is not Status.OK
    poll("session, pod and Secrets are gone", lambda: not sessions.leftovers(name), timeout=60)
    assert platform.storage.digests(kubectl.namespace, name) == {"last.txt": digest(b"last words")}


def test_fault_28_while_storage_is_down_nothing_is_lost_and_a_suspend_waits_for_it(
    own_node: Platform, kubectl: Kubectl, sessions: Sessions
):
    """In a cluster, nothing is lost, and a suspend waits for storage."""
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("before.txt", "saved before")
        assert sandbox.workspace.push().failed == ()
        pod = sessions.pod(name)["metadata"]["uid"]
        sandbox.files.write("during.txt", "written while storage is down")
        with own_node.storage_outage():
            with pytest.raises(SandboxUnavailable) as refusal:
                sandbox.workspace.push()
            assert refusal.value.reason == "STORAGE_UNAVAILABLE"
            status = sandbox.workspace.status()
            assert status.dirty
            assert "STORAGE_UNAVAILABLE" in status.last_error
            assert sandbox.run_code("print(open('during.txt').read())").stdout == "written while storage is down\n"

            sessions.suspend(name)
            poll(
                "the conditions say why it is not suspended",
                lambda: (
                    {sessions.condition(name, type_).get("reason") for type_ in ("Ready", "WorkspaceSynced")}
                    == {"PushFailed"}
                ),
                timeout=120,
            )
            assert "STORAGE_UNAVAILABLE" in sessions.condition(name, "WorkspaceSynced")["message"]
            assert sessions.status(name)["phase"] == "Suspending"
            assert [each["metadata"]["uid"] for each in sessions.owned("pods", name)] == [pod]
    sessions.wait_phase(name, "Suspended", timeout=120)
    assert own_node.storage.digests(kubectl.namespace, name) == {
        "before.txt": digest(b"saved before"),
        "during.txt": digest(b"written while storage is down"),
    }


def test_a_gvisor_session_runs_three_languages_and_pushes(own_node: Platform, kubectl: Kubectl, sessions: Sessions):
    sessions.names.append("hello-gvisor")
    kubectl("apply", "-f", str(REPOSITORY / "examples/session-gvisor.yaml"))
    sessions.wait_phase("hello-gvisor", "Ready", timeout=120)
    with (
        pytest.raises(SandboxUnavailable, match="under gVisor does not support port-forward"),
        sessions.connect("hello-gvisor") as forwarded,
    ):
        forwarded.run("true")
    with sessions.connect("hello-gvisor", is_direct=True) as sandbox:
        assert "gVisor" in sandbox.run("dmesg").stdout
        assert_languages_keep_variables(sandbox)
        sandbox.files.write("saved.txt", "saved under gVisor")
        assert sandbox.workspace.push().failed == ()
    stored = own_node.storage.digests(kubectl.namespace, "hello-gvisor")
    assert stored["saved.txt"] == digest(b"saved under gVisor")


def test_deleting_a_session_leaves_no_pod_and_no_secret_behind(kubectl: Kubectl, sessions: Sessions):
    name = sessions.ready()
    assert [len(sessions.owned(kind, name)) for kind in ("pods", "secrets")] == [1, 2]
    kubectl.delete(SESSION, name)
    poll("session, pod and Secrets are gone", lambda: not sessions.leftovers(name), timeout=60)


def restarts(pod: Object, container: str) -> int:
    """How often the kubelet restarted a container, counting only those that run again."""
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return sum(
        status["restartCount"] for status in statuses if status["name"] == container and "running" in status["state"]
    )


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()
