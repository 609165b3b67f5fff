"""`sandbox top`: rows from objects, their order, how they look, and what is read of a cluster."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from sandbox_client.cli.main import main
from sandbox_client.cli.top import render
from sandbox_client.cluster.table import (
    SORTS,
    ClusterObjects,
    ClusterTable,
    PoolRow,
    SessionRow,
    Usage,
    build_table,
    format_age,
    format_bytes,
    format_cores,
)
from sandbox_client.cluster.top import usage_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
READY = {
    "metadata": {"namespace": "team", "name": "busy", "creationTimestamp": "2026-01-02T03:00:05Z"},
    "spec": {"templateRef": {"name": "science"}},
    "status": {
        "phase": "Ready",
        "podName": "sbx-busy",
        "lastActiveAt": "2026-01-02T03:04:00Z",
        "startup": {"source": "Warm", "milliseconds": 143},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}],
    },
}
FAILED = {
    "metadata": {"namespace": "team", "name": "broken", "creationTimestamp": "2026-01-02T03:04:06Z"},
    "spec": {"templateRef": {"name": "default"}},
    "status": {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False", "reason": "TemplateNotFound"}]},
}
UNSEEN = {"metadata": {"namespace": "a", "name": "new", "creationTimestamp": "2026-01-02T03:04:05Z"}}
POOL = {
    "metadata": {"namespace": "team", "name": "warm"},
    "spec": {"templateRef": {"name": "science"}, "replicas": 3},
    "status": {
        "replicas": 2,
        "readyReplicas": 1,
        "conditions": [{"type": "Ready", "status": "False", "reason": "Few"}],
    },
}
POD = {"metadata": {"namespace": "team", "name": "sbx-busy"}, "spec": {"nodeName": "node1"}}
METRICS = {
    "metadata": {"namespace": "team", "name": "sbx-busy"},
    "containers": [
        {"name": "agent", "usage": {"cpu": "12500000n", "memory": "50Mi"}},
        {"name": "sandbox", "usage": {"cpu": "1200m", "memory": "1048576Ki"}},
    ],
}
BUSY = SessionRow("team", "busy", "Ready", "", "science", "node1", "sbx-busy", 240, "Warm", 143, 5, 1.2125, 1074 << 20)


def test_a_row_says_where_a_session_is_how_it_started_and_what_it_uses():
    listing = ClusterObjects((READY, FAILED, UNSEEN), (POOL,), (POD,), usage_of([METRICS]), ("a note",))
    assert build_table(listing, NOW) == ClusterTable(
        (
            SessionRow("a", "new", "Unseen"),
            SessionRow("team", "broken", "Failed", "TemplateNotFound", "default"),
            BUSY,
        ),
        (PoolRow("team", "warm", "science", 1, 2, 3, "Few"),),
        ("a note",),
    )


def test_one_line_says_it_all():
    listing = ClusterObjects((READY, FAILED, UNSEEN), (POOL,), usage=usage_of([METRICS]))
    assert build_table(listing, NOW).summary == (
        "3 sessions (1 Failed, 1 Ready, 1 Unseen); 1 pool (1 of 3 blank pods ready); 1212m CPU, 1.0Gi memory"
    )
    assert build_table(ClusterObjects(()), NOW).summary == "0 sessions"


def some_session(name, created, active, pod):
    status = {"phase": "Ready", "podName": pod, **({"lastActiveAt": active} if active else {})}
    return {"metadata": {"namespace": "n", "name": name, "creationTimestamp": created}, "status": status}


@pytest.mark.parametrize(
    ("sort", "order"),
    [("phase", "abc"), ("name", "abc"), ("age", "cab"), ("idle", "bac"), ("cpu", "acb"), ("memory", "cab")],
)
def test_rows_are_sorted_with_most_first_and_what_is_not_known_last(sort, order):
    sessions = (
        some_session("c", "2026-01-02T01:00:00Z", None, "pc"),
        some_session("b", "2026-01-02T03:00:00Z", "2026-01-02T03:01:00Z", "pb"),
        some_session("a", "2026-01-02T02:00:00Z", "2026-01-02T03:02:00Z", "pa"),
    )
    usage = {("n", "pa"): Usage(2, 10), ("n", "pc"): Usage(1, 20)}
    seen = build_table(ClusterObjects(sessions, usage=usage), NOW, sort)
    assert "".join(row.name for row in seen.sessions) == order
    assert sort in SORTS


def shown(seen, **options):
    console = Console(width=200, highlight=False)
    with console.capture() as captured:
        console.print(render(seen, **{"has_namespace": False, **options}))
    return [line.split() for line in captured.get().splitlines() if line.strip()]


def test_a_table_has_a_line_for_each_session_and_pool_below_the_sum():
    seen = ClusterTable(
        (BUSY, SessionRow("team", "x[red]y", "Failed", "Bad")), (PoolRow("team", "warm", "t", 1, 2, 3),)
    )
    assert shown(seen)[1:] == [
        ["NAME", "PHASE", "TEMPLATE", "NODE", "POD", "AGE", "START", "IDLE", "CPU", "MEMORY"],
        ["busy", "Ready", "science", "node1", "sbx-busy", "4m", "Warm", "143", "ms", "5s", "1212m", "1.0Gi"],
        ["x[red]y", "Failed", "(Bad)", "0s"],
        ["POOL", "TEMPLATE", "READY", "THERE", "WANTED", "REASON"],
        ["warm", "t", "1", "2", "3"],
    ]


def test_nothing_is_shown_of_what_nobody_measures_and_namespaces_only_where_there_are_several():
    lines = shown(ClusterTable((SessionRow("n", "a", "Ready"),), (), ("CPU is left out",)), has_namespace=True)
    assert lines == [
        ["1", "session", "(1", "Ready)"],
        ["CPU", "is", "left", "out"],
        ["NAMESPACE", "NAME", "PHASE", "TEMPLATE", "NODE", "POD", "AGE", "START", "IDLE"],
        ["n", "a", "Ready", "0s"],
    ]
    assert ["as", "of", "1:00:", "down"] in shown(ClusterTable((), ()), problem="as of 1:00: down")


def test_numbers_are_short():
    assert [format_age(seconds) for seconds in (0, 59.9, 60, 3599, 3600, 86400 * 12.5)] == (
        ["0s", "59s", "1m", "59m", "1h", "12d"]
    )
    assert [format_cores(cores) for cores in (0, 0.0125, 2)] == ["0m", "12m", "2000m"]
    assert [format_bytes(size) for size in (0, 50 << 20, 3 << 29)] == ["0Mi", "50Mi", "1.5Gi"]


class Api(ThreadingHTTPServer):
    """Answers each list from a dictionary by its path's end; what is not there is not found."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lists = {}
        self.paths = []


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.paths.append(path)
        kind = "metrics" if "metrics.k8s.io" in path else path.rsplit("/", 1)[-1]
        found = self.server.lists.get(kind, 404)
        status = found if isinstance(found, int) else 200
        value = {"message": f"{kind}: no"} if isinstance(found, int) else {"items": found}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api(tmp_path, monkeypatch):
    server = Api()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def top(*words):
    return CliRunner().invoke(main, ["top", *words])


def test_where_the_output_is_no_terminal_one_look_is_printed(api):
    pod = {**POD, "spec": {"nodeName": "node1", "containers": []}}
    api.lists = {"sandboxsessions": [READY], "sandboxwarmpools": [POOL], "pods": [pod], "metrics": [METRICS]}
    done = top()
    assert (done.exit_code, done.stderr) == (0, "")
    assert "busy  Ready  science   node1  sbx-busy" in done.stdout
    assert "warm  science" in done.stdout
    assert all("/namespaces/team/" in path for path in api.paths)
    assert len(api.paths) == 4


def test_a_look_at_all_namespaces_is_json_where_that_is_asked_for(api):
    api.lists = {"sandboxsessions": [READY, UNSEEN], "sandboxwarmpools": 403, "pods": []}
    done = top("-A", "--output", "json", "--sort", "name")
    value = json.loads(done.stdout)
    assert [row["name"] for row in value["sessions"]] == ["new", "busy"]
    assert value["summary"] == "2 sessions (1 Ready, 1 Unseen)"
    assert value["notes"] == [
        "warm pools are left out: sandboxwarmpools of all namespaces: sandboxwarmpools: no",
        "CPU and memory are left out: this cluster has no working metrics-server",
    ]
    assert not any("/namespaces/" in path for path in api.paths)


def test_a_namespace_whose_sessions_may_not_be_listed_is_an_error_that_names_it(api):
    api.lists = {"sandboxsessions": 403, "pods": []}
    done = top("-n", "theirs")
    assert (done.exit_code, done.stdout) == (125, "")
    assert done.stderr == "error: sandboxsessions of namespace theirs: sandboxsessions: no\n"


def test_without_a_cluster_it_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = top()
    assert done.exit_code == 125
    assert "--kubeconfig" in done.stderr


def test_one_namespace_and_all_of_them_are_a_wrong_command_line(api):
    assert top("-A", "-n", "team").exit_code == 2
