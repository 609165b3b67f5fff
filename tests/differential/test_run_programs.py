"""`sandbox run FILE` ends as `python FILE` and `node FILE` do: every program."""

import pytest

from tests.support.programs import NODE, PYTHON, compare_node, compare_python


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PYTHON)
def test_a_python_program_ends_as_with_python(folder, name):
    compare_python(folder, name)


@pytest.mark.parametrize("name", NODE)
def test_a_javascript_program_ends_as_with_node(folder, name):
    compare_node(folder, name)
