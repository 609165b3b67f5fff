"""What was there before the watches is listed once, by the operator alone; between the two nothing is lost."""

import aiohttp
import pytest
from aiohttp import web

from sandbox_operator.kube.resources import PODS, POOLS, SESSIONS, TEMPLATES
from sandbox_operator.watch.handlers import Handlers
from sandbox_operator.watch.kopf_workarounds import EmptyLists
from sandbox_operator.watch.store import WATCHED
from tests.support.api_server import ApiServer, refusal
from tests.support.running_operator import RunningOperator
from tests.unit.operator.conftest import NAMESPACE


async def test_at_the_start_everything_is_listed_once_and_kopf_is_handed_nothing(tmp_path, monkeypatch):
    operator, lists, handed = RunningOperator(tmp_path), [], []
    for name in ("one", "two", "three"):
        operator.add_session(name)
    real = Handlers.handle
    monkeypatch.setattr(Handlers, "handle", lambda *given: (handed.append(given[2]), real(*given))[1])

    def note(request):
        if request.method == "GET" and request.path == SESSIONS.path() and "watch" not in request.query:
            lists.append((request.query.get("fieldSelector"), request.query.get("continue")))

    operator.server.page, operator.server.on_request = 2, note
    async with operator.running(monkeypatch):
        await operator.until(lambda: set(operator.describe().values()) == {"Ready"})
    assert lists == [("metadata.name=-", None), (None, None), (None, "2")]
    assert None not in handed


async def test_what_is_made_after_the_list_and_before_the_watch_is_seen(tmp_path, monkeypatch):
    operator, made = RunningOperator(tmp_path, resync_seconds=3600.0), []

    def make(request):
        if request.path == SESSIONS.path() and "watch" in request.query and not made:
            made.append(operator.add_session("between"))

    operator.server.on_request = make
    async with operator.running(monkeypatch):
        await operator.until(lambda: operator.phase("between") == "Ready")


async def test_a_first_list_that_fails_is_tried_again_and_nobody_leads_before(tmp_path, monkeypatch):
    monkeypatch.setattr("sandbox_operator.watch.relist._RETRY", 0.05)
    operator, refused, leases = RunningOperator(tmp_path), [], []
    operator.add_session("one")

    def refuse(request):
        if "leases" in request.path:
            leases.append(len(refused))
        if request.path == PODS.path() and not {"watch", "fieldSelector"} & set(request.query) and len(refused) < 9:
            refused.append(request.path)
            return refusal(500, "InternalError", "not now")
        return None

    operator.server.on_request = refuse
    async with operator.running(monkeypatch):
        await operator.until(lambda: operator.phase("one") == "Ready")
    assert len(refused) == 9
    assert set(leases) == {9}


async def test_without_a_definition_it_is_not_ready_says_so_and_ends_to_be_started_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sandbox_operator.app.application._FIRST_LIST_TIMEOUT", 1.0)
    operator = RunningOperator(tmp_path)
    root = f"/apis/{POOLS.group}/{POOLS.version}"

    def hide(request):
        kinds = (SESSIONS, TEMPLATES)
        resources = [
            {"name": kind.plural, "singularName": "", "kind": kind.kind, "namespaced": True, "verbs": ["list", "watch"]}
            for kind in kinds
        ]
        return web.json_response({"resources": resources}) if request.path == root else None

    operator.server.on_request = hide
    async with operator.started(monkeypatch) as application:
        assert await operator.ended() == 1
        assert "sandboxwarmpools" in application._relister.find_problem()
    (record,) = [each for each in caplog.records if each.levelname == "ERROR" and "lease" in each.getMessage()]
    assert "no watch of sandboxwarmpools: check that the CustomResourceDefinitions are installed" in record.getMessage()


@pytest.fixture
async def listing(tmp_path):
    """A session of HTTP whose lists are empty, the server, and which lists it was told of."""
    operator, told = RunningOperator(tmp_path), []
    server: ApiServer = operator.server
    await server.start()
    lists = EmptyLists(WATCHED, (None, NAMESPACE), lambda *place: told.append(place))
    async with aiohttp.ClientSession(server.url, middlewares=(lists,)) as session:
        yield session, server, told
    await server.stop()


async def names(session, path, **parameters):
    async with session.get(path, params=parameters) as answer:
        return [item["metadata"]["name"] for item in (await answer.json()).get("items", [])]


async def test_only_lists_of_the_watched_kinds_are_empty(listing):
    session, server, told = listing
    assert await names(session, TEMPLATES.path()) == []
    assert await names(session, TEMPLATES.path(NAMESPACE), limit="5") == []
    assert told == [(TEMPLATES, None), (TEMPLATES, NAMESPACE)]
    async with session.get(TEMPLATES.path(NAMESPACE, "default")) as answer:
        assert (await answer.json())["metadata"]["name"] == "default"
    server.kube.put(TEMPLATES, "other", {"metadata": {"name": "theirs"}, "spec": {}})
    assert await names(session, TEMPLATES.path("other")) == ["theirs"]
    assert len(told) == 2


async def test_a_list_that_was_refused_begins_no_watch(listing):
    session, server, told = listing
    server.on_request = lambda _: refusal(500, "InternalError", "no")
    assert await names(session, SESSIONS.path()) == []
    assert told == []
