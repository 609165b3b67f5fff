"""An API server without sessions, and one scripted agent, for each test."""

import pytest

from sandbox_testing.fake_agent import FakeAgent
from tests.support.session_api import ApiServer, serve


@pytest.fixture
async def agent():
    async with FakeAgent() as agent:
        yield agent


@pytest.fixture
def api():
    yield from serve(ApiServer())
