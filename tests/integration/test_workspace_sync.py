"""Workspace and storage kept one, through a local session for real: R19 (what others put there)."""

import pytest

from sandbox_client import Sandbox


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
