"""One scripted agent, a sandbox connected to it, and an API server without sessions, for each test."""

import pytest

from sandbox_client import AsyncSandbox
from sandbox_client.cluster.api import ClusterOptions
from sandbox_testing.fake_agent import FakeAgent
from tests.support.session_api import ApiServer, serve


@pytest.fixture(autouse=True)
def no_local_sessions(tmp_path_factory, monkeypatch):
    """Keep the sessions on this machine out of lists: those of whoever runs the tests."""
    folder = tmp_path_factory.getbasetemp() / "no-sessions"
    for variable in ("XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(folder))


@pytest.fixture
async def agent():
    async with FakeAgent() as agent:
        yield agent


@pytest.fixture
async def sandbox(agent):
    async with AsyncSandbox(agent.endpoint) as sandbox:
        yield sandbox


@pytest.fixture
def api():
    yield from serve(ApiServer())


@pytest.fixture
def options(api, tmp_path):
    return ClusterOptions(kubeconfig=api.write_kubeconfig(tmp_path))
