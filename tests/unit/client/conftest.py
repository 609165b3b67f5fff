"""One scripted agent, and a sandbox connected to it, for each test."""

import pytest

from sandbox_client import AsyncSandbox
from sandbox_testing.fake_agent import FakeAgent


@pytest.fixture
async def agent():
    async with FakeAgent() as agent:
        yield agent


@pytest.fixture
async def sandbox(agent):
    async with AsyncSandbox(agent.endpoint) as sandbox:
        yield sandbox
