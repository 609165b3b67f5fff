from __future__ import annotations

import asyncio

from sandbox_agent.executions.event_log import ENTRY_COST, EventLog


def same(event, skipped):
    return event


def tell(event, skipped):
    return (event, skipped)


async def read(log, on_skipped=same):
    return [event async for events in log.follow(on_skipped) for event in events]


async def test_every_reader_gets_everything_from_the_start():
    log = EventLog()
    for number in range(5):
        log.append(number, 1)
    first = asyncio.ensure_future(read(log))
    await asyncio.sleep(0)
    log.append(5, 1)
    log.end()
    assert await first == await read(log) == [0, 1, 2, 3, 4, 5]


async def test_with_nobody_there_the_middle_is_dropped_and_counted():
    log = EventLog(capacity=10 * (ENTRY_COST + 100))
    for number in range(100):
        log.append(number, 100)
        await log.wait_for_room()
        assert log.size <= 10 * (ENTRY_COST + 100)
    log.end()
    assert await read(log, tell) == [
        *range(5),
        *((number, 9000) for number in range(95, 100)),
    ]


async def test_a_slow_reader_stops_the_producer_until_it_reads_or_goes_away():
    log = EventLog(capacity=4 * (ENTRY_COST + 100))
    reader = log.follow(same)
    log.append(0, 2 << 20)
    assert await anext(reader) == [0]
    for number in range(1, 9):
        log.append(number, 100)
    waiting = asyncio.ensure_future(log.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await reader.aclose()
    async with asyncio.timeout(5):
        await waiting
