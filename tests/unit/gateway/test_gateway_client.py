"""Sessions that our own SDK creates through a gateway and does not get: none of them stays."""

import asyncio

import pytest

from sandbox_client import AsyncSandbox
from sandbox_client.errors import Conflict, NotFound, SandboxUnavailable
from sandbox_client.gateway import session
from sandbox_client.lifecycle.session_info import SessionInfo

PLACE = {"gateway": "http://127.0.0.1:9", "api_key": "k"}


class Gateway:
    """The control API, and the sessions behind it. Nobody can connect to them."""

    def __init__(self):
        self.sessions = {}
        self.told = []
        self.create_error = None
        self.seconds = 0
        self.is_created_late = False
        self.opened = self.closed = 0

    def open(self, _place):
        self.opened += 1
        return self

    def close(self):
        self.closed += 1

    async def create(self, new, _seconds):
        self.told.append(new.get("ephemeral"))
        if new["name"] in self.sessions:
            raise Conflict("there is one", reason="ALREADY_EXISTS", field="name")
        if not self.is_created_late:
            self.sessions[new["name"]] = new
        await asyncio.sleep(self.seconds)
        self.sessions[new["name"]] = new
        if self.create_error:
            raise self.create_error
        return SessionInfo(new["name"], "")

    async def connect(self, name, *, wake, seconds):
        raise SandboxUnavailable("no route", reason="GATEWAY")

    async def delete(self, name):
        if self.sessions.pop(name, None) is None:
            raise NotFound("no such session")


@pytest.fixture
def gateway(monkeypatch):
    state = Gateway()
    monkeypatch.setattr(session, "GatewayApi", state.open)
    return state


@pytest.mark.parametrize("options", [{}, {"name": "s", "ephemeral": True}])
async def test_an_ephemeral_session_that_cannot_be_connected_to_is_deleted(gateway, options):
    with pytest.raises(SandboxUnavailable, match="no route"):
        await AsyncSandbox.create(**options, **PLACE)
    assert gateway.sessions == {}
    assert gateway.opened == gateway.closed == 1


@pytest.mark.parametrize("options", [{"name": "s"}, {"ephemeral": False}])
async def test_another_session_is_kept_and_can_be_looked_at(gateway, options):
    with pytest.raises(SandboxUnavailable, match="no route"):
        await AsyncSandbox.create(**options, **PLACE)
    assert len(gateway.sessions) == 1


@pytest.mark.parametrize("is_created_late", [False, True])
@pytest.mark.parametrize("options", [{}, {"name": "s", "ephemeral": True}])
async def test_a_create_that_is_cancelled_leaves_no_session(gateway, options, is_created_late):
    gateway.seconds, gateway.is_created_late = 0.1, is_created_late
    creating = asyncio.create_task(AsyncSandbox.create(**options, **PLACE))
    await asyncio.sleep(0.05)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await asyncio.sleep(0.1)
    assert gateway.sessions == {}
    assert gateway.opened == gateway.closed == 1


async def test_a_create_without_an_answer_leaves_no_session(gateway):
    gateway.create_error = SandboxUnavailable("no answer", reason="GATEWAY")
    with pytest.raises(SandboxUnavailable, match="no answer"):
        await AsyncSandbox.create(**PLACE)
    assert gateway.sessions == {}


async def test_a_session_that_was_there_before_is_never_deleted(gateway):
    gateway.sessions["s"] = before = {"ephemeral": True}
    with pytest.raises(Conflict):
        await AsyncSandbox.create("s", ephemeral=True, **PLACE)
    assert gateway.sessions == {"s": before}


async def test_the_gateway_is_told_that_a_session_is_ephemeral(gateway):
    for options in ({}, {"name": "s"}, {"name": "t", "ephemeral": True}, {"ephemeral": False}):
        with pytest.raises(SandboxUnavailable):
            await AsyncSandbox.create(**options, **PLACE)
    assert gateway.told == [True, None, True, None]


async def test_a_connect_that_fails_closes_its_connections(gateway):
    with pytest.raises(SandboxUnavailable, match="no route"):
        await AsyncSandbox.connect("s", **PLACE)
    assert gateway.opened == gateway.closed == 1
