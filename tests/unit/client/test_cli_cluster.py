"""`sandbox get`, `list` and `describe`: forms of output, namespaces, and what is shown about a session."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from click.testing import CliRunner

from sandbox_client.cli import main
from sandbox_client.cli.cluster.get import session_row

GROUP = "/apis/sandboxsessions.dev/v1alpha1"


def session(name, namespace):
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"team": "a"},
        },
        "spec": {"templateRef": {"name": "default"}, "lifecycle": {"idleTimeout": "1h"}},
        "status": {
            "phase": "Pending",
            "podName": f"{name}-pod",
            "startup": {"source": "Warm"},
            "conditions": [{"type": "Ready", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}],
        },
    }


class Handler(BaseHTTPRequestHandler):
    """Two sessions in two namespaces, and the events of one."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.seen.append((path, query))
        a, b = session("a", "team"), session("b", "other")
        event = {"type": "Warning", "reason": "FailedScheduling", "message": "no node", "lastTimestamp": "2026-01-02"}
        answers = {
            f"{GROUP}/namespaces/team/sandboxsessions": {"items": [a]},
            f"{GROUP}/namespaces/none/sandboxsessions": {"items": []},
            f"{GROUP}/sandboxsessions": {"items": [a, b]},
            f"{GROUP}/namespaces/team/sandboxsessions/a": a,
            "/api/v1/namespaces/team/events": {
                "items": [{**event, "lastTimestamp": "2026-01-03", "reason": "Z"}, event]
            },
        }
        status, value = (200, answers[path]) if path in answers else (404, {"kind": "Status", "message": f"no {path}"})
        if self.server.denies_events and path.endswith("/events"):
            status, value = 403, {"kind": "Status", "message": "you may not list events"}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.denies_events = [], False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sandbox(*words):
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("command", ["get", "list"])
def test_options_work_before_and_after_the_command(api, command):
    everywhere = sandbox(command, "-A")
    assert everywhere == sandbox("-A", command)
    header, *rows = everywhere.splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "PHASE", "TEMPLATE", "POD", "EXPIRES"]
    assert [row.split()[:2] for row in rows] == [["team", "a"], ["other", "b"]]
    assert sandbox("-o", "json", command) == sandbox(command, "--output", "json")
    assert sandbox("-n", "none", "-o", "json", command) == "[]\n"
    assert sandbox("-n", "none", command, "-n", "team", "-o", "name") == "a\n"


def test_a_list_has_each_form(api):
    row = {"name": "a", "phase": "Pending", "template": "default", "pod": "a-pod", "expires": None}
    assert json.loads(sandbox("get", "-o", "json")) == [row]
    assert yaml.safe_load(sandbox("get", "-o", "yaml")) == [row]
    wide = sandbox("get", "-o", "wide").splitlines()
    assert wide[0].split()[-4:] == ["AGE", "SOURCE", "REASON", "ENDPOINT"]
    assert "Unschedulable" in wide[1]
    assert sandbox("get", "-A", "-o", "name") == "a\nb\n"


def test_a_list_is_current_and_not_from_the_api_servers_cache(api):
    sandbox("get")
    assert "resourceVersion" not in api.seen[-1][1]


def test_a_session_that_is_named_is_the_whole_object(api):
    assert json.loads(sandbox("get", "a", "-o", "json")) == session("a", "team")
    assert yaml.safe_load(sandbox("get", "a", "-o", "yaml")) == session("a", "team")
    assert sandbox("get", "a").splitlines()[1].split()[0] == "a"


def test_no_sessions_say_what_to_do(api):
    done = CliRunner().invoke(main, ["get", "-n", "none"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no sessions in this namespace: `sandbox create`" in done.stderr


def test_describe_shows_spec_conditions_and_events_in_order(api):
    text = sandbox("describe", "a")
    assert text == sandbox("describe", "--session", "a")
    lines = text.splitlines()
    assert "    idleTimeout: 1h" in lines
    assert "  Ready False Unschedulable: 0/3 nodes fit" in lines
    assert [line.split()[2] for line in lines[-2:]] == ["FailedScheduling:", "Z:"]
    told = json.loads(sandbox("describe", "a", "-o", "json"))
    assert told["session"] == session("a", "team")
    assert [event["reason"] for event in told["events"]] == ["FailedScheduling", "Z"]


def test_describe_works_without_permission_to_list_events(api):
    api.denies_events = True
    done = CliRunner().invoke(main, ["describe", "a"])
    assert done.exit_code == 0
    assert "Unschedulable" in done.stdout
    assert "its events are left out" in done.stderr
    assert "may not list events" in done.stderr


def test_a_session_that_the_operator_has_not_seen_has_a_row():
    row = session_row({"metadata": {"name": "new"}}, datetime.now(UTC))
    assert (row["name"], row["phase"], row["age"]) == ("new", None, None)
