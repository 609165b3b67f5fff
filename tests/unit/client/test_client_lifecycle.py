"""Sessions of a cluster over their whole life, as sandboxes and the cluster client see it, at a scripted API server."""

import asyncio
import base64
import datetime as dt
import logging

import grpc
import pytest

from sandbox_client import (
    AsyncCluster,
    AsyncSandbox,
    Cluster,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotSupported,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
)
from sandbox_client.cluster import start_policy
from sandbox_client.lifecycle.control import LocalControl
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_testing.fake_agent import FakeAgent
from tests.support.session_api import problem, session
from tests.support.waiting import until

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


def at(seconds):
    return (NOW + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def become(phase, **status):
    """Return an operator that puts each session into a phase at once."""

    def operator(found):
        if found["metadata"].get("generateName"):
            assert found["metadata"]["generateName"] == "sandbox-"
        found["metadata"].setdefault("resourceVersion", "1")
        found["metadata"].setdefault("uid", "u")
        wanted = "Suspended" if found["spec"].get("suspended") else phase
        found["status"] = {"phase": wanted, "accessSecretName": "access", **status}

    return operator


def has_problem(phase, reason, message, **status):
    def operator(found):
        found["metadata"].setdefault("resourceVersion", "1")
        found["status"] = problem(phase, reason, message, **status)["status"]

    return operator


@pytest.fixture
def agent():
    """The agent has a thread of its own, because a synchronous sandbox blocks the test's."""
    loop, agent = LoopThread(), FakeAgent()
    loop.run(agent.__aenter__())
    yield agent
    loop.run(agent.__aexit__(None, None, None))
    loop.stop()


@pytest.fixture
def place(options):
    return {"kubeconfig": options.kubeconfig}


@pytest.fixture
def ready(api, agent):
    endpoint = agent.endpoint
    access = {
        "token": endpoint.token.encode(),
        "ca.crt": endpoint.ca_certificate,
        "endpoint": endpoint.address.encode(),
        "serverName": endpoint.server_name.encode(),
        "podName": b"p",
    }
    api.secrets["access"] = {key: base64.b64encode(value).decode() for key, value in access.items()}
    api.operator = become("Ready")
    return {"in_cluster": True}


@pytest.fixture
async def cluster(options):
    async with await AsyncCluster.open(kubeconfig=options.kubeconfig) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("arguments", "stays"),
    [({}, False), ({"name": "s"}, True), ({"ephemeral": False}, True), ({"name": "s", "ephemeral": True}, False)],
    ids=["no name", "a name", "no name, kept", "a name, not kept"],
)
async def test_a_session_without_a_name_ends_with_the_block(api, place, ready, arguments, stays):
    async with await AsyncSandbox.create(**arguments, **place, **ready) as sandbox:
        assert (await sandbox.run_code("x")).ok
        assert list(api.sessions) == [sandbox.name]
        assert (await sandbox.info()).is_ready
        # If this program were killed, the operator would delete the session some time after suspending it.
        assert ("generateName" in api.sessions[sandbox.name]["metadata"]) is (arguments != {"name": "s"})
    assert bool(api.sessions) is stays


def test_the_same_without_asyncio(api, place, ready):
    with Sandbox.create(labels={"team": "a"}, **place, **ready) as sandbox:
        assert sandbox.run_code("x").ok
        assert [info.name for info in Sandbox.list({"team": "a"}, **place)] == [sandbox.name]
        assert Sandbox.list({"team": "b"}, **place) == []
        assert sandbox.info().labels == {"team": "a"}
        sandbox.suspend()
        assert sandbox.info().phase == "Suspended"
        sandbox.resume()
        assert sandbox.info().phase == "Ready"
    assert api.sessions == {}


async def test_an_ephemeral_session_that_does_not_start_is_deleted_again(api, place, monkeypatch):
    monkeypatch.setitem(start_policy._HOPELESS, "TemplateNotFound", (0.2, "Name another."))
    api.operator = has_problem("Pending", "TemplateNotFound", "spec.templateRef.name: there is no SandboxTemplate x")
    with pytest.raises(SessionFailed, match="there is no SandboxTemplate x"):
        await AsyncSandbox.create(template="x", **place)
    assert api.sessions == {}
    with pytest.raises(SessionFailed, match="there is no SandboxTemplate x"):
        await AsyncSandbox.create("s", template="x", **place)
    assert list(api.sessions) == ["s"]


async def test_a_call_on_a_session_whose_end_has_passed_says_so_within_seconds(api, agent, place, ready, monkeypatch):
    monkeypatch.setitem(start_policy._HOPELESS, "Expired", (0.2, start_policy._HOPELESS["Expired"][1]))
    api.watches_last = True

    def suspend_again(found):
        found["spec"]["suspended"] = True
        found["status"] |= problem("Suspended", "Expired", "the session reached spec.lifecycle.expiresAt")["status"]

    async with await AsyncSandbox.create("s", **place, **ready) as sandbox:
        api.operator = suspend_again
        suspend_again(api.sessions["s"])
        agent.refuse("ExecuteBriefly", grpc.StatusCode.FAILED_PRECONDITION, "DRAINING", times=9)
        agent.refuse("Execute", grpc.StatusCode.FAILED_PRECONDITION, "DRAINING", times=9)
        with pytest.raises(SessionFailed, match=r"could not be resumed: it is Suspended .*`sandbox resume s --expires"):
            async with asyncio.timeout(20):
                await sandbox.run_code("1")


async def test_an_ephemeral_session_is_deleted_if_the_create_is_cancelled(api, place):
    api.operator = become("Starting")
    creating = asyncio.create_task(AsyncSandbox.create(**place))
    await asyncio.to_thread(until, lambda: api.sessions)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert api.sessions == {}


async def test_a_failure_to_delete_does_not_hide_the_result_but_is_logged(api, place, ready, caplog):
    with caplog.at_level(logging.WARNING):
        async with await AsyncSandbox.create(**place, **ready) as sandbox:
            api.refusal = (500, "etcd is away")
    assert f"the ephemeral session {sandbox.name} was not deleted" in caplog.text
    assert "etcd is away" in caplog.text


async def test_an_ephemeral_session_that_is_gone_already_is_no_problem(api, place, ready, caplog):
    async with await AsyncSandbox.create(**place, **ready):
        api.sessions.clear()
    assert caplog.text == ""


async def test_a_sandbox_deletes_its_session_once(api, place, ready):
    async with await AsyncSandbox.create("s", **place, **ready) as sandbox:
        await sandbox.delete()
        assert api.sessions == {}
    assert [verb for verb, *_ in api.writes] == ["POST", "DELETE"]


def test_a_sandbox_without_asyncio_deletes_its_session_once(api, place, ready):
    with Sandbox.create("s", **place, **ready) as sandbox:
        sandbox.delete()
        with pytest.raises(RuntimeError, match="closed"):
            sandbox.run_code("x")
    assert [verb for verb, *_ in api.writes] == ["POST", "DELETE"]


async def test_a_deletion_that_fails_is_raised_and_the_sandbox_is_closed(api, place, ready):
    sandbox = await AsyncSandbox.create("s", **place, **ready)
    api.refusal = (403, "sandboxsessions is forbidden")
    with pytest.raises(SandboxError, match="forbidden"):
        await sandbox.delete()


async def test_unknown_fields_are_refused_by_the_server_instead_of_dropped(api, cluster):
    api.operator = become("Ready")
    await cluster.create("s")
    await cluster.set_timeout("s", "1h")
    assert [(verb, query) for verb, _, query in api.writes] == [
        ("POST", {"fieldValidation": ["Strict"]}),
        ("PATCH", {"fieldValidation": ["Strict"]}),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"idle_timeout": "-5m"}, "idle_timeout: '-5m' is not a duration: write seconds"),
        ({"lifetime": 0}, "lifetime: 0 must be longer than 0"),
        ({"on_idle": "explode"}, "on_idle: 'explode' is none of suspend, delete"),
        ({"workspace": "../x"}, "workspace: '../x' is not a name"),
        ({"labels": {"a b": "c"}}, "labels: 'a b' is not the key of a label"),
        ({"template": "a", "spec": {"templateRef": {"name": "b"}}}, "template: it is given twice, as the argument"),
    ],
)
async def test_a_wrong_argument_of_a_create_is_named_and_nothing_is_sent(api, cluster, place, arguments, message):
    for create in (cluster.create("s", **arguments), AsyncSandbox.create("s", **place, **arguments)):
        with pytest.raises(InvalidArgument) as caught:
            await create
        assert caught.value.message.startswith(message)
    assert api.writes == []


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (
            (403, 'sandboxsessions is forbidden: User "dev" cannot create resource "sandboxsessions"'),
            "`sandbox doctor`",
        ),
        ((404, 'sandboxsessions.sandboxsessions.dev "s" not found'), "`sandbox get` lists the sessions"),
        ((404, 'namespaces "team-b" not found'), "Create this namespace, or name another one"),
    ],
)
async def test_a_refusal_of_the_api_server_says_what_to_do(api, cluster, refusal, advice):
    api.refusal = refusal
    with pytest.raises(SandboxError) as caught:
        await cluster.create("s")
    assert refusal[1] in caught.value.message
    assert advice in caught.value.message


async def test_a_quota_is_not_mistaken_for_a_missing_permission(api, cluster):
    api.refusal = (403, 'sandboxsessions "s" is forbidden: exceeded quota: sessions=1')
    with pytest.raises(SandboxError) as caught:
        await cluster.create("s")
    assert "doctor" not in caught.value.message


async def test_a_name_that_exists_already_says_what_to_do(api, cluster):
    api.sessions["s"] = session("Ready")
    with pytest.raises(Conflict, match=r"session s: .* already exists\. Connect to it, delete it first"):
        await cluster.create("s")


async def test_limits_that_the_template_imposed_are_in_the_notice(place, ready, api):
    condition = {"type": "LifecycleEffective", "status": "False", "reason": "LifetimeCapped", "message": "8 h at most"}
    api.operator = become("Ready", conditions=[condition])
    async with await AsyncSandbox.create(lifetime="2d", **place, **ready) as sandbox:
        assert sandbox.notice == "8 h at most"


async def test_the_cluster_client_in_both_forms(api, options):
    api.operator = become("Ready")
    async with await AsyncCluster.open("team", kubeconfig=options.kubeconfig) as cluster:
        made = await cluster.create("s", idle_timeout="1h", labels={"a": "b"})
        assert (made.name, made.phase, made.workspace, made.template) == ("s", "Ready", "s", "default")
        assert [each.name for each in await cluster.list({"a": "b"})] == ["s"]
        assert (await cluster.suspend("s")).phase == "Suspended"
        assert (await cluster.get("s")).is_suspended
        assert (await cluster.resume("s")).is_ready
        await cluster.delete("s")
        for call in (cluster.get, cluster.delete, cluster.suspend, cluster.resume):
            with pytest.raises(NotFound, match="session s"):
                await call("s")
        with pytest.raises(NotFound, match="session s"):
            await cluster.set_timeout("s", 60)


def test_the_cluster_client_without_asyncio(api, options):
    api.operator = become("Ready")
    with Cluster.open(kubeconfig=options.kubeconfig) as cluster:
        assert cluster.namespace == "team"
        assert cluster.create("s", wait=False).name == "s"
        assert [each.name for each in cluster.list()] == ["s"]
        cluster.delete("s")
        assert cluster.list() == []


async def test_the_end_of_a_session_moves_by_the_servers_clock(api, cluster):
    api.operator = become("Ready")
    await cluster.create("s")
    api.skew = 5 * 3600
    await cluster.set_timeout("s", "30m")
    moment = dt.datetime.fromisoformat(api.sessions["s"]["spec"]["lifecycle"]["expiresAt"])
    assert abs((moment - dt.datetime.now(dt.UTC)).total_seconds() - 5 * 3600 - 1800) < 60
    given = NOW + dt.timedelta(hours=7)
    await cluster.set_timeout("s", given)
    assert api.sessions["s"]["spec"]["lifecycle"]["expiresAt"] == at(7 * 3600)
    await cluster.set_timeout("s", None)
    assert "expiresAt" not in api.sessions["s"]["spec"]["lifecycle"]


@pytest.mark.parametrize(
    ("expires", "words"),
    [
        (NOW - dt.timedelta(hours=1), "is in the past"),
        (dt.datetime(2030, 1, 1), "has no time zone"),  # noqa: DTZ001 - that is the point
        ("later", "'later' is not a duration"),
        (0, "must be longer than 0"),
    ],
)
async def test_a_wrong_end_is_refused_and_changes_nothing(api, cluster, expires, words):
    api.sessions["s"] = session("Ready")
    for call in (cluster.set_timeout("s", expires), cluster.resume("s", expires=expires)):
        with pytest.raises(InvalidArgument, match=words) as caught:
            await call
        assert caught.value.field == "expires"
    assert api.writes == []


def computed(bound):
    """Return an operator that computes the end of a session from its spec and the end of its pod's lifetime."""

    def operator(found):
        metadata = found["metadata"]
        metadata["generation"] = metadata.get("generation", 0) + 1
        asked = found["spec"].get("lifecycle", {}).get("expiresAt")
        found["status"] = {
            "phase": "Ready",
            "observedGeneration": metadata["generation"],
            "startedAt": at(0),
            "expiresAt": min(bound, asked) if asked else bound,
        }

    return operator


async def test_an_end_beyond_the_maximum_lifetime_is_refused_before_anything_is_changed(api, cluster):
    api.operator = computed(at(8 * 3600))
    await cluster.create("s", wait=False)
    with pytest.raises(FailedPrecondition, match=f"maximum lifetime of its pod ends at {at(8 * 3600)}") as caught:
        await cluster.set_timeout("s", "9h")
    assert caught.value.reason == "LIFETIME_BOUND"
    assert [verb for verb, *_ in api.writes] == ["POST"]
    moved = await cluster.set_timeout("s", "2h")
    assert abs((moved - dt.datetime.now(dt.UTC)).total_seconds() - 7200) < 60
    # The status does not show the maximum lifetime any more, so only the operator's answer does.
    with pytest.raises(FailedPrecondition, match="maximum lifetime"):
        await cluster.set_timeout("s", "9h")


async def test_an_end_counts_even_if_the_operator_does_not_answer(api, cluster, monkeypatch):
    monkeypatch.setattr("sandbox_client.cluster.client._EXPIRY_SECONDS", 1.0)
    api.sessions["s"] = session("Ready", observedGeneration=1)
    api.sessions["s"]["metadata"]["generation"] = 2
    moved = await cluster.set_timeout("s", 60)
    assert abs((moved - dt.datetime.now(dt.UTC)).total_seconds() - 60) < 60


async def test_a_resume_keeps_the_end_unless_the_caller_sets_a_new_one(api, cluster):
    api.operator = become("Ready")
    api.sessions["s"] = session("Suspended")
    api.sessions["s"]["spec"] = {"suspended": True, "lifecycle": {"expiresAt": at(60), "idleTimeout": "1h"}}
    await cluster.resume("s")
    assert api.sessions["s"]["spec"]["lifecycle"] == {"expiresAt": at(60), "idleTimeout": "1h"}
    await cluster.resume("s", expires=NOW + dt.timedelta(hours=2))
    assert api.sessions["s"]["spec"]["lifecycle"]["expiresAt"] == at(7200)


async def test_a_suspend_waits_for_the_status_after_the_change(api, cluster):
    """A status from before, such as that of a session that was Failed, does not end the wait."""
    api.sessions["s"] = session("Failed", observedGeneration=1)
    api.sessions["s"]["metadata"]["generation"] = 1

    def operator(found):
        found["metadata"]["generation"] += 1

    api.operator = operator
    seen = session("Suspended", observedGeneration=2)
    seen["metadata"]["generation"] = 2
    api.watch_events = [{"type": "MODIFIED", "object": seen}]
    assert (await cluster.suspend("s", timeout=10)).phase == "Suspended"


async def test_a_suspend_that_takes_too_long_says_why(api, cluster):
    def operator(found):
        found["status"] = problem("Suspending", "PushFailed", "storage is away")["status"]

    api.sessions["s"] = session("Ready")
    api.operator = operator
    with pytest.raises(SessionFailed, match=r"was not Suspended within 1 s: it is Suspending .*storage is away"):
        await cluster.suspend("s", timeout=1)


async def test_a_local_session_says_what_it_cannot_do():
    control = LocalControl("default", "public")
    assert (await control.info()).name == "local/default"
    for call in (control.suspend(1), control.resume(None, 1), control.set_timeout("1h")):
        with pytest.raises(
            NotSupported, match=r"session local/default is a part of this program: .* It ends with `close`"
        ):
            await call
    await control.delete()


async def test_a_sandbox_that_has_only_an_address_says_so(sandbox):
    for call in (sandbox.info(), sandbox.suspend(), sandbox.resume(), sandbox.set_timeout(5), sandbox.delete()):
        with pytest.raises(NotSupported, match="opened with an address, not with a session's name"):
            await call


async def test_no_cluster_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(SandboxUnavailable, match=r"there is no such file\. Check --kubeconfig"):
        await AsyncSandbox.list(kubeconfig=str(tmp_path / "none"))
