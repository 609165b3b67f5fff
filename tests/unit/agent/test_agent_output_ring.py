"""The ring of a process's output: positions, what is dropped, who is waited for."""

from __future__ import annotations

import asyncio

from sandbox_agent.processes.output_ring import OutputRing, Reader
from sandbox_link.frames import Stream

OUT, ERR = Stream.STDOUT, Stream.STDERR


async def read(ring, reader):
    return [(output.offset, output.data) async for outputs in ring.follow(reader) for output in outputs]


async def test_a_reader_begins_anywhere_and_streams_keep_their_order():
    ring = OutputRing()
    for stream, data in [(OUT, b"abc"), (OUT, b"def"), (ERR, b"xyz"), (OUT, b"ghi")]:
        ring.append(stream, data)
    ring.finish()
    whole = [(0, b"abcdef"), (6, b"xyz"), (9, b"ghi")]
    assert await read(ring, Reader(0)) == whole
    for offset in range(13):
        expected = [(max(start, offset), data[max(0, offset - start) :]) for start, data in whole]
        assert await read(ring, Reader(offset)) == [piece for piece in expected if piece[1]]


async def test_while_nobody_reads_the_oldest_is_dropped_and_counted():
    ring = OutputRing(capacity=300_000)
    for number in range(20):
        ring.append(OUT, bytes([number]) * 65_536)
        await ring.wait_for_room()
    ring.finish()
    assert ring.size <= 300_000
    assert (ring.end, ring.start) == (20 * 65_536, 16 * 65_536)
    reader = Reader(5)
    pieces = await read(ring, reader)
    assert pieces[0] == (16 * 65_536, bytes([16]) * 65_536)
    assert reader.skipped == 16 * 65_536 - 5


async def test_a_reader_that_is_attached_loses_nothing_and_the_producer_waits():
    ring = OutputRing(capacity=200_000)
    reader = Reader(0)
    following = ring.follow(reader)
    ring.append(OUT, b"a" * 100_000)
    first = await anext(following)
    taken = [first]

    async def produce():
        for number in range(20):
            ring.append(ERR if number % 2 else OUT, b"b" * 100_000)
            await ring.wait_for_room()
        ring.finish()

    producer = asyncio.create_task(produce())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not producer.done()
    assert ring.size < 500_000
    taken += [outputs async for outputs in following]
    await producer
    assert sum(len(output.data) for outputs in taken for output in outputs) == 2_100_000
    assert reader.skipped == 0


async def test_a_reader_that_goes_away_is_waited_for_no_longer():
    ring = OutputRing(capacity=100_000)
    following = ring.follow(Reader(0))
    ring.append(OUT, b"a" * 90_000)
    await anext(following)
    for stream in (ERR, OUT, ERR):
        ring.append(stream, b"b" * 90_000)
    waiting = asyncio.create_task(ring.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await following.aclose()
    await waiting
    assert ring.size <= 100_000


async def test_a_producer_that_is_ending_waits_for_no_reader_and_its_last_output_is_kept():
    ring = OutputRing(capacity=100_000)
    following = ring.follow(Reader(0))
    ring.append(OUT, b"a" * 90_000)
    await anext(following)
    ring.append(ERR, b"b" * 90_000)
    ring.append(OUT, b"c" * 90_000)
    waiting = asyncio.create_task(ring.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    ring.lift_limit()
    ring.set_capacity(100_000)
    await waiting
    ring.finish()
    assert sum([len(output.data) async for outputs in following for output in outputs]) == 180_000


async def test_a_gap_that_went_by_unseen_is_skipped():
    ring = OutputRing()
    ring.append(OUT, b"abc")
    ring.skip_to(10)
    ring.append(OUT, b"xyz")
    ring.skip_to(20)
    ring.finish()
    reader = Reader(1)
    assert await read(ring, reader) == [(1, b"bc"), (10, b"xyz")]
    assert (reader.skipped, ring.end) == (14, 20)


async def test_many_tiny_writes_are_bounded_too():
    ring = OutputRing(capacity=10_000)
    for number in range(10_000):
        ring.append(ERR if number % 2 else OUT, b"x")
        await ring.wait_for_room()
    assert ring.size <= 10_000
    assert ring.end - ring.start < 100
