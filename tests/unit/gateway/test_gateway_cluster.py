"""The sessions of a cluster, at a scripted API server with the namespace `team`."""

import asyncio
import base64
import concurrent.futures
import contextlib
import copy
import datetime as dt
import itertools
import json

import pytest

from sandbox_client.cluster.api import ClusterOptions, open_client
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.errors import (
    Conflict,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
)
from sandbox_gateway.backend import Caller, NewSession
from sandbox_gateway.backends.cluster import ClusterBackend
from sandbox_gateway.backends.notes import ANNOTATION, ON_EXPIRY, OWNER_LABEL, owner_label, read_session
from sandbox_gateway.backends.starts import Starts

ME = Caller(name="ci", namespace="team", key_id="k1")
USER = Caller(name="user:system:serviceaccount:team:bot", namespace="team")


class Operator:
    """Makes each session Ready, or suspended, at once."""

    def __init__(self):
        self.uids, self.fails = 0, False

    def __call__(self, session):
        metadata = session["metadata"]
        if "uid" not in metadata:
            self.uids += 1
            created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=self.uids)
            metadata |= {
                "uid": f"u{self.uids}",
                "namespace": "team",
                "resourceVersion": "1",
                "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        phase = "Failed" if self.fails else "Suspended" if session["spec"].get("suspended") else "Ready"
        session["status"] = {
            "phase": phase,
            "accessSecretName": "access",
            "podName": "p",
            "startedAt": "2026-01-01T00:00:00Z",
        }
        if end := session["spec"].get("lifecycle", {}).get("expiresAt"):
            session["status"]["expiresAt"] = end


@pytest.fixture
def operator(api, agent):
    api.operator = Operator()
    endpoint = agent.endpoint
    access = {
        "token": endpoint.token.encode(),
        "ca.crt": endpoint.ca_certificate,
        "endpoint": endpoint.address.encode(),
        "serverName": endpoint.server_name.encode(),
        "podName": b"p",
    }
    api.secrets["access"] = {key: base64.b64encode(value).decode() for key, value in access.items()}
    return api.operator


@pytest.fixture
async def backend(api, operator, tmp_path):
    client, _, _ = open_client(ClusterOptions(kubeconfig=api.write_kubeconfig(tmp_path)))
    backend = ClusterBackend(client, {"base": "", "py": "python"}, is_direct=True, start_seconds=5)
    yield backend
    await backend.close()


async def test_a_session_is_a_resource_with_the_clients_words(backend, api):
    before = dt.datetime.now(dt.UTC)
    made = await backend.create(
        ME,
        NewSession(template="py", seconds=600, env={"A": "1"}, metadata={"user": "ada", "wörd": "ü"}, egress="none"),
    )
    [resource] = copy.deepcopy([*api.sessions.values()])
    end = dt.datetime.fromisoformat(resource["spec"]["lifecycle"].pop("expiresAt"))
    assert 599 <= (end - before).total_seconds() <= 605
    assert resource["spec"] == {
        "templateRef": {"name": "python"},
        "env": [{"name": "A", "value": "1"}],
        "egress": "None",
        "lifecycle": {"onExpiry": "Delete"},
    }
    assert resource["metadata"]["labels"] == {OWNER_LABEL: "ci"}
    assert json.loads(resource["metadata"]["annotations"][ANNOTATION]) == {
        "owner": "ci",
        "metadata": dict(made.metadata),
        "seconds": 600,
        "key": "k1",
    }
    assert (made.info.phase, made.owner, made.uid, made.key_id) == ("Ready", "ci", "u1", "k1")
    assert made.metadata == {"user": "ada", "wörd": "ü"}
    assert await backend.get(ME, made.info.name) == made
    assert await backend.list(ME, {"user": "ada"}) == [made]
    assert await backend.list(ME, {"user": "bob"}) == []


async def test_defaults_are_the_templates(backend, api):
    await backend.create(ME, NewSession(template="base", name="plain", on_timeout="suspend"))
    assert api.sessions["plain"]["spec"] == {"templateRef": {"name": "default"}, "lifecycle": {"onExpiry": "Suspend"}}


async def test_an_ephemeral_session_is_one_that_the_operator_deletes_in_the_end(backend, api):
    await backend.create(ME, NewSession(name="sandbox-1", on_timeout="suspend", is_ephemeral=True))
    await backend.create(ME, NewSession(name="kept", on_timeout="suspend"))
    assert api.sessions["sandbox-1"]["metadata"]["generateName"] == "sandbox-"
    assert "generateName" not in api.sessions["kept"]["metadata"]


async def test_calls_share_a_connection_which_follows_its_session(backend, api, agent):
    await backend.create(ME, NewSession(name="s"))
    first, second = await asyncio.gather(backend.connect(ME, "s"), backend.connect(ME, "s"))
    assert first is second
    assert await backend.connect(ME, "s", wake=False) is not first
    assert first.endpoint.address == agent.endpoint.address
    reads = len([path for path in api.reads if path.endswith("/s")])
    await asyncio.gather(*(backend.connect(ME, "s") for _ in range(20)))
    assert len([path for path in api.reads if path.endswith("/s")]) == reads


async def test_a_suspended_session_is_resumed_or_refused(backend, api):
    await backend.create(ME, NewSession(name="s"))
    assert (await backend.suspend(ME, "s")).info.phase == "Suspended"
    with pytest.raises(FailedPrecondition, match="is suspended"):
        await backend.connect(ME, "s", wake=False)
    await backend.connect(ME, "s")
    assert api.sessions["s"]["spec"]["suspended"] is False
    await backend.suspend(ME, "s")
    resumed = await backend.resume(ME, "s", 300)
    assert resumed.info.phase == "Ready"
    assert 295 < (resumed.info.expires_at - dt.datetime.now(dt.UTC)).total_seconds() <= 302


async def test_a_suspend_ends_the_calls_of_connections_that_do_not_follow(backend):
    await backend.create(ME, NewSession(name="s"))
    following, bound = await backend.connect(ME, "s"), await backend.connect(ME, "s", wake=False)
    await bound.contexts.list()
    await backend.suspend(ME, "s")
    with pytest.raises(SandboxUnavailable, match="closed"):
        await bound.contexts.list()
    await following.contexts.list()


@pytest.mark.parametrize("on_timeout", ["delete", "suspend"])
async def test_a_session_that_is_kept_has_no_end_until_it_is_resumed(backend, api, on_timeout):
    choice = on_timeout.capitalize()
    await backend.create(ME, NewSession(name="s", seconds=5, on_timeout=on_timeout))
    # The second one does not take the first one's choice for the client's.
    for _ in range(2):
        await backend.suspend(ME, "s", keep=True)
        assert api.sessions["s"]["spec"]["lifecycle"] == {"onExpiry": "Suspend"}
        assert api.sessions["s"]["spec"]["suspended"] is True
    resumed = await backend.resume(ME, "s", 600)
    lifecycle = api.sessions["s"]["spec"]["lifecycle"]
    assert (lifecycle["onExpiry"], ON_EXPIRY in api.sessions["s"]["metadata"]["annotations"]) == (choice, False)
    assert dt.datetime.fromisoformat(lifecycle["expiresAt"]) > dt.datetime.now(dt.UTC) + dt.timedelta(seconds=500)
    assert resumed.info.resource["spec"]["lifecycle"] == lifecycle


@pytest.mark.parametrize("verb", ["resume", "connect"])
async def test_a_kept_session_does_not_outlast_its_key(backend, api, verb):
    bounded = Caller(name="ci", namespace="team", max_seconds=60)
    await backend.create(bounded, NewSession(name="s", seconds=5))
    await backend.suspend(bounded, "s", keep=True)
    await getattr(backend, verb)(bounded, "s")
    lifecycle = api.sessions["s"]["spec"]["lifecycle"]
    assert lifecycle["onExpiry"] == "Delete"
    assert dt.datetime.fromisoformat(lifecycle["expiresAt"]) < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=65)


async def test_the_end_can_be_moved(backend, api):
    await backend.create(ME, NewSession(name="s", seconds=100))
    ends = await backend.set_timeout(ME, "s", 500)
    assert dt.datetime.fromisoformat(api.sessions["s"]["spec"]["lifecycle"]["expiresAt"]) == ends


async def test_a_name_is_one_session_of_its_caller(backend, api):
    made = await asyncio.gather(*(backend.create(ME, NewSession(name="mine")) for _ in range(3)))
    assert {each.uid for each in made} == {"u1"}
    with pytest.raises(Conflict, match="has not created"):
        await backend.create(USER, NewSession(name="mine"))
    api.operator({"metadata": {}, "spec": {}})
    api.sessions["by-hand"] = {"metadata": {"name": "by-hand", "uid": "x"}, "spec": {}, "status": {"phase": "Ready"}}
    with pytest.raises(Conflict):
        await backend.create(ME, NewSession(name="by-hand"))


async def test_another_namespace_is_never_seen(backend):
    await backend.create(ME, NewSession(name="s"))
    for caller in (Caller(name="ci", namespace="other"), Caller(name="ci")):
        for call in (backend.get, backend.connect, backend.suspend, backend.resume, backend.delete):
            with pytest.raises(NotFound):
                await call(caller, "s")
        with pytest.raises(NotFound):
            await backend.set_timeout(caller, "s", 1)
    assert (await backend.get(ME, "s")).info.phase == "Ready"


async def test_users_of_one_issuer_see_their_own_sessions_only(backend):
    ada, eve = (Caller(name=f"user:oauth:{name}", namespace="team", sees_own_only=True) for name in ("ada", "eve"))
    made = await backend.create(ada, NewSession(name="s"))
    await backend.create(ME, NewSession(name="key"))
    # The gateway now has the session in its cache. Others must still not see it.
    await backend.connect(ada, "s")
    for name in ("s", "key"):
        for call in (backend.get, backend.connect, backend.suspend, backend.resume, backend.delete):
            with pytest.raises(NotFound):
                await call(eve, name)
        for call in (backend.set_timeout, backend.logs):
            with pytest.raises(NotFound):
                await call(eve, name, 5)
    assert await backend.list(eve) == []
    assert await backend.list(ada) == [made]
    assert len(await backend.list(ME)) == 2
    with pytest.raises(Conflict):
        await backend.create(eve, NewSession(name="s"))
    await backend.delete(ada, "s")


async def test_users_of_one_issuer_share_no_saved_files(backend):
    ada, eve = (Caller(name=f"user:oauth:{name}", namespace="team", sees_own_only=True) for name in ("ada", "eve"))
    saved = (await backend.create(ada, NewSession(name="s"))).info.workspace
    await backend.delete(ada, "s")
    # The files of a session outlast it, under the name of its workspace.
    for new in (NewSession(name="s"), NewSession(options={"workspace": "s"}), NewSession(options={"workspace": saved})):
        await backend.create(eve, new)
    assert saved not in {each.info.workspace for each in await backend.list(eve)}
    assert (await backend.create(ada, NewSession(name="again", options={"workspace": "s"}))).info.workspace == saved


@pytest.mark.parametrize(
    "name", ["../secrets", "..", ".", "", "./", "a/b", "s?x=1", "%2e%2e", "\n", "s\n", "S", "a" * 300]
)
async def test_a_name_leads_to_no_other_path(backend, api, name):
    await backend.create(ME, NewSession(name="s"))
    api.reads.clear()
    api.writes.clear()
    for call in (backend.get, backend.connect, backend.suspend, backend.resume, backend.delete):
        with pytest.raises(NotFound):
            await call(ME, name)
    for call in (backend.set_timeout, backend.logs):
        with pytest.raises(NotFound):
            await call(ME, name, 5)
    assert (api.reads, api.writes) == ([], [])
    assert [*api.sessions] == ["s"]


async def test_the_removal_of_a_failed_start_spares_a_later_session_of_the_name(backend, api, monkeypatch):
    async def wait_ready(*_arguments, **_options):
        # Meanwhile another client deletes it, and makes a new one of the name.
        api.sessions["s"]["metadata"]["uid"] = "later"
        raise SessionFailed("too late")

    monkeypatch.setattr(SessionApi, "wait_ready", wait_ready)
    with pytest.raises(SessionFailed, match="too late"):
        await backend.create(ME, NewSession(name="s"))
    assert [*api.sessions] == ["s"]


async def test_counts_come_from_the_cluster(backend, api):
    caller = Caller(name="ci", namespace="team", max_sessions=2)
    # Three replicas do not know of one another.
    replicas = [backend, *(ClusterBackend(backend._client, {}, is_direct=True) for _ in range(2))]
    results = await asyncio.gather(
        *(each.create(caller, NewSession()) for each in replicas * 2), return_exceptions=True
    )
    assert sum(isinstance(each, ResourceExhausted) for each in results) == 4
    assert len(api.sessions) == 2
    await backend.suspend(caller, next(iter(api.sessions)))
    await backend.create(caller, NewSession(name="third"))
    with pytest.raises(ResourceExhausted):
        await backend.resume(caller, next(iter(api.sessions)))
    with pytest.raises(ResourceExhausted):
        await backend.connect(caller, next(iter(api.sessions)))
    await backend.create(USER, NewSession())


@pytest.mark.parametrize("way", ["connect", "resume", "create"])
async def test_a_session_that_was_suspended_at_its_end_is_woken_with_a_new_one(backend, api, way):
    await backend.create(ME, NewSession(name="s", seconds=600, on_timeout="suspend"))
    await backend.suspend(ME, "s")
    api.sessions["s"]["spec"]["lifecycle"]["expiresAt"] = "2026-01-01T00:00:00Z"
    api.operator(api.sessions["s"])
    await (backend.create(ME, NewSession(name="s")) if way == "create" else getattr(backend, way)(ME, "s"))
    session = await backend.get(ME, "s")
    assert session.info.phase == "Ready"
    assert 590 < (session.info.expires_at - dt.datetime.now(dt.UTC)).total_seconds() <= 601


async def test_resumes_at_once_stay_within_the_limit(backend, api, monkeypatch):
    caller = Caller(name="ci", namespace="team", max_sessions=2)
    for name in "abcd":
        await backend.create(caller, NewSession(name=name))
        await backend.suspend(caller, name)
    starts = itertools.count(10)

    def operator(session):
        Operator()(session)
        if session["status"]["phase"] == "Ready":
            session["status"]["startedAt"] = f"2026-01-01T00:00:{next(starts)}Z"

    monkeypatch.setattr(api, "operator", operator)
    replicas = [ClusterBackend(backend._client, {}, is_direct=True) for _ in range(4)]
    wakes = [replicas[0].resume, replicas[1].connect, replicas[2].resume, replicas[3].connect]
    results = await asyncio.gather(
        *(wake(caller, name) for wake, name in zip(wakes, "abcd", strict=True)), return_exceptions=True
    )
    running = [name for name, each in api.sessions.items() if not each["spec"].get("suspended")]
    assert 1 <= len(running) <= 2
    assert sum(isinstance(each, ResourceExhausted) for each in results) == 4 - len(running)
    await asyncio.gather(*(each.close() for each in replicas))


async def test_a_shared_connection_wakes_its_session_within_the_limit(backend, api, agent):
    caller = Caller(name="ci", namespace="team", max_sessions=1)
    await backend.create(caller, NewSession(name="s"))
    sandbox = await backend.connect(caller, "s")
    await backend.suspend(caller, "s")
    await backend.create(caller, NewSession(name="other"))
    with pytest.raises(SandboxError, match="allows 1"):
        await sandbox.waker._wake(sandbox.endpoint)
    assert api.sessions["s"]["spec"]["suspended"]


async def test_a_caller_starts_a_few_sessions_at_a_time(backend, monkeypatch):
    running, most = 0, 0

    async def wait_ready(_sessions, name, *, since, **_options):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return since

    monkeypatch.setattr(SessionApi, "wait_ready", wait_ready)
    monkeypatch.setattr(backend, "_starts", Starts(limit=3))
    await asyncio.gather(*(backend.create(ME, NewSession()) for _ in range(12)))
    assert most == 3
    assert backend._starts._queues == {}


async def test_a_caller_that_starts_too_many_is_told_so():
    starts = Starts(limit=1, seconds=0.01)
    async with starts.slot(ME), starts.slot(USER):
        with pytest.raises(ResourceExhausted, match="start now"):
            async with starts.slot(ME):
                raise AssertionError


async def test_waits_for_a_start_leave_threads_for_short_calls(backend, api, monkeypatch):
    api.watches_last = True
    asyncio.get_running_loop().set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
    await backend.create(ME, NewSession(name="short"))
    monkeypatch.setattr(api, "operator", lambda session: session["metadata"].update(uid="u", resourceVersion="1"))
    slow = asyncio.create_task(backend.create(ME, NewSession(name="slow")))
    await asyncio.sleep(1)
    async with asyncio.timeout(1):
        await backend.get(ME, "short")
    assert not slow.done()
    slow.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await slow


async def test_a_session_that_does_not_start_is_removed(backend, api, operator):
    operator.fails = True
    with pytest.raises(SessionFailed):
        await backend.create(ME, NewSession())
    assert api.sessions == {}


async def test_the_gateways_own_lack_of_rights_is_not_the_callers(backend, api):
    await backend.create(ME, NewSession(name="s"))
    api.refusal = (403, 'User "gateway" cannot delete resource')
    with pytest.raises(SandboxUnavailable, match="the gateway may not"):
        await backend.delete(ME, "s")


async def test_a_deleted_sessions_connection_is_closed(backend):
    await backend.create(ME, NewSession(name="s"))
    await backend.connect(ME, "s")
    await backend.delete(ME, "s")
    assert len(backend._connections) == 0
    with pytest.raises(NotFound):
        await backend.connect(ME, "s")


def test_a_users_name_becomes_a_label():
    assert owner_label(ME) == "ci"
    assert len(owner_label(USER)) == 37
    assert owner_label(USER) != owner_label(Caller(name="user:other"))


@pytest.mark.parametrize("text", ["", "[]", "1", '{"metadata": []}', '{"owner": {}, "metadata": 1}', "[" * 100_000])
def test_a_damaged_annotation_counts_as_none(text):
    found = read_session({"metadata": {"name": "s", "annotations": {ANNOTATION: text}}})
    assert found.metadata == {}
    assert found.owner in ("", "{}")
