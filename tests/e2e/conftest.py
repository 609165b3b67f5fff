"""The cluster, the installed chart, a namespace under Pod Security `restricted`, and sessions that are cleaned up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.arena import Arena, open_arena
from tests.e2e.support.chart import NAMESPACE, RELEASE, create_bucket, open_system
from tests.e2e.support.isolations import ISOLATIONS, Hostile, open_hostile
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import Platform, open_platform
from tests.e2e.support.sessions import Sessions
from tests.e2e.support.tenants import Try, open_tenant


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster; building one takes longer than any test may."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            if not item.get_closest_marker("full_image") and not item.get_closest_marker("long_attack"):
                item.add_marker(pytest.mark.e2e)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(300, func_only=True))


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The cluster with our images, and its object storage with an empty bucket."""
    platform = open_platform()
    try:
        create_bucket(platform)
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="session")
def system(platform: Platform) -> Kubectl:
    """kubectl in the operator's namespace, with the chart installed."""
    return open_system(platform)


@pytest.fixture
def operator_is_up(system: Kubectl) -> None:
    """Both replicas are there again, whatever the test before did to them."""
    poll("the operator's replicas are ready", lambda: replicas_ready(system) >= 2, timeout=90)


def replicas_ready(system: Kubectl) -> int:
    """How many of the operator's pods are ready."""
    return system.get("deployment", RELEASE).get("status", {}).get("readyReplicas", 0)


@pytest.fixture(scope="session")
def kubectl(system: Kubectl) -> Kubectl:
    """kubectl in the test namespace."""
    return system.within(NAMESPACE)


@pytest.fixture
def sessions(kubectl: Kubectl, operator_is_up: None) -> Iterator[Sessions]:
    """Makes sessions, and deletes them after the test."""
    sessions = Sessions(kubectl)
    try:
        yield sessions
    finally:
        sessions.close()


@pytest.fixture(scope="module", params=ISOLATIONS)
def arena(request: pytest.FixtureRequest, own_node: Platform, system: Kubectl, kubectl: Kubectl) -> Iterator[Arena]:
    """A hostile session on each isolation, and its neighbour: both survive all attacks of a module."""
    poll("the operator's replicas are ready", lambda: replicas_ready(system) >= 2, timeout=90)
    with open_arena(request.param, Sessions(kubectl), system) as arena:
        yield arena


@pytest.fixture(scope="module")
def tenant(kubectl: Kubectl) -> Iterator[Try]:
    """Run kubectl as a tenant with the role `edit`, beside objects of the operator."""
    with open_tenant(kubectl) as run:
        yield run


@pytest.fixture(scope="module", params=ISOLATIONS)
def hostile(request: pytest.FixtureRequest, platform: Platform, kubectl: Kubectl) -> Iterator[Hostile]:
    """A session of each isolation that runs hostile code, shared by the tests of a module. Its egress is Public."""
    with open_hostile(platform, kubectl, request.param) as hostile:
        yield hostile


@pytest.fixture
def attacker(hostile: Hostile) -> Iterator[Hostile]:
    """The hostile session; afterwards its agent and the operator are the same containers, and both work."""
    with hostile.unharmed():
        yield hostile


@pytest.fixture
def image(platform: Platform) -> str:
    """The sandbox image."""
    return platform.image("sandbox-slim")


@pytest.fixture(scope="session")
def own_node(platform: Platform) -> Platform:
    """The platform, where tests may act on the node itself."""
    if not platform.is_own:
        pytest.skip("needs the node itself: runs on our own cluster only")
    return platform
