"""The snippets of README.md that need a cluster, as a reader runs them: with kubectl's current context."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.sessions import SESSION
from tests.support.readme import SNIPPETS

CLUSTER = [snippet for snippet in SNIPPETS if snippet.needs_cluster]
# The environment of these tests stands in for the reader's .venv.
COMMANDS = str(Path(sys.executable).parent)


@pytest.fixture
def kubeconfig(kubectl: Kubectl, tmp_path: Path) -> str:
    """A kubeconfig whose current context has the tests' namespace."""
    path = tmp_path / "kubeconfig"
    path.write_bytes(Path(kubectl.kubeconfig).read_bytes())
    set_namespace = ["config", f"--kubeconfig={path}", "set-context", "--current", f"--namespace={kubectl.namespace}"]
    subprocess.run(["kubectl", *set_namespace], check=True, capture_output=True)
    return str(path)


def test_each_snippet_runs(kubectl: Kubectl, kubeconfig: str, operator_is_up: None) -> None:
    assert CLUSTER
    try:
        for snippet in CLUSTER:
            text = snippet.text.replace(".venv/bin/", f"{COMMANDS}/")
            ended = subprocess.run(
                ["bash", "-euxo", "pipefail", "-c", text],
                env={**os.environ, "KUBECONFIG": kubeconfig},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert ended.returncode == 0, ended.stdout + ended.stderr
            assert "\nhello\n" in ended.stdout
            assert kubectl.get(SESSION, "hello")["spec"]["suspended"] is True
    finally:
        kubectl.delete(SESSION, "hello")
