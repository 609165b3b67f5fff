"""Watchers without a stream: what they keep is bounded, and they end when their client has gone."""

import asyncio
from types import SimpleNamespace

import pytest

from sandbox_client.errors import NotFound, ResourceExhausted
from sandbox_gateway.doors.e2b.envd.paths import Place
from sandbox_gateway.doors.e2b.envd.watchers import Watchers


class Files:
    """A folder in which as many files appear as a test wants."""

    def __init__(self):
        self.changes, self.watches = asyncio.Queue(), 0

    async def watch(self, _folder, *, recursive, on_ready):
        self.watches += 1
        on_ready()
        try:
            while True:
                yield await self.changes.get()
        finally:
            self.watches -= 1

    async def happen(self, count):
        for index in range(count):
            self.changes.put_nowait(SimpleNamespace(path=f"f{index}", change="added", type="file"))
        while not self.changes.empty():  # noqa: ASYNC110 - a queue has no event for it
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def files():
    return Files()


def session(files, key="s"):
    return SimpleNamespace(key=key, place=Place("/w"), sandbox=SimpleNamespace(files=files))


async def test_a_watcher_ends_without_another_call_when_its_client_has_gone(files):
    watchers = Watchers(idle_seconds=0.3)
    mine = session(files)
    identifier = await watchers.create(mine, {"path": "."})
    for _ in range(4):
        await asyncio.sleep(0.15)
        watchers.read(mine, identifier)
    assert files.watches == 1
    await asyncio.sleep(0.5)
    assert (files.watches, watchers._watchers) == (0, {})
    with pytest.raises(NotFound):
        watchers.read(mine, identifier)


async def test_all_watchers_of_a_session_share_the_room_for_changes():
    folders = [Files() for _ in range(3)]
    watchers = Watchers(max_events=10)
    sessions = [session(folders[0]), session(folders[1]), session(folders[2], "other")]
    one, two, other = [await watchers.create(each, {"path": "."}) for each in sessions]
    await folders[0].happen(6)
    await folders[1].happen(5)
    await folders[2].happen(10)
    # What was kept is still read. Then the watcher that had no room says so.
    assert len(watchers.read(sessions[1], two)) == 4
    with pytest.raises(ResourceExhausted, match="10 changes"):
        watchers.read(sessions[1], two)
    assert len(watchers.read(sessions[0], one)) == 6
    assert len(watchers.read(sessions[2], other)) == 10
    await folders[0].happen(10)
    assert len(watchers.read(sessions[0], one)) == 10
    watchers.remove(sessions[0], one)
    watchers.remove(sessions[2], other)
    assert not watchers._kept
    assert not watchers._watchers
