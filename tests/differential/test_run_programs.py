"""`sandbox run FILE` ends as `python FILE` and `node FILE` do: every program."""

import shutil
import sys

import pytest

from tests.support.programs import NODE, PYTHON, compare


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PYTHON)
def test_a_python_program_ends_as_with_python(folder, name):
    (folder / "program.py").write_text(PYTHON[name])
    compare("program.py", sys.executable)


@pytest.mark.parametrize("name", NODE)
def test_a_javascript_program_ends_as_with_node(folder, name):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to compare with")
    (folder / "program.js").write_text(NODE[name])
    compare("program.js", node)
