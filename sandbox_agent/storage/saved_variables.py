"""Variables of a session that sleeps: one object beside the files. For the agent they are bytes, never unpickled.

The object: a line of JSON, what the runtime gave, and the SHA-256 (32 bytes) of both. It is written in one piece, after
the files, and belongs to the commit that the line names: with files of any other commit it is not used, so that a crash
between the two never mixes one time's variables with another time's files. It is handed back once, and then removed.

Best effort: nothing here fails a suspend or a wake. What went wrong is told to the runtime, which keeps it for clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.backends.object_store import ObjectNotFoundError, StorageError
from sandbox_agent.storage.errors import translating
from sandbox_agent.storage.repository.keys import VARIABLES, printable
from sandbox_agent.storage.timeouts import give_up, items
from sandbox_link.frames import Stream
from sandbox_link.protocol import Data, OperationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_agent.storage.repository.keys import Keys
    from sandbox_link.protocol import Call, Runtime

MAX_BYTES: Final = 64 << 20
"""Of all pickles of a session."""
SAVE_SECONDS: Final = 15.0
"""For interpreters to pickle."""
LOAD_SECONDS: Final = 60.0
"""For interpreters to unpickle, imports included."""
_STORE_SECONDS: Final = 30.0
"""On top, for the object to pass."""
_MAX_OBJECT: Final = MAX_BYTES + (16 << 20)
_MAX_LINE: Final = 4096
_DIGEST: Final = 32
_VERSION: Final = 1
_DAMAGED: Final = "what was saved of the variables is damaged"

Commit = tuple[int, str, str]

_log = logging.getLogger(__name__)


class _UnusableError(Exception):
    """What is stored is not handed back; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where variables are kept.

    Attributes:
        store: The bucket.
        keys: The workspace's part of it.
        owner: The session, as `<namespace>/<name>`: another one that has the same workspace has its own variables.
    """

    store: ObjectStore
    keys: Keys
    owner: str

    @property
    def key(self) -> str:
        """The object's."""
        return self.keys.prefix + VARIABLES + hashlib.sha256(self.owner.encode()).hexdigest()[:32]


class Variables:
    """Saves and brings back variables.

    Args:
        place: Where they are kept.
        runtime: Has them.
        commit: Tells which commit the sandbox's files are; None: of none.
    """

    def __init__(self, place: Place, runtime: Runtime, commit: Callable[[], Commit | None]) -> None:
        self._place = place
        self._runtime = runtime
        self._commit = commit
        self._may_be_stored = False

    async def save(self) -> None:
        """Save what the interpreters can give. What was saved before goes, also where this fails."""
        is_saved, self._may_be_stored = False, True
        try:
            async with asyncio.timeout(SAVE_SECONDS + _STORE_SECONDS):
                with translating():
                    is_saved = await self._save()
        except (OperationError, TimeoutError) as error:
            _log.warning("variables were not saved: %s", error)
        if not is_saved:
            await self.forget()

    async def load(self) -> None:
        """Hand back what was saved, or tell why it is not."""
        problem = ""
        try:
            async with asyncio.timeout(LOAD_SECONDS + _STORE_SECONDS):
                with translating():
                    await self._load()
        except _UnusableError as error:
            problem = str(error)
        except OperationError as error:
            problem = f"they could not be brought back: {error.message}"
        except TimeoutError:
            problem = "to bring them back took too long"
        if problem:
            _log.warning("variables are lost: %s", problem)
            with contextlib.suppress(OperationError, TimeoutError):
                async with asyncio.timeout(_STORE_SECONDS):
                    arguments = {"limit": 0, "timeout": LOAD_SECONDS, "problem": printable(problem)}
                    await self._runtime.call("variables.load", arguments)

    async def forget(self) -> None:
        """Remove what is stored, where there was something."""
        if self._may_be_stored:
            try:
                async with asyncio.timeout(_STORE_SECONDS):
                    await self._place.store.delete_many([self._place.key])
            except (StorageError, TimeoutError) as error:
                _log.warning("saved variables were not removed: %s", error)
            else:
                self._may_be_stored = False

    async def _save(self) -> bool:
        """Whether there was anything to save."""
        commit = self._commit()
        if commit is None:
            return False
        call = await self._runtime.open("variables.save", {"limit": MAX_BYTES, "timeout": SAVE_SECONDS})
        try:
            await call.end()
            async with contextlib.aclosing(_body(call)) as pieces:
                first = await anext(pieces, b"")
                if first:
                    line = {"version": _VERSION, "session": self._place.owner, "commit": commit}
                    await self._place.store.put(self._place.key, _framed(line, first, pieces))
        except BaseException:
            await give_up(call)
            raise
        return bool(first)

    async def _load(self) -> None:
        try:
            async with self._place.store.get(self._place.key) as stored:
                self._may_be_stored = True
                if stored.info.size > _MAX_OBJECT:
                    raise _UnusableError(_DAMAGED)
                async with contextlib.aclosing(_unframed(stored.chunks, self._check_line)) as pieces:
                    await self._give(pieces)
        except ObjectNotFoundError:
            return

    async def _give(self, pieces: AsyncIterator[bytes]) -> None:
        call = await self._runtime.open("variables.load", {"limit": MAX_BYTES, "timeout": LOAD_SECONDS})
        try:
            async for piece in pieces:
                await call.send(piece)
            await call.end()
            async for _ in items(call):
                pass
        except BaseException:
            # Without the end of its input the runtime has used nothing.
            await give_up(call)
            raise

    def _check_line(self, line: Any) -> None:
        if not isinstance(line, dict) or line.get("version") != _VERSION or line.get("session") != self._place.owner:
            raise _UnusableError(_DAMAGED)
        commit = self._commit()
        if commit is None or line.get("commit") != list(commit):
            raise _UnusableError("files were saved after the variables were: the two do not belong together")


async def _body(call: Call) -> AsyncGenerator[bytes, None]:
    size = 0
    async for item in items(call):
        if isinstance(item, Data) and item.stream is Stream.BODY:
            size += len(item.data)
            if size > _MAX_OBJECT:
                message = "the sandbox gave more variables than the limit"
                raise OperationError("INTERNAL", "RUNTIME_UNAVAILABLE", message)
            yield item.data


async def _framed(line: dict[str, Any], first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The object's content."""
    digest = hashlib.sha256()
    start = json.dumps(line, separators=(",", ":")).encode() + b"\n" + first
    digest.update(start)
    yield start
    async for piece in rest:
        digest.update(piece)
        yield piece
    yield digest.digest()


async def _unframed(chunks: AsyncIterator[bytes], check: Callable[[Any], None]) -> AsyncGenerator[bytes, None]:
    """What lies between the line and the digest.

    Raises:
        _UnusableError: The line is refused; or, at the end, the digest is another one.
    """
    digest, held, is_open = hashlib.sha256(), b"", False
    async for chunk in chunks:
        held += chunk
        if not is_open:
            line, newline, rest = held.partition(b"\n")
            if not newline and len(held) <= _MAX_LINE:
                continue
            check(_read_line(line))
            digest.update(line + newline)
            held, is_open = rest, True
        piece, held = held[:-_DIGEST], held[-_DIGEST:]
        if piece:
            digest.update(piece)
            yield piece
    if not is_open or held != digest.digest():
        raise _UnusableError(_DAMAGED)


def _read_line(line: bytes) -> Any:
    try:
        return json.loads(line) if len(line) <= _MAX_LINE else None
    except (ValueError, RecursionError):
        return None
