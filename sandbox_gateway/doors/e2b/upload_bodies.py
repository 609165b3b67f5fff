"""Reads the bodies of uploads: packed ones, and forms, which need room on this machine's disk meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from starlette.formparsers import MultiPartException, MultiPartParser

from sandbox_client.errors import InvalidArgument, ResourceExhausted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.datastructures import FormData
    from starlette.requests import Request

MAX_FORM: Final = 512 << 20
"""Bytes of one form, and of all forms of a session that are read at the same time."""
MAX_FORMS: Final = 2 << 30
"""Bytes of all forms that are read at the same time."""
_MAX_PARTS: Final = 1000
_MAX_FIELDS: Final = 16
"""Parts that are no files. They stay in memory, and have no meaning here."""
_IN_MEMORY: Final = 64 << 10
"""Bytes of a file of a form that stay in memory."""
_CHUNK: Final = 1 << 20


async def read_body(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield a request's body without its compression.

    Raises:
        InvalidArgument: It has another compression than gzip, or is damaged.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        async for chunk in request.stream():
            if chunk:
                yield chunk
        return
    if encoding != "gzip":
        message = f"the encoding {encoding} is not supported: use gzip or none"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="Content-Encoding")
    async for piece in unpack(request.stream()):
        yield piece


async def unpack(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield what gzip has packed, which may be several files in a row.

    Raises:
        InvalidArgument: It is not gzip, or ends too early.
    """
    unpacker = zlib.decompressobj(wbits=31)
    is_whole = False
    try:
        async for chunk in chunks:
            data = chunk
            while data:
                if unpacker.eof:
                    unpacker = zlib.decompressobj(wbits=31)
                    # Very many empty ones must not stop all other requests.
                    await asyncio.sleep(0)
                # A few bytes may unpack to very many, so they come in pieces.
                if piece := unpacker.decompress(data, _CHUNK):
                    yield piece
                data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        if rest := unpacker.flush():
            yield rest
        is_whole = unpacker.eof
    except zlib.error:
        raise InvalidArgument("the body is not gzip", reason="INVALID_ARGUMENT", field="body") from None
    if not is_whole:
        raise InvalidArgument("the body ends too early", reason="INVALID_ARGUMENT", field="body")


class FormReader:
    """Reads forms, with a bound for the room that they need together.

    Args:
        most: Bytes of one form, and of all forms of a session.
        most_together: Bytes of all forms.
    """

    def __init__(self, most: int = MAX_FORM, most_together: int = MAX_FORMS) -> None:
        self._most = most
        self._most_together = most_together
        self._used: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def read(self, session_key: str, request: Request) -> AsyncGenerator[FormData, None]:
        """Read a form, and remove its files at the end.

        Args:
            session_key: Tells the session from all others.
            request: The request.

        Raises:
            InvalidArgument: It is not a form, or has too many parts.
            ResourceExhausted: It is too large, or there are too many forms.
        """
        mine = 0

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal mine
            async for chunk in request.stream():
                mine += len(chunk)
                self._used[session_key] += len(chunk)
                self._check(session_key, mine)
                yield chunk

        try:
            parser = _Parser(request.headers, counted(), max_files=_MAX_PARTS, max_fields=_MAX_FIELDS)
            try:
                form = await parser.parse()
            except MultiPartException as error:
                raise InvalidArgument(error.message, reason="INVALID_ARGUMENT", field="body") from None
            try:
                yield form
            finally:
                await form.close()
        finally:
            self._used[session_key] -= mine
            if not self._used[session_key]:
                del self._used[session_key]

    def _check(self, session_key: str, mine: int) -> None:
        if mine > self._most:
            message = f"a form may have {self._most} bytes: upload larger files as application/octet-stream"
            raise ResourceExhausted(message, reason="FILE_TOO_LARGE")
        if self._used[session_key] > self._most or self._used.total() > self._most_together:
            message = "too many forms are uploaded at the same time: wait, or upload files as application/octet-stream"
            raise ResourceExhausted(message, reason="TOO_MANY_CALLS")


class _Parser(MultiPartParser):
    spool_max_size: Any = _IN_MEMORY
