"""A language server process: requests, notifications, and its end. Knows nothing about cells.

Errors: CheckerError if the server ended, returned an error, or used too much memory. Then it must be replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.linux.process_tree import kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sandbox_runtime.interpreters.zygote_client import Child

    Spawn = Callable[[Sequence[int]], Child]

MAX_MEMORY: Final = 1 << 30
"""Resident bytes above which a server is ended, even in the middle of a check."""
SOFT_MEMORY: Final = MAX_MEMORY // 2
_MAX_MESSAGE: Final = 64 << 20
_MEMORY_CHECK_INTERVAL: Final = 0.25
_HEADER_END: Final = b"\r\n\r\n"


class CheckerError(Exception):
    """The server cannot answer."""


class LanguageServer:
    """One server process. Create it with `start`.

    Args:
        child: The process.
        reader: Its standard output.
        writer: Its standard input.
    """

    def __init__(self, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._child = child
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._task = asyncio.get_running_loop().create_task(self._receive())

    @classmethod
    async def start(cls, spawn: Spawn) -> LanguageServer:
        """Start the process.

        Args:
            spawn: Starts it with the given descriptors as 0, 1, 2 and 3.
        """
        ours, theirs = socket.socketpair()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            child = spawn([theirs.fileno(), theirs.fileno(), null, null])
        finally:
            theirs.close()
            os.close(null)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 16)
        return cls(child, reader, writer)

    @property
    def has_ended(self) -> bool:
        """True once it has ended."""
        return self._task.done()

    @property
    def memory(self) -> int:
        """Its resident bytes; 0 if unknown."""
        try:
            pages = Path(f"/proc/{self._child.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def notify(self, method: str, parameters: Mapping[str, Any]) -> None:
        """Send a notification."""
        self._send({"method": method, "params": parameters})

    async def request(self, method: str, parameters: Mapping[str, Any]) -> Any:
        """Send a request, and return the result.

        Raises:
            CheckerError: It ended, returned an error, or used too much memory.
        """
        if self.has_ended:
            raise CheckerError("the type checker has ended")
        self._last += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = answer
        self._send({"id": self._last, "method": method, "params": parameters})
        while not (await asyncio.wait([answer], timeout=_MEMORY_CHECK_INTERVAL))[0]:
            if self.memory > MAX_MEMORY:
                await self.close()
                raise CheckerError(f"the type checker took more than {MAX_MEMORY >> 20} MiB of memory")
        return answer.result()

    async def close(self) -> None:
        """End it."""
        self._task.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await self._task
        self._writer.close()
        with contextlib.suppress(Exception):
            await asyncio.shield(self._child.started)
        await kill_tree(self._child.tree, self._child.pid)

    def _send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._writer.write(b"Content-Length: %d%b%b" % (len(data), _HEADER_END, data))

    async def _receive(self) -> None:
        try:
            while True:
                header = await self._reader.readuntil(_HEADER_END)
                fields = dict(line.split(b":", 1) for line in header.lower().split(b"\r\n") if b":" in line)
                size = int(fields[b"content-length"])
                if not 0 <= size <= _MAX_MESSAGE:
                    break
                self._handle(json.loads(await self._reader.readexactly(size)))
        except (EOFError, OSError, ValueError, KeyError, TypeError, asyncio.LimitOverrunError):
            pass
        finally:
            waiting, self._waiting = self._waiting, {}
            for answer in waiting.values():
                if not answer.done():
                    answer.set_exception(CheckerError("the type checker has ended"))

    def _handle(self, message: dict[str, Any]) -> None:
        if "method" in message:
            # The server may send requests to its client, an editor. The answer is always empty.
            if "id" in message:
                self._send({"id": message["id"], "result": None})
            return
        answer = self._waiting.pop(message["id"], None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(CheckerError(str(message["error"].get("message"))[:1000]))
        else:
            answer.set_result(message.get("result"))
