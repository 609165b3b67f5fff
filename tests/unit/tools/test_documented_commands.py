"""Every `sandbox` line of the documents that is meant for a cluster: the command takes its words.

There is no cluster here, so a command that understands its words fails with 125, and one that does not with 2.
"""

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox_client.cli import main
from tests.support.install_pages import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"(?:^|\| |&& |; do )(?:\.venv/bin/)?sandbox (.*?)(?=$| \| | && | &$| > | < |; done)", re.MULTILINE
)
STARTS_A_LOCAL_SESSION = {"run", "exec", "mcp"}
NEEDS_NO_CLUSTER = {"completion", "endpoint", "gateway"}


def commands(page: Path) -> Iterator[list[str]]:
    """Return the words of each `sandbox` command in the shell blocks of a page, without the name of the program."""
    for block in BLOCK.findall(page.read_text()):
        for text in COMMAND.findall(block.replace("\\\n", " ")):
            # A quotation over several lines is code, which this test is not about.
            with contextlib.suppress(ValueError):
                yield shlex.split(text, comments=True)


def for_a_cluster(words: list[str]) -> bool:
    """Return whether a command would work on a session of the cluster, or on all of them."""
    # `-it` needs a terminal.
    if words[0] in NEEDS_NO_CLUSTER or {"--help", "-it"} & set(words):
        return False
    if "--local" in words or any(word.startswith("local/") for word in words):
        return False
    return words[0] not in STARTS_A_LOCAL_SESSION or bool({"--session", "-s"} & set(words))


LINES = sorted({tuple(words) for page in DOCUMENTS for words in commands(page) if for_a_cluster(words)})


def test_many_lines_are_found():
    assert len(LINES) > 30
    assert {"push", "doctor", "create", "workspaces", "timeout"} <= {words[0] for words in LINES}


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_a_documented_command_takes_its_words(words, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("SANDBOX_STORE", "s3://bucket/prefix")
    monkeypatch.setenv("SANDBOX_STORE_ENDPOINT_URL", "http://127.0.0.1:1")
    # A file that the page made before.
    words = [str(ROOT / "examples/demo.py") if word.endswith(".py") else word for word in words]
    done = CliRunner().invoke(main, words)
    # The doctor reports that there is no cluster as a finding.
    assert done.exit_code == (1 if words[0] == "doctor" else 125), done.output
