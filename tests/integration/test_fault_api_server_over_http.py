"""Rows 11 to 15 of docs/faults.md over HTTP: the operator as it runs, kopf's watches and its own queues included."""

import asyncio
import itertools
import time

import pytest

from sandbox_operator.errors import InvalidError, UnavailableError
from sandbox_operator.kube.client import KubeClient
from sandbox_operator.kube.connection import Connection
from sandbox_operator.kube.resources import PODS, SECRETS, SESSIONS
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_testing.api_server import FakeKube
from tests.support.api_server import KINDS, ApiServer, refusal
from tests.support.running_operator import RunningOperator
from tests.unit.operator.conftest import NAMESPACE

AWAY_SECONDS = 0.4


@pytest.fixture
async def client():
    """The operator's client of an API server of its own."""
    server = ApiServer(FakeKube())
    await server.start()
    async with KubeClient(Connection(server.url, tls=True), WriteHook()) as api:
        yield server, api
    await server.stop()


def is_write(request):
    return (
        request.method in {"POST", "PATCH", "DELETE"} and "leases" not in request.path and "events" not in request.path
    )


async def go_away(server):
    await server.stop()
    await asyncio.sleep(AWAY_SECONDS)
    await server.start()


async def test_fault_11_the_api_server_restarts_at_each_write_of_a_start_and_of_a_suspension(tmp_path, monkeypatch):
    """A start and a suspend complete although the server disappears at each of their writes."""
    operator = RunningOperator(tmp_path)
    server, restarts, left, struck = operator.server, [], 0, []

    def strike(request):
        nonlocal left
        if not is_write(request) or not left:
            return None
        left -= 1
        if left:
            return None
        (kind,) = (kind.plural for kind in KINDS if kind.plural in request.path.split("/"))
        struck.append((request.method, kind))
        restarts.append(asyncio.create_task(go_away(server)))
        request.transport.abort()
        return refusal(503, "Gone", "nobody reads this")

    server.on_request = strike
    async with operator.running(monkeypatch):
        for number in itertools.count(1):
            name, left = f"s{number}", number
            operator.add_session(name)
            await operator.until(lambda name=name: operator.phase(name) == "Ready")
            operator.change_session(name, suspended=True)
            await operator.until(lambda name=name: operator.phase(name) == "Suspended")
            await asyncio.gather(*restarts)
            if left:
                break
            restarts.clear()
    assert set(struck) == {
        ("PATCH", "networkpolicies"),
        ("POST", "secrets"),
        ("POST", "pods"),
        ("PATCH", "pods"),
        ("PATCH", "sandboxsessions"),
        ("DELETE", "pods"),
    }


async def test_fault_11_a_write_under_way_when_the_api_server_goes_and_reads_that_fail_after_it_are_made_again(
    tmp_path, monkeypatch
):
    """A write that was cut off and the reads after it are repeated."""
    operator = RunningOperator(tmp_path)
    refused = []

    def refuse_reads(request):
        if request.method != "GET" or not request.path.endswith("-access") or len(refused) >= 7:
            return None
        refused.append(request.path)
        return refusal(500, "InternalError", "etcd did not answer in time")

    async with operator.running(monkeypatch):
        operator.add_session("one")
        await operator.until(lambda: operator.phase("one") == "Ready")
        # Another process would find the Secret; so does this one, once it remembers no more what it made.
        operator.server.on_request = refuse_reads
        monkeypatch.setattr("sandbox_operator.agent.bind._CACHE_SECONDS", 0.0)
        operator.lose_pod("one")
        await operator.until(lambda: operator.phase("one") == "Ready" and len(refused) == 7)
        operator.server.on_request = lambda _: None


async def test_fault_12_a_watch_that_tells_nothing_is_made_up_for_by_the_lists(tmp_path, monkeypatch):
    """If a watch stays silent, the regular lists alone make the session Ready."""
    operator = RunningOperator(tmp_path, resync_seconds=1.0)
    async with operator.running(monkeypatch):
        operator.server.is_deaf = True
        operator.add_session("one")
        await operator.until(lambda: operator.phase("one") == "Ready")


async def test_fault_12_a_watch_that_is_cut_off_goes_on_where_it_was(tmp_path, monkeypatch):
    """A watch that is cut off continues from its last version."""
    operator = RunningOperator(tmp_path)
    async with operator.running(monkeypatch):
        operator.add_session("one")
        await operator.until(lambda: operator.phase("one") == "Ready")
        operator.server.drop_watches()
        operator.add_session("two")
        operator.lose_pod("one")
        await operator.until(lambda: operator.phase("two") == "Ready")
        await operator.until(lambda: operator.phase("one") == "Ready" and len(operator.agents.requests) == 3)


async def test_fault_13_a_conflict_at_each_write_is_a_reason_to_look_again(tmp_path, monkeypatch):
    """Over HTTP, a conflict at any write leads to another reconcile."""
    operator = RunningOperator(tmp_path)
    left, struck = 0, 0

    def strike(request):
        nonlocal left, struck
        if not is_write(request) or not left:
            return None
        left -= 1
        struck += not left
        return None if left else refusal(409, "Conflict", "the object has been modified")

    operator.server.on_request = strike
    async with operator.running(monkeypatch):
        for number in itertools.count(1):
            name, left = f"s{number}", number
            operator.add_session(name)
            await operator.until(lambda name=name: operator.phase(name) == "Ready")
            operator.change_session(name, suspended=True)
            await operator.until(lambda name=name: operator.phase(name) == "Suspended")
            if left:
                break
    assert struck >= 8


async def test_fault_14_after_a_watch_that_ended_with_410_all_that_it_missed_is_found(tmp_path, monkeypatch):
    """After a 410 the watch starts again, and a list finds everything that it missed."""
    operator = RunningOperator(tmp_path)
    async with operator.running(monkeypatch):
        for name in ("kept", "lost", "deleted"):
            operator.add_session(name)
        await operator.until(lambda: set(operator.describe().values()) == {"Ready"})
        server = operator.server
        server.drop_watches()
        # None of this is told: the watches that come back begin before it, and that is gone.
        operator.add_session("new")
        operator.lose_pod("lost")
        pod = operator.pod("deleted")
        operator.kube.remove(SESSIONS, NAMESPACE, "deleted")
        server.compact()
        await operator.until(lambda: operator.phase("new") == "Ready")
        await operator.until(lambda: len(operator.agents.requests) == 5 and operator.phase("lost") == "Ready")
        await operator.until(lambda: any(name.startswith(pod) for name in operator.agents.forgotten))
        assert operator.phase("kept") == "Ready"


async def test_fault_14_a_list_whose_next_page_is_gone_begins_anew(tmp_path, monkeypatch):
    """A list whose next page has expired starts again at its first page."""
    operator, expired = RunningOperator(tmp_path), []
    for name in ("one", "two", "three"):
        operator.add_session(name)

    def expire(request):
        if "continue" not in request.query or expired:
            return None
        expired.append(request.path)
        return refusal(410, "Expired", "The provided continue parameter is too old")

    operator.server.page, operator.server.on_request = 1, expire
    # What follows is not the first list's second try, but its successor.
    monkeypatch.setattr("sandbox_operator.watch.relist._RETRY", 3600.0)
    async with operator.running(monkeypatch):
        await operator.until(lambda: set(operator.describe().values()) == {"Ready"})
    assert expired == [SESSIONS.path()]


async def test_fault_14_what_kopf_cannot_list_ends_the_process_which_is_then_started_anew(tmp_path, monkeypatch):
    """If kopf itself cannot list, the process exits with code 1 and its successor continues."""
    operator = RunningOperator(tmp_path)
    async with operator.running(monkeypatch):
        operator.server.on_request = lambda request: (
            refusal(410, "Expired", "too old") if "watch" in request.query else None
        )
        operator.server.drop_watches()
        assert await operator.ended() == 1
    operator.server.on_request = lambda _: None
    operator.add_session("one")
    async with operator.running(monkeypatch):
        await operator.until(lambda: operator.phase("one") == "Ready")


async def test_fault_15_the_client_waits_as_long_as_it_is_told(client):
    """The client waits for as long as Retry-After says."""
    server, api = client
    server.kube.put(SECRETS, NAMESPACE, {"metadata": {"name": "read"}, "data": {}})
    came = {"GET": [], "POST": []}

    def throttle(request):
        times = came[request.method]
        times.append(time.monotonic())
        return refusal(429, "TooManyRequests", "later", Retry_After="1") if len(times) == 1 else None

    server.on_request = throttle
    await asyncio.gather(
        api.get(SECRETS, NAMESPACE, "read"),
        api.create(SECRETS, NAMESPACE, {"metadata": {"name": "written"}, "data": {}}),
    )
    assert {method: len(times) for method, times in came.items()} == {"GET": 2, "POST": 2}
    assert all(1.0 <= second - first < 5.0 for first, second in came.values())
    assert "written" in server.kube.named(SECRETS)


async def test_fault_15_who_is_throttled_for_ever_is_told_so_after_three_tries_and_other_refusals_at_once(client):
    """A call that stays throttled fails after three attempts; other refusals fail at once."""
    server, api = client
    server.on_request = lambda _: refusal(429, "TooManyRequests", "later", Retry_After="0")
    with pytest.raises(UnavailableError) as caught:
        await api.create(PODS, NAMESPACE, {"metadata": {"name": "one"}})
    assert (caught.value.status, len(server.requests)) == (429, 3)
    server.on_request = lambda _: refusal(422, "Invalid", "no")
    with pytest.raises(InvalidError):
        await api.create(PODS, NAMESPACE, {"metadata": {"name": "one"}})
    assert len(server.requests) == 4


async def test_fault_16_a_write_that_was_answered_with_500_is_not_sent_again_by_the_client(client):
    """The client does not repeat a write that was answered with 500."""
    server, api = client
    server.on_request = lambda _: refusal(500, "InternalError", "perhaps", Retry_After="0")
    with pytest.raises(UnavailableError):
        await api.create(PODS, NAMESPACE, {"metadata": {"name": "one"}})
    assert len(server.requests) == 1
