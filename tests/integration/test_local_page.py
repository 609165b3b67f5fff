"""Every command and program of docs/local.md runs as it is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "local.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("language", "text"), BLOCKS, ids=[f"block {number}" for number in range(len(BLOCKS))])
def test_the_page_is_true(language, text, tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "KUBECONFIG": str(tmp_path / "no-kubeconfig"),
    }
    (tmp_path / "work").mkdir()
    words = ["bash", "-euo", "pipefail", "-c", text] if language == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(
        words, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    subprocess.run(["sandbox", "delete", "local/analysis"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in re.findall(r"# (\d+)\b", text):
        assert expected in done.stdout.split()


def test_the_page_has_examples():
    assert len(BLOCKS) > 3
