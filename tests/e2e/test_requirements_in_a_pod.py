"""The seven tools against a pod: the tests of tests/integration/test_requirements.py, and what R20 is there."""

import pytest

from sandbox_client.kubernetes_api import ClusterOptions
from sandbox_client.tools import BlockingSandboxTools, cluster_sessions
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import SESSION, Sessions, build_template
from tests.integration import test_requirements as local

globals().update({name: each for name, each in vars(local).items() if name.startswith("test_r") and name[6:8] != "20"})


@pytest.fixture(scope="module")
def open_tools(kubectl: Kubectl):
    """Makes the tools of a session of the cluster, by name; what is made is removed at the end."""
    opened, names = [], []

    def make(name: str, **options) -> BlockingSandboxTools:
        place = ClusterOptions(kubectl.namespace, kubectl.kubeconfig)
        tools = BlockingSandboxTools(cluster_sessions(name, place, **options))
        opened.append(tools)
        names.append(name)
        return tools

    yield make
    for tools in opened:
        tools.close()
    for name in names:
        kubectl.delete(SESSION, name)


@pytest.fixture(scope="module")
def tools(open_tools):
    return open_tools("tools")


@pytest.fixture(scope="module")
def other_tools(open_tools):
    return open_tools("tools-other")


@pytest.fixture(scope="module")
def short(open_tools, kubectl: Kubectl):
    """Those of a session whose cells and commands may take a second."""
    kubectl.apply(build_template("short", "", limits={"executionTimeout": "1s"}))
    return open_tools("tools-short", template="short")


@pytest.fixture(scope="module")
def stored(platform: Platform, kubectl: Kubectl):
    def read(path: str) -> bytes:
        key = f"{platform.storage.prefix}/{kubectl.namespace}/tools/{path}"
        return platform.storage.client().get_object(Bucket=platform.storage.bucket, Key=key)["Body"].read()

    return read


@pytest.fixture(scope="module")
def plant(platform: Platform, kubectl: Kubectl):
    def put(path: str, content: bytes) -> str:
        key = f"{platform.storage.prefix}/{kubectl.namespace}/another/{path}"
        platform.storage.client().put_object(Bucket=platform.storage.bucket, Key=key, Body=content)
        return "another"

    return put


def test_r20_a_suspended_session_is_woken_by_the_next_call_and_the_caller_is_told(open_tools, sessions: Sessions):
    tools = open_tools("tools-asleep")
    tools.execute_code("x = 1; open('kept.txt', 'w').write('k'); None")
    sessions.suspend("tools-asleep")
    sessions.wait_phase("tools-asleep", "Suspended")
    second = tools.execute_code("print('x' in globals(), open('kept.txt').read())")
    assert second.value == "False k\n"
    assert "a new one was started" in second.notice
    assert tools.execute_command("echo on").notice == ""
