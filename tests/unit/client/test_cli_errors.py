"""Every error of the command line names the object, the reason, and what to do, with the right exit code."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from click.testing import CliRunner

from sandbox_client import Sandbox
from sandbox_client.cli import main
from sandbox_client.cli.run.shown import save_shown
from sandbox_client.cli.shell.last_resort import describe_os_error
from sandbox_client.errors import NotFound, SandboxUnavailable

BINARY = b"\x7fELF\x00"


class Handler(BaseHTTPRequestHandler):
    """An API server without our kinds: `/api` exists, everything else is a plain 404."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"404 page not found")

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class's names


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "x",
    }
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(yaml.safe_dump(config))
    yield str(path)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch, kubeconfig):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    for name, content in {
        "list.yaml": b"[]",
        "number.yaml": b"clusters: 5",
        "broken.yaml": b"a: [",
        "binary": BINARY,
        "d.csv": b"a,b",
        "n.ipynb": b"{}",
        "a.py": b"",
        "utf16.py": "print(1)".encode("utf-16"),
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def invoke(*words, stdin=None):
    return CliRunner().invoke(main, list(words), input=stdin)


USAGE = [
    (["run"], ["FILE", "-c CODE"]),
    (["run", "-c", "1", "a.py"], ["FILE", "-c CODE"]),
    (["run", ""], ["FILE", "empty"]),
    (["run", "missing.py"], ["missing.py", "No such file"]),
    (["run", "."], [".", "Is a directory"]),
    (["run", "binary"], ["binary", "binary file", "sandbox exec"]),
    (["run", "utf16.py"], ["utf16.py", "UTF-16", "save it as UTF-8"]),
    (["run", "d.csv"], ["d.csv", ".csv", "--language"]),
    (["run", "a.py", "caf\udce9"], ["a.py", "caf\\udce9", "UTF-8"]),
    (["exec", "echo", "caf\udce9"], ["COMMAND", "caf\\udce9", "UTF-8"]),
    (["run", "n.ipynb", "x"], ["notebook", "no arguments", "x"]),
    (["run", "a.py", "--session", "prod"], ["--session", "a.py", "before a.py"]),
    (["run", "a.py", "--save-figures=out"], ["--save-figures=out", "before a.py"]),
    (["run", "-n", "prod", "a.py"], ["--namespace", "this machine", "--session"]),
    (["-n", "prod", "run", "a.py"], ["--namespace", "this machine", "--session"]),
    (["run", "--context", "eu", "--kubeconfig", "x", "a.py"], ["--kubeconfig and --context", "--session"]),
    (["exec", "--direct", "true"], ["--direct", "this machine", "--session"]),
    (["exec", "-n", "prod", "--", "ls"], ["--namespace", "this machine", "--session"]),
    (["mcp", "--context", "eu"], ["--context", "this machine", "--session"]),
    (["-A", "exec", "ls"], ["--all-namespaces", "--session"]),
    (["-A", "delete", "s"], ["--all-namespaces", "delete", "`get`, `list` and `top`"]),
    (["-A", "-n", "x", "get"], ["--namespace", "--all-namespaces"]),
    (["get", "s", "-A"], ["named", "--all-namespaces"]),
    (["delete"], ["name one session"]),
    (["delete", "a", "-s", "b"], ["a and b"]),
    (["get", "-o", "xml"], ["--output", "xml", "yaml"]),
    (["run", "--timeout", "0", "-c", "1"], ["--timeout", "0"]),
    (["run", "--language", "ruby", "-c", "1"], ["--language", "ruby", "python"]),
    (["nonsense"], ["nonsense"]),
    (["delete", "local/x", "-n", "prod"], ["local/x", "this machine", "--namespace"]),
    (["exec", "-s", "local/x", "--context", "eu", "ls"], ["local/x", "this machine", "--context"]),
    (["run", "-s", "s", "--memory", "2Gi", "a.py"], ["--memory", "local session", "leave it out"]),
    (["run", "-s", "s", "--env", "A=1", "-c", "1"], ["--env", "FILE"]),
    (["exec", "--env", "A", "ls"], ["--env", "'A'", "KEY=VALUE"]),
    (["create", "s", "--env", "novalue"], ["--env", "novalue", "KEY=VALUE"]),
    (["files", "put", "-s", "s", "missing.csv"], ["missing.csv", "does not exist"]),
    (["completion", "tcsh"], ["tcsh", "bash"]),
]


@pytest.mark.parametrize(("words", "parts"), USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_wrong_usage_exits_with_2(folder, monkeypatch, words, parts):
    monkeypatch.setattr(Sandbox, "local", lambda *_, **__: pytest.fail("a local session was started"))
    done = invoke(*words)
    assert done.exit_code == 2, done.output
    said = " ".join(done.stderr.split())
    assert all(part in said for part in parts), said
    assert "Traceback" not in done.output


FAILURES = [
    (["get", "--kubeconfig", "missing.yaml"], ["missing.yaml", "there is no such file", "--kubeconfig"]),
    (["get", "--kubeconfig", "list.yaml"], ["list.yaml", "not a valid kubeconfig", "kubectl config view"]),
    (["get", "--kubeconfig", "number.yaml"], ["number.yaml", "not a valid kubeconfig", "kubectl config view"]),
    (["get", "--kubeconfig", "broken.yaml"], ["broken.yaml", "kubeconfig", "kubectl config view"]),
    (["get", "--kubeconfig", "binary"], ["binary", "kubeconfig", "kubectl config view"]),
    (["get", "--context", "nowhere"], ["nowhere", "context", "--context"]),
    (["get"], ["sandboxsessions", "is the chart installed", "kubectl get crd"]),
    (["get", "s"], ["session s", "is the chart installed", "kubectl get crd"]),
    (["get", "-A"], ["all namespaces", "is the chart installed"]),
    (["describe", "s"], ["session s", "is the chart installed"]),
    (["create", "s"], ["session s", "is the chart installed"]),
    (["suspend", "s"], ["session s", "is the chart installed"]),
    (["delete", "s"], ["session s", "is the chart installed"]),
    (["logs", "s"], ["session s", "is the chart installed"]),
    (["top", "--once"], ["sandboxsessions", "is the chart installed"]),
    (["exec", "-s", "s", "ls"], ["session s", "is the chart installed"]),
    (["run", "-s", "s", "a.py"], ["session s", "is the chart installed"]),
    (["files", "ls", "-s", "s"], ["session s", "is the chart installed"]),
]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(("words", "parts"), FAILURES, ids=[" ".join(words) for words, _ in FAILURES])
def test_what_fails_by_itself_exits_with_125_and_one_sentence(folder, words, parts, form):
    done = invoke("-o", form, *words)
    assert done.exit_code == 125, done.output
    said = json.loads(done.stderr)["error"] if form == "json" else done.stderr.removeprefix("error: ")
    assert all(part.lower() in said.lower() for part in parts), said
    assert said.count("\n") == (form == "text")
    assert "Traceback" not in done.output


def test_the_cluster_that_is_away_is_named(folder):
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "x",
    }
    (folder / "away.yaml").write_text(yaml.safe_dump(config))
    done = invoke("get", "s", "--kubeconfig", "away.yaml")
    assert done.exit_code == 125
    assert "127.0.0.1" in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (SandboxUnavailable("the session is away: try again", reason="X"), 125),
        (NotFound("there is no session s", reason="X"), 125),
        (OSError(13, "Permission denied", "/secret"), 125),
        (ZeroDivisionError("a fault of ours"), 125),
        (KeyboardInterrupt(), 130),
    ],
)
def test_nothing_that_a_session_raises_is_shown_as_a_traceback(folder, monkeypatch, raised, code):
    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(Sandbox, "connect", fail)
    done = invoke("run", "-s", "s", "a.py")
    assert done.exit_code == code
    assert (str(raised.args[-1]) if raised.args else "interrupted") in done.stderr
    assert "Traceback" not in done.output


def test_a_current_folder_that_is_gone_is_named(folder, monkeypatch):
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = invoke("run", str(folder / "a.py"))
    assert (done.exit_code, "current folder no longer exists" in done.stderr) == (2, True)


def test_a_folder_for_pictures_that_cannot_be_written_is_named(folder):
    with pytest.raises(OSError) as caught:
        save_shown([("png", b"x")], str(folder / "a.py" / "figures"))
    assert "a.py" in describe_os_error(caught.value)
