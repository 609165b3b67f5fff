"""README.md followed by a newcomer: in a fresh copy of the sources, each snippet runs as it is written."""

import os
import shutil
import subprocess

import pytest

from tests.support.readme import ROOT, SNIPPETS

LOCAL = [snippet for snippet in SNIPPETS if not snippet.needs_cluster]
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The files that a clone would have, without an environment."""
    folder = tmp_path_factory.mktemp("clone")
    listed = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    for name in subprocess.check_output(listed, text=True).split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run(snippet, folder):
    """Run a snippet as a reader would: in the folder, without this test's own environment."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    commands = {
        "sh": ["bash", "-euxo", "pipefail", "-c", snippet.text],
        "python": [".venv/bin/python", "-c", snippet.text],
    }
    ended = subprocess.run(
        commands[snippet.language], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{snippet}:\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    return ended.stdout


def test_every_snippet_says_how_to_run_it():
    assert {snippet.language for snippet in SNIPPETS} == {"sh", "python"}
    assert len(LOCAL) >= 4
    assert len(SNIPPETS) > len(LOCAL)


@pytest.mark.timeout(1200)
def test_each_snippet_runs_in_order(copy):
    outputs = [run(snippet, copy) for snippet in LOCAL]
    assert (copy / ".demo/chart.png").read_bytes().startswith(PNG)
    shown = "\n".join(outputs)
    assert "a png picture of " in shown
    assert "2 data.csv" in shown
    assert "\n42\n" in f"\n{shown}"
