"""Streams of answers: signs of life, limits, and the right to go on."""

import asyncio

import pytest

from sandbox_client.errors import DeadlineExceeded, SandboxUnavailable, Unauthenticated
from sandbox_gateway.doors.e2b.envd.streams import paced
from tests.unit.gateway.e2b.test_e2b_sessions import SESSION, Backend, Owners, app_of


async def silent():
    await asyncio.Event().wait()
    yield "never"


async def chatty():
    while True:
        yield "x"
        await asyncio.sleep(0.01)


async def collect(stream, seen):
    async for message in stream:
        seen.append(message)


class Right:
    """The right to a stream, which is lost at the third check."""

    checks = 0

    async def check(self):
        self.checks += 1
        if self.checks == 3:
            raise Unauthenticated("the key was revoked")


@pytest.mark.parametrize("source", [silent, chatty])
async def test_a_stream_ends_when_its_right_has_gone(source):
    right = Right()
    shown = paced(source(), idle="idle", idle_seconds=60, check=right.check, check_seconds=0.05)
    with pytest.raises(Unauthenticated, match="revoked"):
        await collect(shown, [])
    assert right.checks == 3


async def test_checks_do_not_delay_signs_of_life():
    async def fine():
        pass

    shown = paced(silent(), idle="idle", idle_seconds=0.1, check=fine, check_seconds=0.03, seconds=0.55)
    seen = []
    with pytest.raises(DeadlineExceeded):
        await collect(shown, seen)
    assert set(seen) == {"idle"}
    assert 3 <= len(seen) <= 5


async def test_a_revoked_key_ends_streams_and_keys_that_cannot_be_read_do_not():
    access, error = Owners(), None

    async def by_owner(session):
        if error is not None:
            raise error
        return access.caller

    access.by_owner = by_owner
    [traffic] = [route for route in app_of(Backend(), access).routes if hasattr(route, "_sessions")]
    await traffic._sessions._check_owner(SESSION)
    error = SandboxUnavailable("down")
    await traffic._sessions._check_owner(SESSION)
    error = Unauthenticated("revoked")
    with pytest.raises(Unauthenticated):
        await traffic._sessions._check_owner(SESSION)
