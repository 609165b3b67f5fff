"""`sandbox run FILE` ends as `python FILE` and `node FILE` do: a sample. tests/differential runs all programs."""

import pytest

from tests.support.programs import compare_node, compare_python

SAMPLE = (
    "atexit that fails",
    "thread",
    "daemon thread",
    "thread that fails",
    "exit text",
    "exit -1",
    "os._exit",
    "SIGTERM",
    "error",
    "asyncio",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SAMPLE)
def test_a_python_program_ends_as_with_python(folder, name):
    compare_python(folder, name)


@pytest.mark.parametrize("name", ["timer", "unref", "exitCode", "exit", "late rejection", "error in a timer"])
def test_a_javascript_program_ends_as_with_node(folder, name):
    compare_node(folder, name)
