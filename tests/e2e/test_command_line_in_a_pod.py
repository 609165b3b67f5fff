"""The command line against a session in a pod: files with input, arguments and pictures, exit codes, what is shown."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.sessions import Sessions


@pytest.fixture(scope="module")
def session(kubectl: Kubectl) -> Iterator[str]:
    sessions = Sessions(kubectl)
    try:
        yield sessions.ready()
    finally:
        sessions.close()


@pytest.fixture
def sandbox(kubectl: Kubectl, session: str, tmp_path: Path):
    def run(*words: str, stdin: str = "") -> Any:
        place = ["--kubeconfig", kubectl.kubeconfig, *([] if "-A" in words else ["-n", kubectl.namespace])]
        return subprocess.run(
            [sys.executable, "-m", "sandbox_client", *place, *words],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            check=False,
        )

    return run


def test_a_python_file_has_its_input_arguments_neighbours_and_exit_code(sandbox, session, tmp_path):
    (tmp_path / "helper.py").write_text("VALUE = 42")
    (tmp_path / "a.py").write_text(
        "import helper, sys, threading, time\n"
        "print(__file__, sys.argv, sys.stdin.read(), helper.VALUE)\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start()\n"
        "sys.exit(7)"
    )
    assert sandbox("files", "put", "-s", session, "helper.py").returncode == 0
    done = sandbox("run", "-s", session, "a.py", "-x", "two words", stdin="in")
    assert (done.returncode, done.stdout) == (7, "/workspace/a.py ['a.py', '-x', 'two words'] in 42\nlate\n"), (
        done.stderr
    )


def test_pictures_of_a_file_come_out_of_the_pod(sandbox, session, tmp_path):
    (tmp_path / "chart.py").write_text("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n")
    done = sandbox("run", "-s", session, "chart.py")
    assert "1 picture was not saved" in done.stderr
    assert sandbox("run", "-s", session, "--save-figures", "out", "chart.py").returncode == 0
    assert (tmp_path / "out/figure-1.png").read_bytes().startswith(b"\x89PNG")
    assert sandbox("exec", "-s", session, "--shell", "--", "ls -d /tmp/sandbox-results-*").returncode == 2


def test_node_typescript_and_shell_files_run(sandbox, session, tmp_path):
    (tmp_path / "a.ts").write_text("enum A { X = 4 }\nconsole.log(A.X, process.argv[2])\nprocess.exitCode = 5")
    (tmp_path / "a.sh").write_text("read x; echo $1 $x; kill -9 $$")
    assert (done := sandbox("run", "-s", session, "a.ts", "arg")).returncode == 5, done.stderr
    assert done.stdout == "4 arg\n"
    done = sandbox("run", "-s", session, "a.sh", "one", stdin="two\n")
    assert (done.returncode, done.stdout) == (137, "one two\n")
    assert "SIGKILL" in done.stderr


def test_exit_codes_name_the_limit_the_program_and_our_own_failures(sandbox, session):
    assert sandbox("exec", "-s", session, "--timeout", "1", "--", "sleep", "9").returncode == 124
    assert sandbox("exec", "-s", session, "--", "no-such-program").returncode == 127
    assert sandbox("exec", "-s", session, "--", "/etc/passwd").returncode == 126
    missing = sandbox("exec", "-s", "no-such-session", "--", "true")
    assert missing.returncode == 125
    assert "no-such-session" in missing.stderr
    assert "is the chart" not in missing.stderr
    refused = sandbox("run", "-c", "1")
    assert (refused.returncode, "--session" in refused.stderr) == (2, True)


def test_get_and_describe_show_the_session_as_the_api_server_has_it(sandbox, session, kubectl):
    shown = json.loads(sandbox("get", session, "-o", "json").stdout)
    assert shown["metadata"]["uid"] == kubectl.get("sandboxsession", session)["metadata"]["uid"]
    assert session in sandbox("-A", "-o", "name", "get").stdout.split()
    text = sandbox("describe", session).stdout
    assert "Ready True" in text
    assert "Events:" in text
