"""Namespaces take turns, and one that keeps its workers busy leaves some for the others."""

import asyncio
import contextlib

from sandbox_operator.watch.handlers import session_key
from sandbox_operator.watch.turns import Turns
from sandbox_operator.watch.work_queue import WorkQueue


async def test_a_namespace_with_thousands_of_keys_does_not_keep_another_waiting():
    done, pause = [], asyncio.Event()

    async def work(key):
        await asyncio.sleep(0)
        done.append(key)
        if len(done) == 50:
            pause.set()

    queue = WorkQueue(work, 4)
    queue.start()
    for number in range(5000):
        queue.add(session_key("crowd", f"s{number}"))
    for name in ("one", "two"):
        queue.add(session_key("quiet", name))
    await pause.wait()
    await queue.stop()
    assert {name for _, namespace, name in done if namespace == "quiet"} == {"one", "two"}


async def test_calls_that_hang_leave_workers_to_other_namespaces():
    """As those to agents do whose port user code has taken."""
    hanging, quiet, everything, done = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    async def work(key):
        if key[1] == "hostile":
            await hanging.wait()
        done.append(key)
        if len(done) == 20:
            quiet.set()
        if len(done) == 120:
            everything.set()

    queue = WorkQueue(work, 8)
    for number in range(100):
        queue.add(session_key("hostile", f"s{number}"))
    queue.start()
    await asyncio.sleep(0)
    assert queue.load == 100
    for number in range(20):
        queue.add(session_key("quiet", f"s{number}"))
    async with asyncio.timeout(5):
        await quiet.wait()
    assert {key[1] for key in done} == {"quiet"}
    hanging.set()
    async with asyncio.timeout(5):
        await everything.wait()
    await queue.stop()


async def test_no_turn_is_lost_when_a_worker_is_cancelled():
    turns = Turns(1)
    first, second = (asyncio.create_task(turns.take()) for _ in range(2))
    await asyncio.sleep(0)
    turns.put(session_key("a", "one"))
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == session_key("a", "one")
    with contextlib.suppress(asyncio.CancelledError):
        await first
    turns.put(session_key("a", "two"))
    third = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    assert not third.done()
    turns.end(session_key("a", "one"))
    async with asyncio.timeout(5):
        assert await third == session_key("a", "two")
    turns.put(session_key("a", "three"))
    turns.clear()
    turns.end(session_key("a", "two"))
    turns.put(session_key("b", "four"))
    assert await turns.take() == session_key("b", "four")
