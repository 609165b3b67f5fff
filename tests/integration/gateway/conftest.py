"""A registry of local sessions for one test. Its sessions end with the test."""

import asyncio
import sys
import tempfile

import pytest

from sandbox_client.local.named import operations
from sandbox_client.local.named.registry import Registry

if sys.platform != "linux":
    collect_ignore_glob = ["*"]


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for variable, name in (("XDG_STATE_HOME", "state"), ("XDG_DATA_HOME", "data")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    # A long path would be replaced by /tmp.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield tmp_path
        for name in Registry().names():
            asyncio.run(operations.delete(name))
