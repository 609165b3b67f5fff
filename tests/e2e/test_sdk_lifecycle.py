"""Sessions over their whole life through the SDK and the command line: create, extend, suspend, delete, files."""

import datetime as dt
import json
import logging
import secrets
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from sandbox_client import Cluster, FailedPrecondition, InvalidArgument, Sandbox, SessionFailed
from sandbox_client.cli import main
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import Sessions, build_template


@pytest.fixture
def place(kubectl: Kubectl) -> dict[str, str]:
    return {"namespace": kubectl.namespace, "kubeconfig": kubectl.kubeconfig}


@pytest.fixture
def cluster(place: dict[str, str], operator_is_up: None) -> Iterator[Cluster]:
    with Cluster.open(**place) as cluster:
        yield cluster


@pytest.fixture
def name(sessions: Sessions) -> str:
    """A new name, whose session is deleted after the test."""
    name = f"s-{secrets.token_hex(3)}"
    sessions.names.append(name)
    return name


@pytest.fixture
def store(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The store, with credentials where every AWS tool finds them."""
    storage = platform.storage
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", storage.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", storage.secret_key)
    return {"store": f"s3://{storage.bucket}/{storage.prefix}", "endpoint_url": storage.endpoint}


def later(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)


def run_cli(place: dict[str, str], *words: str) -> tuple[int, str, str]:
    where = ("-n", place["namespace"], "--kubeconfig", place["kubeconfig"])
    done = CliRunner().invoke(main, [*words, *where])
    return done.exit_code, done.stdout, done.stderr


def test_an_ephemeral_session_has_what_was_asked_for_and_leaves_nothing(place, sessions: Sessions):
    labels = {"team": f"t-{secrets.token_hex(3)}"}
    settings = {"env": {"LEVEL": "3"}, "labels": labels, "idle_timeout": "1h", "lifetime": dt.timedelta(hours=2)}
    with Sandbox.create(**settings, egress="none", **place) as sandbox:
        assert sandbox.run_code("import os; print(os.environ['LEVEL'])").stdout == "3\n"
        assert [each.name for each in Sandbox.list(labels, **place)] == [sandbox.name]
        info = sandbox.info()
        assert (info.phase, info.egress, info.labels) == ("Ready", "none", labels)
        assert info.started_at
        assert info.expires_at == info.started_at + dt.timedelta(hours=2)
        raw = sessions.read(sandbox.name)
        assert raw["metadata"]["generateName"] == "sandbox-"
        assert raw["spec"]["lifecycle"]["idleTimeout"] == "1h"
    poll("nothing is left", lambda: not sessions.leftovers(sandbox.name), timeout=60)


def test_a_named_session_continues_and_sleeps_and_wakes(place, name: str):
    with Sandbox.create(name, **place) as sandbox:
        sandbox.files.write("kept.txt", "kept")
    with Sandbox.connect(name, **place) as sandbox:
        sandbox.suspend()
        assert sandbox.info().phase == "Suspended"
        assert sandbox.files.read_text("kept.txt") == "kept", "a call wakes it"
        sandbox.suspend()
        sandbox.resume()
        assert sandbox.info().is_ready
        assert sandbox.run_code("print(open('kept.txt').read())").stdout == "kept\n"
        sandbox.delete()
    assert name not in [each.name for each in Sandbox.list(**place) if each.phase != "Terminating"]


def test_the_end_of_a_session_moves_and_a_resume_keeps_it(place, name: str, sessions: Sessions):
    with Sandbox.create(name, **place) as sandbox:
        end = sandbox.set_timeout("1h")
        assert abs((end - later(3600)).total_seconds()) < 15
        with pytest.raises(FailedPrecondition, match="maximum lifetime of its pod ends at"):
            sandbox.set_timeout("9h")
        code, shown, said = run_cli(place, "timeout", name, "4s")
        assert code == 0, said
        assert f"{name} ends at" in shown
    sessions.wait_phase(name, "Suspended", timeout=60)

    started = time.monotonic()
    with pytest.raises(SessionFailed, match=r"expiresAt.*Resume it with a new end"):
        Sandbox.connect(name, **place)
    assert time.monotonic() - started < 30
    assert run_cli(place, "resume", name, "--expires", "2h")[:2] == (0, f"{name} is Ready\n")
    with Sandbox.connect(name, **place) as sandbox:
        assert abs((sandbox.info().expires_at - later(7200)).total_seconds()) < 60
        assert sandbox.set_timeout(None) > later(7 * 3600)


def test_a_cap_of_the_template_is_in_the_notice(place, name: str, kubectl: Kubectl, image: str):
    kubectl.apply(build_template("capped", image, lifecycle={"maxLifetime": "1h"}))
    try:
        with Sandbox.create(name, template="capped", lifetime="2h", **place) as sandbox:
            assert "SandboxTemplate capped allows 3600 s" in sandbox.notice
            with pytest.raises(FailedPrecondition, match="maximum lifetime"):
                sandbox.set_timeout("90m")
    finally:
        kubectl.delete("sandboxtemplates.sandboxsessions.dev", "capped")


def fails_soon(place: dict[str, str], caplog: pytest.LogCaptureFixture, **settings) -> tuple[str, list[str]]:
    """Create an ephemeral session that cannot start; what the error says, and what was shown before."""
    shown: list[str] = []
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "sandbox_client"), pytest.raises(SessionFailed) as caught:
        Sandbox.create(**settings, on_phase=shown.append, **place)
    assert time.monotonic() - started < 60
    assert caplog.text == "", "the session was deleted again"
    return caught.value.message, shown


def test_a_create_without_its_template_fails_within_seconds(place, operator_is_up, caplog):
    started = time.monotonic()
    message, shown = fails_soon(place, caplog, template="missing")
    assert time.monotonic() - started < 15
    assert "there is no SandboxTemplate missing" in message
    assert any("TemplateNotFound" in text for text in shown)


def test_a_create_beyond_the_quota_fails_within_seconds(place, kubectl: Kubectl, operator_is_up, caplog):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    kubectl.apply(quota)
    poll("the quota counts", lambda: kubectl.get("resourcequota", "none").get("status", {}).get("used"), timeout=30)
    try:
        message, shown = fails_soon(place, caplog)
    finally:
        kubectl.delete("resourcequota", "none")
    assert "exceeded quota" in message
    assert any("PodRefused" in text for text in shown)


def test_a_create_that_fits_on_no_node_fails_if_no_node_will_come(
    place, kubectl: Kubectl, image: str, operator_is_up, caplog
):
    huge = {"default": {"requests": {"cpu": "900"}, "limits": {"cpu": "900"}}}
    kubectl.apply(build_template("huge", image, resources=huge))
    try:
        message, shown = fails_soon(place, caplog, template="huge")
    finally:
        kubectl.delete("sandboxtemplates.sandboxsessions.dev", "huge")
    assert "Insufficient cpu" in message
    assert any("Unschedulable" in text for text in shown)


def test_a_create_whose_image_cannot_be_pulled_fails_within_a_minute(place, kubectl: Kubectl, operator_is_up, caplog):
    kubectl.apply(build_template("no-image", "localhost/missing:none", imagePullPolicy="Never"))
    try:
        message, _ = fails_soon(place, caplog, template="no-image")
    finally:
        kubectl.delete("sandboxtemplates.sandboxsessions.dev", "no-image")
    assert "ErrImageNeverPull" in message


def test_what_the_template_does_not_allow_is_refused_by_the_name_of_the_field(place, operator_is_up, caplog):
    message, _ = fails_soon(place, caplog, egress="public")
    assert "spec.egress" in message


def test_a_field_that_does_not_exist_is_refused_instead_of_dropped(cluster: Cluster):
    with pytest.raises(InvalidArgument, match=r'unknown field "spec\.lifecycle\.idletimeout"'):
        cluster.create(spec={"lifecycle": {"idletimeout": "1h"}})


def test_stored_workspaces_outlive_their_sessions_and_are_deleted_only_when_unused(
    place, name: str, cluster: Cluster, store: dict[str, str], sessions: Sessions
):
    with Sandbox.create(name, **place) as sandbox:
        sandbox.files.write("kept.txt", "x" * 1000)
        assert sandbox.workspace.push().files_saved == 1
    options = ("--store", store["store"], "--endpoint-url", store["endpoint_url"])
    code, _, said = run_cli(place, "workspaces", "delete", name, "--yes", *options)
    assert (code, f"in use by session {name}" in said) == (125, True)
    with cluster.workspaces(**store) as stored:
        found = stored.get(name)
        assert found.bytes > 1000
        assert (found.last_session, found.used_by) == (f"{cluster.namespace}/{name}", f"session {name}")
        sessions.delete(name)
        assert stored.get(name).used_by == ""
        assert name not in [each.name for each in stored.prune("1h", match=name)]
        code, shown, said = run_cli(
            place, "workspaces", "prune", "--older-than", "1s", "--match", name, "--yes", "--output", "json", *options
        )
        assert code == 0, said
        assert [each["name"] for each in json.loads(shown)] == [name]
        assert name not in [each.name for each in stored.list()]
