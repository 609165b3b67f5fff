"""Storage credentials of one workspace, by the store that enforces them: rotated under load, revoked."""

import hashlib
import itertools
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.support.chart import RELEASE
from tests.e2e.support.kubectl import Kubectl, RefusedError, poll, run
from tests.e2e.support.local_operator import LocalOperator, open_local_operator
from tests.e2e.support.platform import CHART, STATE, Platform
from tests.e2e.support.sessions import SESSION, Sessions

LOAD_SECONDS = 6.0
RENEW_SECONDS = 2
STS = {"STORAGE_CREDENTIALS": "sts", "STORAGE_STS_ROLE_ARN": "arn:minio:iam:::role/sandboxes"}


@pytest.fixture(scope="module")
def session(kubectl: Kubectl) -> Iterator[str]:
    """A session that is Ready; the same one for the tests that harm only its credentials."""
    sessions = Sessions(kubectl)
    try:
        yield sessions.ready("own-1")
    finally:
        sessions.close()


def test_fault_32_credentials_that_the_store_revoked_delay_a_push_and_fail_none(
    own_node: Platform, kubectl: Kubectl, session: str
):
    """In a cluster, a store that revokes all credentials delays a push and fails none."""
    name, sessions = session, Sessions(kubectl)
    content = bytes(range(256)) * (80 << 10)
    with sessions.connect(name) as sandbox, ThreadPoolExecutor(1) as pool:
        sandbox.files.write("large.bin", content)
        with own_node.storage_outage():
            # MinIO keeps what it handed out in files; without them it knows none of it any more.
            shutil.rmtree(STATE / "run/minio/.minio.sys/config/iam/sts")
        began = time.monotonic()
        pushing = pool.submit(sandbox.workspace.push)
        poll("the pod is not ready, which brings the operator", lambda: not is_ready(sessions.pod(name)), timeout=40)
        assert pushing.result(timeout=60).failed == ()
        print(f"\nrevoked credentials: a push took {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement, for people
    stored = own_node.storage.digests(kubectl.namespace, name)
    assert stored["large.bin"] == hashlib.sha256(content).hexdigest()
    assert sessions.status(name)["phase"] == "Ready"


def is_ready(pod: dict) -> bool:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"]["conditions"]}
    return conditions["Ready"] == "True"


@pytest.fixture
def rotating_operator(own_node: Platform, system: Kubectl, tmp_path: Path) -> Iterator[LocalOperator]:
    """An operator of this machine in place of the cluster's, which renews credentials every other second."""
    system("scale", f"deployment/{RELEASE}", "--replicas=0")
    try:
        poll("the cluster's operator is gone", lambda: not system.list("pods"), timeout=60)
        settings = {**STS, "STORAGE_STS_RENEW_SECONDS": str(RENEW_SECONDS)}
        with open_local_operator(own_node, system, tmp_path, RELEASE, settings) as operator:
            operator.start()
            yield operator
    finally:
        system("scale", f"deployment/{RELEASE}", "--replicas=2")


def test_fault_39_credentials_are_rotated_under_load_and_no_call_fails(
    rotating_operator: LocalOperator, kubectl: Kubectl, record_property
):
    """In a cluster, storage credentials are rotated under load, and no call fails."""
    sessions = Sessions(kubectl)
    # Only this one's renewals are to be counted.
    kubectl.delete(SESSION, "own-1")
    name = sessions.ready()
    before, stop = count_renewals(), threading.Event()

    def work(number: int) -> int:
        with sessions.connect(name) as sandbox:
            for count in itertools.count(1):
                sandbox.files.write(f"{number}.txt", str(count))
                assert sandbox.workspace.push([f"{number}.txt"]).failed == ()
                assert sandbox.run_code(f"print(open('{number}.txt').read())").stdout.strip() == str(count)
                if stop.is_set():
                    return count
        raise AssertionError

    try:
        with ThreadPoolExecutor(2) as pool:
            working = [pool.submit(work, number) for number in range(2)]
            time.sleep(LOAD_SECONDS)
            stop.set()
            calls = 3 * sum(done.result(timeout=30) for done in working)
        renewals = count_renewals() - before
        print(f"\n{calls} calls over {renewals} renewals in {LOAD_SECONDS:.0f} s")  # noqa: T201 - a measurement, for people
        record_property("renewals", renewals)
        assert renewals >= LOAD_SECONDS / RENEW_SECONDS / 2, rotating_operator.tail()
    finally:
        sessions.close()


def test_variables_are_kept_over_a_suspend_with_credentials_that_were_renewed(
    rotating_operator: LocalOperator, own_node: Platform, kubectl: Kubectl
):
    sessions, storage = Sessions(kubectl), own_node.storage
    # Only this one's renewals are to be counted.
    kubectl.delete(SESSION, "own-1")
    name = sessions.ready(lifecycle={"keepVariables": True})
    below = {"Bucket": storage.bucket, "Prefix": f"{storage.prefix}/{kubectl.namespace}/{name}/.workspace/variables/"}
    try:
        with sessions.connect(name) as sandbox:
            assert sandbox.run_code("kept = {'number': 41}\ndef add(): return kept['number'] + 1").ok
        enough = count_renewals() + 2
        poll("credentials are renewed twice", lambda: count_renewals() >= enough, timeout=30)
        assert storage.client().list_objects_v2(**below)["KeyCount"] == 0
        sessions.suspend(name)
        sessions.wait_phase(name, "Suspended")
        assert storage.client().list_objects_v2(**below)["KeyCount"] == 1
        sessions.suspend(name, suspended=False)
        sessions.wait_phase(name, "Ready")
        with sessions.connect(name) as sandbox:
            assert sandbox.run_code("add()").text == "42"
            told = sandbox.contexts.kept_variables()
        assert ({variable for _, variable in told.kept}, told.lost) == ({"kept", "add"}, ())
        assert storage.client().list_objects_v2(**below)["KeyCount"] == 0, "variables are used once"
    finally:
        sessions.close()


def count_renewals() -> int:
    """How many credentials the local operator has got."""
    with urllib.request.urlopen("http://127.0.0.1:18080/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.search(r'assume_role_seconds_count\{result="ok"\} ([0-9.]+)', text)
    return int(float(found[1])) if found else 0


def test_the_chart_asks_for_what_sts_needs(platform: Platform):
    del platform
    values = "images.registry=localhost,storage.bucket=b,storage.cidrs={10.0.0.1/32}"
    chart = ["helm", "template", "x", str(CHART), "--set", values]
    with pytest.raises(RefusedError, match="roleArn"):
        run(*chart, "--set", "storage.credentials=sts")
    role = "storage.credentials=sts,storage.sts.roleArn=arn:aws:iam::123456789012:role/sandboxes"
    rendered = run(*chart, "--set", role)
    # The service account's role is enough: no Secret is made, none is mounted.
    assert "SANDBOX_OPERATOR_STORAGE_CREDENTIALS, value: sts" in rendered
    assert "kind: Secret\n" not in rendered
    assert "secretName" not in rendered
