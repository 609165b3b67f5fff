"""The shared connections to sessions."""

import asyncio
import gc
import weakref

import pytest

from sandbox_gateway.backends.connections import Connections


class Sandbox:
    closed = 0

    async def close(self):
        self.closed += 1


class Opener:
    def __init__(self):
        self.opened, self.gate, self.error = 0, asyncio.Event(), None

    async def __call__(self):
        self.opened += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return Sandbox()


async def test_callers_at_the_same_time_share_one_attempt():
    connections, opener = Connections(), Opener()
    calls = [asyncio.create_task(connections.get("a", opener)) for _ in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    opener.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] is results[2] is await connections.get("a", opener)
    assert opener.opened == 1


async def test_a_failed_attempt_is_made_again():
    connections, opener = Connections(), Opener()
    opener.gate.set()
    opener.error = ValueError("no")
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await connections.get("a", opener)
    opener.error = None
    assert isinstance(await connections.get("a", opener), Sandbox)
    assert opener.opened == 3


async def test_an_idle_connection_is_forgotten_but_not_closed_under_its_user():
    now = 0.0
    connections, opener = Connections(idle_seconds=10, clock=lambda: now), Opener()
    opener.gate.set()
    first = await connections.get("a", opener)
    now = 9.0
    assert await connections.get("a", opener) is first
    now = 20.0
    second = await connections.get("b", opener)
    assert (len(connections), first.closed, second.closed) == (1, 0, 0)
    watch = weakref.ref(first)
    del first
    gc.collect()
    assert watch() is None


async def test_close_ends_attempts_and_connections():
    connections, quick, slow = Connections(), Opener(), Opener()
    quick.gate.set()
    sandbox = await connections.get("a", quick)
    waiting = asyncio.create_task(connections.get("b", slow))
    await asyncio.sleep(0)
    await connections.close()
    assert sandbox.closed == 1
    assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
    assert len(connections) == 0
