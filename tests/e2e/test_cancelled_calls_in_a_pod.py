"""Cancelled calls against a pod, through a port-forward: the tests of tests/integration/test_cancelled_calls.py."""

from collections.abc import AsyncIterator

import pytest_asyncio

from sandbox_client import AsyncSandbox
from sandbox_client.cluster.api import ClusterOptions
from sandbox_client.tools import SandboxTools, cluster_sessions
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.sessions import SESSION, build_template
from tests.integration import test_cancelled_calls as local

globals().update({name: each for name, each in vars(local).items() if name.startswith("test_")})
pytestmark = local.pytestmark

NAME = "cancelled"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(kubectl: Kubectl) -> AsyncIterator[AsyncSandbox]:
    place = {"namespace": kubectl.namespace, "kubeconfig": kubectl.kubeconfig}
    kubectl.apply(build_template(NAME, ""))
    try:
        async with await AsyncSandbox.create(NAME, template=NAME, **place) as sandbox:
            yield sandbox
    finally:
        kubectl.delete(SESSION, NAME)


async def test_the_tools_state_the_facts_of_the_pod(sandbox: AsyncSandbox, kubectl: Kubectl) -> None:
    place = ClusterOptions(kubectl.namespace, kubectl.kubeconfig)
    facts = await SandboxTools(cluster_sessions(NAME, place, template=NAME)).facts()
    assert (facts.is_isolated, facts.network, facts.time_limit) == (True, "none", 300)
