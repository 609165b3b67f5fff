"""Saves the variables of a suspended session as one object beside the files, and loads them when it wakes.

The agent treats the variables as bytes and never unpickles them. The object consists of a line of JSON, the bytes from
the runtime, and the SHA-256 (32 bytes) of both. It is written after the files, in one request. The line names the
commit that the variables belong to, and they are not used with the files of another commit. A crash between the two
writes therefore never combines variables and files of different moments. The object is loaded once, then removed.

Best effort: no error here fails a suspend or a wake. Errors are reported to the runtime, which keeps them for clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.errors import ObjectNotFoundError, StorageError, translating
from sandbox_agent.storage.repository.keys import VARIABLES, printable
from sandbox_agent.storage.timeouts import Pace, cancel_call
from sandbox_link.frames import Stream
from sandbox_link.protocol import Data, OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.repository.head import CommitId
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_link.protocol import Call, Runtime

MAX_BYTES: Final = 64 << 20
"""Bytes of all pickles of a session."""
SAVE_TIMEOUT: Final = 15.0
"""Seconds for interpreters to pickle."""
LOAD_TIMEOUT: Final = 60.0
"""Seconds for interpreters to unpickle, imports included."""
_TRANSFER_TIMEOUT: Final = 30.0
"""Additional seconds for the transfer of the object."""
_MAX_OBJECT_BYTES: Final = MAX_BYTES + (16 << 20)
_MAX_LINE_BYTES: Final = 4096
_DIGEST_BYTES: Final = 32
_VERSION: Final = 1
_DAMAGED: Final = "the saved variables are damaged"

_log = logging.getLogger(__name__)


class _UnusableError(Exception):
    """Refusal to load stored variables. The text says why."""


@dataclass(frozen=True, slots=True)
class Location:
    """The object that holds a session's variables.

    Attributes:
        store: The bucket.
        keys: The workspace's keys.
        owner: The session, as `<namespace>/<name>`. Another session with the same workspace has its own variables.
    """

    store: ObjectStore
    keys: Keys
    owner: str

    @property
    def key(self) -> str:
        """The object's key."""
        return self.keys.prefix + VARIABLES + hashlib.sha256(self.owner.encode()).hexdigest()[:32]


class Variables:
    """Saves and loads a session's variables.

    Args:
        location: The object that holds them.
        runtime: Pickles and unpickles them.
        commit: Returns the commit of the sandbox's files; None if they belong to no commit.
    """

    def __init__(self, location: Location, runtime: Runtime, commit: Callable[[], CommitId | None]) -> None:
        self._location = location
        self._runtime = runtime
        self._commit = commit
        self._may_be_stored = False

    async def save(self) -> None:
        """Save the variables that the interpreters can pickle. If none are saved, remove earlier ones."""
        is_saved, self._may_be_stored = False, True
        try:
            async with asyncio.timeout(SAVE_TIMEOUT + _TRANSFER_TIMEOUT):
                with translating():
                    is_saved = await self._save()
        except (OperationError, TimeoutError) as error:
            _log.warning("variables were not saved: %s", error)
        if not is_saved:
            await self.forget()

    async def load(self) -> None:
        """Load the saved variables, or report to the runtime why they cannot be loaded."""
        problem = ""
        try:
            async with asyncio.timeout(LOAD_TIMEOUT + _TRANSFER_TIMEOUT):
                with translating():
                    await self._load()
        except _UnusableError as error:
            problem = str(error)
        except OperationError as error:
            problem = f"they could not be loaded: {error.message}"
        except TimeoutError:
            problem = "loading them took too long"
        if problem:
            _log.warning("variables are lost: %s", problem)
            with contextlib.suppress(OperationError, TimeoutError):
                async with asyncio.timeout(_TRANSFER_TIMEOUT):
                    arguments = {"limit": 0, "timeout": LOAD_TIMEOUT, "problem": printable(problem)}
                    await self._runtime.call("variables.load", arguments)

    async def forget(self) -> None:
        """Remove the stored variables. Does nothing if there cannot be any."""
        if self._may_be_stored:
            try:
                async with asyncio.timeout(_TRANSFER_TIMEOUT):
                    await self._location.store.delete_many([self._location.key])
            except (StorageError, TimeoutError) as error:
                _log.warning("saved variables were not removed: %s", error)
            else:
                self._may_be_stored = False

    async def _save(self) -> bool:
        """Save the variables. Returns False if there are none, or no commit that they belong to."""
        commit = self._commit()
        if commit is None:
            return False
        call = await self._runtime.open("variables.save", {"limit": MAX_BYTES, "timeout": SAVE_TIMEOUT})
        try:
            await call.end()
            async with contextlib.aclosing(_body(call)) as pieces:
                first = await anext(pieces, b"")
                if first:
                    line = {"version": _VERSION, "session": self._location.owner, "commit": commit}
                    await self._location.store.put(self._location.key, _framed(line, first, pieces))
        except BaseException:
            await cancel_call(call)
            raise
        return bool(first)

    async def _load(self) -> None:
        try:
            async with self._location.store.get(self._location.key) as stored:
                self._may_be_stored = True
                if stored.info.size > _MAX_OBJECT_BYTES:
                    raise _UnusableError(_DAMAGED)
                async with contextlib.aclosing(_unframed(stored.chunks, self._check_line)) as pieces:
                    await self._send(pieces)
        except ObjectNotFoundError:
            return

    async def _send(self, pieces: AsyncIterator[bytes]) -> None:
        call = await self._runtime.open("variables.load", {"limit": MAX_BYTES, "timeout": LOAD_TIMEOUT})
        try:
            async for piece in pieces:
                await call.send(piece)
            await call.end()
            async for _ in Pace().items(call):
                pass
        except BaseException:
            # The runtime uses nothing before the end of its input.
            await cancel_call(call)
            raise

    def _check_line(self, line: Any) -> None:
        if not isinstance(line, dict) or line.get("version") != _VERSION or line.get("session") != self._location.owner:
            raise _UnusableError(_DAMAGED)
        commit = self._commit()
        if commit is None or line.get("commit") != list(commit):
            raise _UnusableError("files were saved after the variables: the two do not belong together")


async def _body(call: Call) -> AsyncGenerator[bytes, None]:
    size = 0
    async for item in Pace().items(call):
        if isinstance(item, Data) and item.stream is Stream.BODY:
            size += len(item.data)
            if size > _MAX_OBJECT_BYTES:
                message = "the sandbox sent more bytes of variables than the limit"
                raise OperationError("INTERNAL", "RUNTIME_UNAVAILABLE", message)
            yield item.data


async def _framed(line: dict[str, Any], first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the object's content."""
    digest = hashlib.sha256()
    start = json.dumps(line, separators=(",", ":")).encode() + b"\n" + first
    digest.update(start)
    yield start
    async for piece in rest:
        digest.update(piece)
        yield piece
    yield digest.digest()


async def _unframed(chunks: AsyncIterator[bytes], check: Callable[[Any], None]) -> AsyncGenerator[bytes, None]:
    """Yield the bytes between the line and the digest.

    Raises:
        _UnusableError: `check` refuses the line, or, at the end, the digest does not match.
    """
    digest, buffer, is_open = hashlib.sha256(), b"", False
    async for chunk in chunks:
        buffer += chunk
        if not is_open:
            line, newline, rest = buffer.partition(b"\n")
            if not newline and len(buffer) <= _MAX_LINE_BYTES:
                continue
            check(_read_line(line))
            digest.update(line + newline)
            buffer, is_open = rest, True
        piece, buffer = buffer[:-_DIGEST_BYTES], buffer[-_DIGEST_BYTES:]
        if piece:
            digest.update(piece)
            yield piece
    if not is_open or buffer != digest.digest():
        raise _UnusableError(_DAMAGED)


def _read_line(line: bytes) -> Any:
    try:
        return json.loads(line) if len(line) <= _MAX_LINE_BYTES else None
    except (ValueError, RecursionError):
        return None
