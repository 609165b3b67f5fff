"""Keeps the latest output of a background process, for readers that attach and detach.

A reader starts at a position among all output bytes. While readers are attached, output that they have not read is not
dropped: `wait_for_room` makes the producer wait. Without readers the oldest output is dropped.
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
"""Bytes counted for each chunk in addition to its content."""


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
    """The position of one reader.

    Attributes:
        offset: Position of the next byte that it gets.
        skipped: Bytes before `offset` that were dropped before it could read them.
        chunk: Number of the chunk that it reads next, counting dropped ones.
    """

    offset: int
    skipped: int = 0
    chunk: int = 0


class OutputRing:
    """The latest output, with the position of each byte.

    Args:
        capacity: Bytes to keep; see `set_capacity` and `lift_limit`.

    Attributes:
        end: Total number of bytes written.
        size: Bytes in memory, _CHUNK_COST included.
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
        self._reader_moved = asyncio.Event()

    @property
    def start(self) -> int:
        """Position of the oldest byte that is kept."""
        return self._chunks[0].offset if self._chunks else self.end

    def append(self, stream: Stream, data: bytes) -> None:
        """Append output. The producer has to call `wait_for_room` afterwards."""
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
        """Continue at position `offset`, because the output before it was never received."""
        self.end = max(self.end, offset)

    def finish(self) -> None:
        """Mark the end of the output."""
        self._ended = True
        self._appended.set()

    def set_capacity(self, capacity: int) -> None:
        """Change the capacity, unless the limit was lifted."""
        if self.capacity != sys.maxsize:
            self.capacity = capacity

    def lift_limit(self) -> None:
        """Never make the producer wait again: it is ending, and its last output is small enough to keep."""
        self.capacity = sys.maxsize
        self._reader_moved.set()

    def drop_read(self) -> None:
        """Drop the output that every reader has read. Without readers, drop all."""
        while self._chunks and self._may_drop():
            self._drop()

    async def wait_for_room(self) -> None:
        """Wait until the output is within the capacity, dropping the oldest if no reader waits for it."""
        while self.size > self.capacity and len(self._chunks) > 1:
            if self._may_drop():
                self._drop()
            else:
                self._reader_moved.clear()
                await self._reader_moved.wait()

    async def follow(self, reader: Reader) -> AsyncIterator[list[types_pb2.Output]]:
        """Yield output from the reader's position to the end, all that is available at once (at most 1 MiB)."""
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
            self._reader_moved.set()

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
        self._reader_moved.set()
        return outputs

    def _may_drop(self) -> bool:
        return all(reader.offset >= self._chunks[0].end for reader in self._readers)

    def _drop(self) -> None:
        self.size -= self._chunks.popleft().cost
        self._dropped_chunks += 1
