"""The seven tools against a pod: the tests of tests/integration/test_requirements.py, and what R20 is there."""

import hashlib

import pytest

from sandbox_client import Status
from sandbox_client.cluster.api import ClusterOptions
from sandbox_client.tools import BlockingSandboxTools, cluster_sessions
from tests.e2e.support.kubectl import Kubectl, poll
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
        tools = BlockingSandboxTools(cluster_sessions(name, place, **options), max_text=None)
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


@pytest.fixture
def put(platform: Platform, kubectl: Kubectl):
    """Puts an object into a session's workspace as anybody would."""

    def put(session: str, path: str, content: bytes) -> None:
        key = platform.storage.key(kubectl.namespace, session, path)
        platform.storage.client().put_object(Bucket=platform.storage.bucket, Key=key, Body=content)

    return put


def test_r19_files_that_others_put_into_the_bucket_are_there_before_the_next_call(sessions: Sessions, put):
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        assert not sandbox.files.exists("incoming/a.csv")
        put(name, "incoming/a.csv", b"one")
        assert sandbox.run_code("open('incoming/a.csv').read()").text == "'one'"
        put(name, "incoming/a.csv", b"replaced")
        assert sandbox.run("cat incoming/a.csv").stdout == "replaced"


def test_r21_with_sync_on_change_every_file_is_saved_without_being_asked(
    sessions: Sessions, platform: Platform, kubectl: Kubectl
):
    name = sessions.ready(workspace={"sync": "OnChange"})
    with sessions.connect(name) as sandbox:
        sandbox.run("mkdir -p deep node_modules && echo saved > deep/file.txt && echo no > node_modules/x.js")
        wanted = {"deep/file.txt": hashlib.sha256(b"saved\n").hexdigest()}
        poll("the file is saved", lambda: platform.storage.digests(kubectl.namespace, name) == wanted, timeout=30)


def test_r25_a_memory_bomb_ends_its_context_only(sessions: Sessions):
    resources = {"requests": {"memory": "256Mi"}, "limits": {"memory": "640Mi", "cpu": "1"}}
    template = build_template("small", "", resources={"default": resources})
    sessions.kubectl.apply(template)
    name = sessions.ready(templateRef={"name": "small"})
    with sessions.connect(name) as sandbox:
        other = sandbox.contexts.create().id
        assert sandbox.run_code("kept = 7", context=other).ok
        bomb = sandbox.run_code("kept = []\nwhile True:\n    kept.append(b'x' * (4 << 20))", timeout=60)
        assert (bomb.status, bomb.limit, bomb.context_restarted) == (Status.OOM_KILLED, "memory", True)
        assert "the limit of 640 MiB" in bomb.error.value
        assert sandbox.run_code("kept", context=other).text == "7"
    restarts = [each["restartCount"] for each in sessions.pod(name)["status"]["containerStatuses"]]
    assert restarts == [0, 0]


def test_r20_a_suspended_session_is_woken_by_the_next_call_and_the_caller_is_told(open_tools, sessions: Sessions):
    tools = open_tools("tools-asleep")
    tools.execute_code("x = 1; open('kept.txt', 'w').write('k'); None")
    sessions.suspend("tools-asleep")
    sessions.wait_phase("tools-asleep", "Suspended")
    second = tools.execute_code("print('x' in globals(), open('kept.txt').read())")
    assert second.value == "False k\n"
    assert "was suspended and has been resumed" in second.notice
    assert "saved files were kept" in second.notice
    assert "variables" in second.notice
    assert tools.execute_command("echo on").notice == ""
