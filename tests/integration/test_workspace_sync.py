"""Workspace and storage kept one, through local sessions for real.

R19: what others put there is seen. R21: what changes here is saved unasked.
"""

import urllib.request

import pytest

from sandbox_client import Sandbox
from sandbox_client.local import session as local
from tests.support.waiting import until


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def sandbox(store):
    with Sandbox.local(store=store, name="shared") as sandbox:
        yield sandbox


@pytest.fixture
def put(store):
    """Puts a file where any tool would: below the workspace's prefix."""

    def put(path, text):
        target = store / "local/shared/code-interpreter" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    return put


def test_r19_files_that_others_put_into_the_workspace_are_there_before_the_next_call(sandbox, put):
    assert sandbox.run_code("import os; os.path.exists('incoming/a.csv')").text == "False"
    put("incoming/a.csv", "one")
    assert sandbox.run_code("open('incoming/a.csv').read()").text == "'one'"
    put("incoming/a.csv", "replaced")
    assert sandbox.run("cat incoming/a.csv").stdout == "replaced"
    put("b.csv", "two")
    assert sandbox.files.read("b.csv") == b"two"
    put("b.csv", "two, replaced")
    assert sandbox.run_code("console.log(require('fs').readFileSync('b.csv', 'utf8'))", "javascript").stdout == (
        "two, replaced\n"
    )


def test_r19_a_file_that_changed_here_too_is_kept_and_named(sandbox, put):
    sandbox.files.write("both", "base")
    assert not sandbox.workspace.push(["both"]).failed
    sandbox.files.write("both", "ours")
    put("both", "theirs")
    assert sandbox.files.read("both") == b"ours"
    assert sandbox.workspace.status().conflicts == ("both",)
    report = sandbox.workspace.push()
    assert [(failure.path, failure.reason.partition(":")[0]) for failure in report.failed] == [
        ("both", "WORKSPACE_CONFLICT")
    ]
    sandbox.files.move("both", "ours")
    assert not sandbox.workspace.push().failed
    assert (sandbox.files.read("both"), sandbox.files.read("ours")) == (b"theirs", b"ours")
    assert not sandbox.workspace.status().dirty


@pytest.fixture(scope="module")
def ports():
    """Where the agent of `saving` listens, once it does."""
    return {}


@pytest.fixture(scope="module")
def saving(tmp_path_factory, ports):
    store = tmp_path_factory.mktemp("saved")
    wait_ports = local._wait_ports

    async def remember(*arguments):
        ports.update(await wait_ports(*arguments))
        return ports

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_wait_ports", remember)
        sandbox = Sandbox.local(store=store, name="saved", sync="on_change")
    with sandbox:
        yield sandbox, store / "local/saved/code-interpreter"


def test_r21_what_code_commands_and_calls_write_is_saved_without_being_asked(saving):
    sandbox, stored = saving
    sandbox.run_code("import os; os.makedirs('a/b', exist_ok=True); open('a/b/code.txt', 'w').write('1')")
    sandbox.run("echo 2 > command.txt")
    sandbox.files.write("call.txt", "3")
    names = {"a/b/code.txt": "1", "command.txt": "2\n", "call.txt": "3"}
    until(lambda: {name: (stored / name).read_text() for name in names if (stored / name).exists()} == names)
    sandbox.run_code("open('a/b/code.txt', 'w').write('changed')")
    until(lambda: (stored / "a/b/code.txt").read_text() == "changed")
    sandbox.run_code("os.remove('command.txt')")
    until(lambda: not (stored / "command.txt").exists())
    status = until(lambda: (told := sandbox.workspace.status()).lag == 0 and told)
    assert (status.saves_on_change, status.dirty, status.last_error) == (True, False, "")


def test_r21_caches_and_dependencies_are_not_saved(saving):
    sandbox, stored = saving
    sandbox.run("mkdir -p node_modules/x __pycache__ .venv/lib .cache && touch node_modules/x/i.js __pycache__/m.pyc")
    sandbox.run("touch .venv/lib/p.py .cache/c kept.txt")
    until((stored / "kept.txt").exists)
    assert sorted(path.name for path in stored.iterdir() if path.name[0] in "._n") == []


def test_r21_the_next_session_has_what_was_never_pushed(saving):
    sandbox, stored = saving
    sandbox.run_code("open('left', 'w').write('behind')")
    until(lambda: (stored / "left").exists() and sandbox.workspace.status().lag == 0)
    with Sandbox.local(store=stored.parents[2], name="saved") as heir:
        assert heir.files.read("left") == b"behind"
        assert not heir.workspace.status().saves_on_change


def test_the_lag_and_what_was_saved_are_metrics(saving, ports):
    sandbox, stored = saving
    before = read_metrics(ports)
    sandbox.files.write("measured", "12345")
    until((stored / "measured").exists)
    until(lambda: sandbox.workspace.status().lag == 0)
    values = read_metrics(ports)
    assert values["sandbox_workspace_pushes_total"] > before["sandbox_workspace_pushes_total"]
    assert values["sandbox_workspace_push_failures_total"] == 0
    assert values["sandbox_workspace_lag_seconds"] == 0
    assert values["sandbox_workspace_saved_bytes_total"] - before["sandbox_workspace_saved_bytes_total"] == 5


def read_metrics(ports):
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['health_port']}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
