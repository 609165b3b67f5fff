"""Upgrades of operator, chart and CRDs under sessions that run, and a cluster that lost all but the object storage."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import pytest
import yaml

from sandbox_client import Sandbox, SandboxError
from tests.e2e.conftest import replicas_ready
from tests.e2e.support.chart import RELEASE, SYSTEM, install
from tests.e2e.support.kubectl import Kubectl, Object, RefusedError, poll, run
from tests.e2e.support.platform import CHART, Platform
from tests.e2e.support.sessions import SESSION, Sessions

CRD = "sandboxsessions.sandboxsessions.dev"
NEXT = "e2e-next"
SERVED_WITHIN = 30


@dataclass
class Caller:
    """Counts in a session's variable, one call after the other, in a thread of its own."""

    sandbox: Sandbox
    counts: list[str] = field(default_factory=list)
    failures: list[SandboxError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Self:
        self.sandbox.run_code("n = 0")
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _call(self) -> None:
        while not self._over.wait(0.05):
            try:
                self.counts.append(self.sandbox.run_code("n += 1; print(n)").stdout)
            except SandboxError as error:
                self.failures.append(error)


@pytest.fixture
def upgraded(own_node: Platform, system: Kubectl) -> Iterator[Platform]:
    """A platform on which a newer agent image can be installed; the tests' own version comes back afterwards."""
    own_node.tag_image("sandbox-agent", NEXT)
    yield own_node
    install(own_node)
    poll("both replicas are ready", lambda: replicas_ready(system) >= 2, timeout=90)


def operators(system: Kubectl) -> set[str]:
    return {pod["metadata"]["name"] for pod in system.list("pods", f"app.kubernetes.io/name={RELEASE}")}


def replaced(system: Kubectl, before: set[str]) -> set[str]:
    """The operator's pods, once none of those before is left."""
    poll("the old replicas are gone", lambda: not before & operators(system), timeout=60)
    return operators(system)


def test_fault_6_upgrade_and_rollback_of_the_chart_leave_running_sessions_alone_and_serve_new_ones(
    upgraded: Platform, system: Kubectl, kubectl: Kubectl, sessions: Sessions, record_property
):
    """In a cluster, upgrade and rollback of the chart leave running sessions alone and serve new ones."""
    name, sleeping = sessions.ready(), sessions.ready()
    with sessions.connect(sleeping) as sandbox:
        sandbox.files.write("kept.txt", "kept")
    sessions.suspend(sleeping)
    sessions.wait_phase(sleeping, "Suspended", timeout=60)
    pod, before = sessions.pod(name), operators(system)
    served: list[float] = []

    def start_one_amid() -> None:
        began = time.monotonic()
        sessions.ready(timeout=SERVED_WITHIN)
        served.append(time.monotonic() - began)

    # Straight to the pod: a port-forward is the API server's, and is not what an upgrade may break.
    with sessions.connect(name, is_direct=True) as sandbox, Caller(sandbox) as caller:
        for change in (
            lambda: install(upgraded, images__agent__tag=NEXT, settings__WORKERS="32"),
            lambda: run(
                "helm", "rollback", RELEASE, "--namespace", SYSTEM, "--kubeconfig", upgraded.kubeconfig, "--wait"
            ),
        ):
            amid = threading.Thread(target=start_one_amid)
            amid.start()
            change()
            amid.join()
            before = replaced(system, before)
    print(f"\nupgrade: {len(caller.counts)} calls meanwhile; new sessions Ready after {served}")  # noqa: T201 - a measurement, for people
    record_property("served_seconds", served)
    assert not caller.failures
    assert [int(count) for count in caller.counts] == list(range(1, len(caller.counts) + 1))
    assert len(caller.counts) > 10
    assert len(served) == 2
    after = sessions.pod(name)
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert [status["restartCount"] for status in after["status"]["containerStatuses"]] == [0, 0]
    assert after["spec"]["containers"] == pod["spec"]["containers"]
    sessions.suspend(sleeping, suspended=False)
    sessions.wait_phase(sleeping, "Ready", timeout=60)
    assert sessions.run_soon(sleeping, "print(open('kept.txt').read())") == "kept\n"


def older_crd() -> Object:
    """The definition of sessions as it was before `workspace.sync` came, as helm would have installed it."""
    crd: Object = yaml.safe_load((CHART / "crds/sandboxsessions.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert spec["workspace"]["properties"].pop("sync")
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][:1]
    return crd


@pytest.fixture
def old_definition(platform: Platform, kubectl: Kubectl) -> Iterator[None]:
    """The cluster has an older CRD, whose fields are helm's; ours comes back afterwards."""
    helm = ("apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-")
    kubectl(*helm, stdin=json.dumps(older_crd()))
    yield
    install(platform)


def test_an_upgrade_of_the_chart_upgrades_the_crds_of_an_older_one_and_leaves_sessions_alone(
    old_definition: None, platform: Platform, kubectl: Kubectl, sessions: Sessions
):
    # The operator is newer than the CRD: that must work, too, since rollbacks leave CRDs alone.
    name = sessions.ready()
    sessions.kubectl(
        "create", "--validate=ignore", "-f", "-",
        stdin=json.dumps({
            "apiVersion": "sandboxsessions.dev/v1alpha1", "kind": "SandboxSession",
            "metadata": {"name": f"{name}-old"}, "spec": {"workspace": {"sync": "OnChange"}},
        }),
    )  # fmt: skip
    sessions.names.append(f"{name}-old")
    assert "sync" not in kubectl.get(SESSION, f"{name}-old")["spec"].get("workspace", {})
    sessions.wait_phase(f"{name}-old", "Ready")
    pod, uid = sessions.pod(name), kubectl.get("crd", CRD)["metadata"]["uid"]

    install(platform)

    crd = kubectl.get("crd", CRD)
    assert crd["metadata"]["uid"] == uid
    assert crd["metadata"]["annotations"]["sandboxsessions.dev/version"]
    assert len(crd["spec"]["versions"][0]["additionalPrinterColumns"]) > 1
    newer = sessions.ready(workspace={"sync": "OnChange"})
    assert kubectl.get(SESSION, newer)["spec"]["workspace"]["sync"] == "OnChange"
    assert sessions.pod(name)["metadata"]["uid"] == pod["metadata"]["uid"]
    assert sessions.run_soon(name, "print(6 * 7)") == "42\n"


def test_a_failed_upgrade_of_the_crds_stops_the_upgrade_before_anything_changed(
    upgraded: Platform, system: Kubectl, sessions: Sessions
):
    name, before = sessions.ready(), system.get("deployment", RELEASE)
    with pytest.raises(RefusedError) as refusal:
        install(upgraded, images__operator__tag="no-such-version", settings__WORKERS="31")
    assert "pre-upgrade hooks failed" in str(refusal.value)
    assert system.get("deployment", RELEASE)["spec"] == before["spec"]
    assert sessions.run_soon(name, "print(6 * 7)") == "42\n"


def test_a_cluster_that_lost_everything_has_its_files_again_once_chart_and_sessions_are_applied(
    own_node: Platform, system: Kubectl, kubectl: Kubectl, sessions: Sessions
):
    name = sessions.ready(workspace={"name": "recovered"})
    with sessions.connect(name) as sandbox:
        sandbox.files.write("results/table.csv", "a,b\n1,2\n")
        sandbox.workspace.push()
        sandbox.files.write("unsaved.txt", "never pushed, and nobody said goodbye")
    # What a lost cluster looks like from storage: no drain, no last push, no goodbye.
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    poll("the operator is gone", lambda: not operators(system), timeout=60)
    pod = sessions.pod(name)
    own_node.kill(pod, "agent")
    kubectl.delete("pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    kubectl.delete(SESSION, name)
    for secret in system.list("secrets"):
        if not secret["metadata"]["name"].startswith("sh.helm"):
            system.delete("secret", secret["metadata"]["name"])
    poll("the session is gone", lambda: not sessions.leftovers(name), timeout=60)

    install(own_node)
    poll("both replicas are ready", lambda: replicas_ready(system) >= 2, timeout=90)
    again = sessions.ready(workspace={"name": "recovered"})
    with sessions.connect(again) as sandbox:
        assert sandbox.files.read("results/table.csv") == b"a,b\n1,2\n"
        assert [entry.path for entry in sandbox.files.list("")] == ["results"]
        sandbox.files.write("more.txt", "it goes on")
        sandbox.workspace.push()
    assert set(own_node.storage.digests(kubectl.namespace, "recovered")) >= {"results/table.csv", "more.txt"}
