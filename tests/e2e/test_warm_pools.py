"""Warm pools on a real cluster: claimed, refilled, rolled over; an empty one falls back to a cold start."""

import json
import statistics
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from sandbox_client.cli.main import main
from tests.e2e.support.kubectl import Kubectl, Object, poll
from tests.e2e.support.platform import NODE_IP, SECOND_IP, Platform
from tests.e2e.support.reach import CLIENT_LABEL, plain_pod, reached_from, serving
from tests.e2e.support.sessions import Sessions, build_template

POOL = "sandboxwarmpool"
TEMPLATE = "warm"
BLANK = f"sandboxsessions.dev/pool={TEMPLATE},sandboxsessions.dev/state=blank"
SIZE = 2


def build_pool(replicas: int, template: str = TEMPLATE) -> Object:
    return {
        "apiVersion": "sandboxsessions.dev/v1alpha1",
        "kind": "SandboxWarmPool",
        "metadata": {"name": TEMPLATE},
        "spec": {"templateRef": {"name": template}, "replicas": replicas},
    }


@pytest.fixture
def pool(kubectl: Kubectl, image: str, sessions: Sessions) -> Iterator[Kubectl]:
    """A filled pool of a template of its own."""
    kubectl.apply(build_template(TEMPLATE, image), build_pool(SIZE))
    try:
        wait_ready(kubectl, SIZE)
        yield kubectl
    finally:
        kubectl.delete(POOL, TEMPLATE)
        kubectl.delete("sandboxtemplate", TEMPLATE)
        poll("the pool's blank pods are gone", lambda: not kubectl.list("pods", BLANK), timeout=60)


def test_top_lists_a_session_where_it_runs_and_the_pool_it_came_from(pool: Kubectl, sessions: Sessions):
    name = warm(sessions)
    words = ["top", "--once", "--kubeconfig", pool.kubeconfig, "--namespace", pool.namespace]
    numbers = {"ready": SIZE, "there": SIZE, "wanted": SIZE}
    wanted = {"namespace": pool.namespace, "name": TEMPLATE, "template": TEMPLATE, "reason": "", **numbers}

    def run_top() -> Object:
        shown = CliRunner().invoke(main, [*words, "--output", "json"])
        assert shown.exit_code == 0, shown.stderr
        return json.loads(shown.stdout)

    # Right after a claim, the pool's status may still count the claimed pod.
    poll("the pool is full again", lambda: wanted in run_top()["pools"], timeout=90)
    seen = run_top()
    row = next(row for row in seen["sessions"] if row["name"] == name)
    pod = sessions.pod(name)
    assert (row["phase"], row["template"], row["start"]) == ("Ready", TEMPLATE, "Warm")
    assert (row["pod"], row["node"]) == (pod["metadata"]["name"], pod["spec"]["nodeName"])
    assert row["start_ms"] > 0
    text = CliRunner().invoke(main, words).stdout
    assert name in text
    assert "POOL" in text


def wait_ready(kubectl: Kubectl, replicas: int) -> None:
    def is_ready() -> bool:
        # Right after a claim, the status still counts the claimed pod, and the list does not.
        status = kubectl.get(POOL, TEMPLATE).get("status", {})
        return (
            status.get("readyReplicas")
            == status.get("replicas")
            == replicas
            == sum(map(is_pod_ready, blank(kubectl).values()))
        )

    try:
        poll(f"{replicas} blank pods are ready", is_ready, timeout=90)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{kubectl.get(POOL, TEMPLATE).get('status')}") from None


def blank(kubectl: Kubectl) -> dict[str, Object]:
    """Blank pods that live, by name."""
    pods = kubectl.list("pods", BLANK)
    return {pod["metadata"]["name"]: pod for pod in pods if not pod["metadata"].get("deletionTimestamp")}


def is_pod_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def warm(sessions: Sessions, **spec: object) -> str:
    """The name of a session that is Ready."""
    name = sessions.create(templateRef={"name": TEMPLATE}, **spec)
    sessions.wait_phase(name, "Ready", timeout=60)
    return name


def test_a_session_claims_a_blank_pod_runs_code_in_it_and_the_pool_fills_up_again(pool: Kubectl, sessions: Sessions):
    before = set(blank(pool))
    name = warm(sessions, env=[{"name": "GREETING", "value": "hello"}])
    status = sessions.status(name)
    assert status["startup"]["source"] == "Warm"
    assert status["podName"] in before
    assert sessions.run_soon(name, "import os; print(os.environ['GREETING'])") == "hello\n"
    wait_ready(pool, SIZE)
    assert status["podName"] not in blank(pool)
    sessions.delete(name)


def test_a_blank_pod_is_reached_and_reaches_as_a_session_with_the_narrowest_egress_does(
    own_node: Platform, pool: Kubectl, image: str
):
    """So a claim has nothing to change; what a client reaches takes no call, for there is no token yet."""
    name, pod = next(iter(blank(pool).items()))
    address = pod["status"]["podIP"]
    ports = {"grpc": (address, 8443), "control": (address, 8444), "health": (address, 8081)}
    with plain_pod(pool, "friend", image, CLIENT_LABEL), plain_pod(pool, "stranger", image):
        assert reached_from(pool, "friend", "main", "python3", ports) == {"grpc"}
        assert reached_from(pool, "stranger", "main", "python3", ports) == set()
    with serving(SECOND_IP, 8000):
        places = {"storage": (NODE_IP, own_node.storage.port), "elsewhere": (SECOND_IP, 8000)}
        assert reached_from(pool, name, "sandbox", "python3", places) == {"storage"}


def test_warm_sessions_share_neither_variables_nor_files(pool: Kubectl, sessions: Sessions):
    first, second = warm(sessions), warm(sessions)
    assert sessions.status(first)["podName"] != sessions.status(second)["podName"]
    with sessions.connect(first) as sandbox:
        assert sandbox.run_code("secret = 'of the first'; open('first.txt', 'w').write(secret)").ok
    with sessions.connect(second) as sandbox:
        gone = sandbox.run_code("secret").error
        assert gone
        assert gone.name == "NameError"
        assert sandbox.run_code("import os; print(os.listdir('.'))").stdout == "[]\n"


def test_warm_starts_take_milliseconds(pool: Kubectl, sessions: Sessions, record_property):
    told = []
    for _ in range(6):
        wait_ready(pool, SIZE)
        name = warm(sessions)
        startup = sessions.status(name)["startup"]
        assert startup["source"] == "Warm"
        told.append(startup["milliseconds"])
        sessions.delete(name)
    print(f"\nwarm starts, status.startup.milliseconds: {told}, median {statistics.median(told)}")  # noqa: T201 - a measurement, for people
    record_property("warm_milliseconds", told)
    assert statistics.median(told) < 1000


def test_an_empty_pool_falls_back_to_a_cold_start_and_says_so(pool: Kubectl, sessions: Sessions):
    pool("scale", POOL, TEMPLATE, "--replicas=0")
    poll("the pool is empty", lambda: not blank(pool), timeout=60)
    name = warm(sessions)
    assert sessions.status(name)["startup"]["source"] == "Cold"
    assert sessions.run_soon(name, "print(6 * 7)") == "42\n"


def test_a_killed_blank_pod_is_replaced(pool: Kubectl, sessions: Sessions):
    victim = min(blank(pool))
    pool.delete("pod", victim, "--grace-period=1")
    poll("another pod is there", lambda: victim not in blank(pool) and len(blank(pool)) == SIZE, timeout=60)
    wait_ready(pool, SIZE)
    poll("its Secret is gone", lambda: not pool.get("secret", f"{victim}-tls"), timeout=60)


def test_a_changed_template_rolls_blank_pods_over_and_leaves_a_running_session_alone(pool: Kubectl, sessions: Sessions):
    name = warm(sessions)
    assert sessions.run_soon(name, "kept = 1; print(kept)") == "1\n"
    uid = sessions.pod(name)["metadata"]["uid"]
    wait_ready(pool, SIZE)
    old = set(blank(pool))
    pool.patch("sandboxtemplate", TEMPLATE, {"spec": {"volumes": {"tmp": "256Mi"}}})
    poll("the old pods are gone", lambda: not old & set(blank(pool)), timeout=60)
    wait_ready(pool, SIZE)
    for pod in blank(pool).values():
        volume = next(each for each in pod["spec"]["volumes"] if each["name"] == "sandbox-tmp")
        assert volume["emptyDir"]["sizeLimit"] == "256Mi"
    assert sessions.pod(name)["metadata"]["uid"] == uid
    assert sessions.run_soon(name, "print(kept)") == "1\n"


def test_a_suspended_session_comes_back_in_another_warm_pod_with_its_files(pool: Kubectl, sessions: Sessions):
    name = warm(sessions)
    first = sessions.status(name)["podName"]
    with sessions.connect(name) as sandbox:
        sandbox.files.write("kept.txt", "kept")
    sessions.suspend(name)
    sessions.wait_phase(name, "Suspended", timeout=60)
    wait_ready(pool, SIZE)
    began = time.monotonic()
    sessions.suspend(name, suspended=False)
    sessions.wait_phase(name, "Ready", timeout=60)
    print(f"\nwarm resume: {time.monotonic() - began:.2f} s, kubectl included")  # noqa: T201 - a measurement, for people
    status = sessions.status(name)
    assert status["startup"]["source"] == "Warm"
    assert status["podName"] != first
    with sessions.connect(name) as sandbox:
        assert sandbox.files.read("kept.txt") == b"kept"


def test_deleting_the_pool_deletes_its_blank_pods_and_no_session(pool: Kubectl, sessions: Sessions):
    name = warm(sessions)
    pool.delete(POOL, TEMPLATE)
    poll("no blank pod is left", lambda: not pool.list("pods", BLANK), timeout=60)
    assert sessions.run_soon(name, "print('still here')") == "still here\n"


def test_a_pool_of_a_missing_template_says_so_and_absurd_sizes_are_refused(kubectl: Kubectl):
    kubectl.apply(build_pool(1, "no-such-template"))
    try:

        def reason() -> str:
            conditions = kubectl.get(POOL, TEMPLATE).get("status", {}).get("conditions", [])
            return next((each["reason"] for each in conditions if each["type"] == "Ready"), "")

        poll("the condition names it", lambda: reason() == "TemplateNotFound", timeout=30)
        for replicas in (-1, 5001):
            with pytest.raises(AssertionError, match=r"spec\.replicas"):
                kubectl.apply(build_pool(replicas))
    finally:
        kubectl.delete(POOL, TEMPLATE)
