"""The sessions of a cluster, at a scripted API server with the namespace `team`."""

import asyncio
import base64
import copy
import datetime as dt
import json

import pytest

from sandbox_client.cluster.api import ClusterOptions, open_client
from sandbox_client.errors import (
    Conflict,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    SandboxUnavailable,
    SessionFailed,
)
from sandbox_gateway.backend import Caller, NewSession
from sandbox_gateway.backends.cluster import ClusterBackend
from sandbox_gateway.backends.notes import ANNOTATION, ON_EXPIRY, OWNER_LABEL, owner_label, read_session

ME = Caller(name="ci", namespace="team")
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
    }
    assert (made.info.phase, made.owner, made.uid) == ("Ready", "ci", "u1")
    assert made.metadata == {"user": "ada", "wörd": "ü"}
    assert await backend.get(ME, made.info.name) == made
    assert await backend.list(ME, {"user": "ada"}) == [made]
    assert await backend.list(ME, {"user": "bob"}) == []


async def test_defaults_are_the_templates(backend, api):
    await backend.create(ME, NewSession(template="base", name="plain", on_timeout="suspend"))
    assert api.sessions["plain"]["spec"] == {"templateRef": {"name": "default"}, "lifecycle": {"onExpiry": "Suspend"}}


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


@pytest.mark.parametrize("name", ["../secrets", "..", "a/b", "s?x=1", "%2e%2e", "\n"])
async def test_a_name_leads_to_no_other_path(backend, api, name):
    await backend.create(ME, NewSession(name="s"))
    api.reads.clear()
    with pytest.raises(NotFound):
        await backend.get(ME, name)
    assert not any("/secrets" in path.split("sandboxsessions/")[0] or path.endswith("/s") for path in api.reads)


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
