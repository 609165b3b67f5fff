"""The last output of a background process, by position, for readers that come and go.

Reading is by the position among all output bytes. What a reader that is attached has not read is not dropped: `room`
makes the producer wait. While nobody is attached, the oldest is.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_agent.executions.events import STREAMS
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox_link.frames import Stream

CAPACITY: Final = 8 << 20
BATCH_BYTES: Final = 1 << 20
_CHUNK: Final = 64 << 10
_CHUNK_COST: Final = 256
"""Bytes counted for each chunk beside its content."""


@dataclass(slots=True)
class _Chunk:
    offset: int
    stream: Stream
    data: bytearray

    @property
    def end(self) -> int:
        return self.offset + len(self.data)

    @property
    def cost(self) -> int:
        return len(self.data) + _CHUNK_COST


@dataclass(slots=True, eq=False)
class Reader:
    """One reader's place.

    Attributes:
        offset: Position of the next byte it gets.
        skipped: Bytes before that which it did not get, as they were dropped.
    """

    offset: int
    skipped: int = 0
    chunk: int = 0


class OutputRing:
    """Output with its positions.

    Args:
        capacity: Bytes to keep; see `share` and `release`.

    Attributes:
        end: Bytes written in all.
        size: Bytes held.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.end = 0
        self.size = 0
        self._chunks: deque[_Chunk] = deque()
        self._dropped_chunks = 0
        self._ended = False
        self._readers: set[Reader] = set()
        self._appended = asyncio.Event()
        self._moved = asyncio.Event()

    @property
    def start(self) -> int:
        """Position of the oldest byte that is kept."""
        return self._chunks[0].offset if self._chunks else self.end

    def append(self, stream: Stream, data: bytes) -> None:
        """Add output; `room` afterwards."""
        last = self._chunks[-1] if self._chunks else None
        if last is not None and last.stream is stream and last.end == self.end and len(last.data) < _CHUNK:
            last.data += data
            self.size += len(data)
        else:
            self._chunks.append(_Chunk(self.end, stream, bytearray(data)))
            self.size += len(data) + _CHUNK_COST
        self.end += len(data)
        self._appended.set()

    def skip_to(self, offset: int) -> None:
        """Output up to there went by unseen."""
        self.end = max(self.end, offset)

    def finish(self) -> None:
        """No more output."""
        self._ended = True
        self._appended.set()

    def share(self, capacity: int) -> None:
        """Change the capacity, unless it was released."""
        if self.capacity != sys.maxsize:
            self.capacity = capacity

    def release(self) -> None:
        """The producer waits no longer: it is ending, and the little that still comes is kept."""
        self.capacity = sys.maxsize
        self._moved.set()

    def forget(self) -> None:
        """Drop everything that no reader waits for."""
        while self._chunks and self._may_drop():
            self._drop()

    async def room(self) -> None:
        """Wait until it is within its capacity, dropping the oldest that no reader waits for."""
        while self.size > self.capacity and len(self._chunks) > 1:
            if self._may_drop():
                self._drop()
            else:
                self._moved.clear()
                await self._moved.wait()

    async def follow(self, reader: Reader) -> AsyncIterator[list[types_pb2.Output]]:
        """Output from the reader's place on, as much at once as waits (1 MiB at most), until the end."""
        self._readers.add(reader)
        try:
            while True:
                outputs = self._take(reader)
                if outputs:
                    yield outputs
                elif self._ended:
                    reader.skipped += max(0, self.end - reader.offset)
                    return
                else:
                    self._appended.clear()
                    await self._appended.wait()
        finally:
            self._readers.discard(reader)
            self._moved.set()

    def _take(self, reader: Reader) -> list[types_pb2.Output]:
        outputs: list[types_pb2.Output] = []
        room = BATCH_BYTES
        index = max(0, reader.chunk - self._dropped_chunks)
        while index < len(self._chunks) and room > 0:
            chunk = self._chunks[index]
            if chunk.end > reader.offset:
                if chunk.offset > reader.offset:
                    reader.skipped += chunk.offset - reader.offset
                    reader.offset = chunk.offset
                begin = reader.offset - chunk.offset
                data = bytes(chunk.data[begin : begin + room])
                outputs.append(types_pb2.Output(stream=STREAMS[chunk.stream], data=data, offset=reader.offset))
                room -= len(data)
                reader.offset += len(data)
            if chunk.end > reader.offset or index == len(self._chunks) - 1:
                # The last chunk may still grow.
                break
            index += 1
        reader.chunk = self._dropped_chunks + index
        self._moved.set()
        return outputs

    def _may_drop(self) -> bool:
        return all(reader.offset >= self._chunks[0].end for reader in self._readers)

    def _drop(self) -> None:
        self.size -= self._chunks.popleft().cost
        self._dropped_chunks += 1
