"""E2B's HTTP routes for the content of files."""

from __future__ import annotations

import contextlib
import posixpath
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response

from sandbox_client.errors import FailedPrecondition, InvalidArgument, NotFound, SandboxError
from sandbox_gateway.doors.e2b import values
from sandbox_gateway.doors.e2b.cut_off_response import CutOffResponse
from sandbox_gateway.doors.e2b.envd.file_messages import write_metadata
from sandbox_gateway.doors.e2b.envd.filesystem import read_entry
from sandbox_gateway.doors.e2b.errors import file_error
from sandbox_gateway.doors.e2b.upload_bodies import FormReader, read_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from sandbox_client.models.file_info import FileInfo
    from sandbox_gateway.doors.e2b.sessions import OpenSession

_CHUNK: Final = 1 << 20
_METADATA: Final = "x-metadata-"
_forms: Final = FormReader()


async def download(session: OpenSession, request: Request) -> Response:
    """Answer `GET /files` with the file's content, as it is read."""
    path = session.place.to_files(request.query_params.get("path", ""))
    infos: list[FileInfo] = []
    chunks = session.sandbox.files.stream(path, on_info=infos.append)
    # The first chunk comes before the status, so that an error has a status of its own.
    first = await anext(chunks, b"")
    name = posixpath.basename(path).encode("ascii", "replace").decode().replace('"', "'")
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    # Files of the kernel say 0, and have content nevertheless.
    size = infos[0].size if infos else 0
    if size:
        headers["Content-Length"] = str(size)

    async def content() -> AsyncGenerator[bytes, None]:
        left = size
        async with contextlib.aclosing(chunks):
            yield first[:left] if size else first
            left -= len(first)
            async for chunk in chunks:
                # A log may have grown since its size was sent.
                if size and left <= 0:
                    return
                yield chunk[:left] if size else chunk
                left -= len(chunk)
        if left > 0:
            raise FailedPrecondition(f"{path} became shorter while it was read", reason="FILE_CHANGED")

    return CutOffResponse(content(), media_type="application/octet-stream", headers=headers)


async def upload(session: OpenSession, request: Request) -> Response:
    """Answer `POST /files`: write the body, or each file of a form, and return what was written."""
    given = {
        name.removeprefix(_METADATA): value for name, value in request.headers.items() if name.startswith(_METADATA)
    }
    metadata = write_metadata(given)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        path = request.query_params.get("path", "")
        if not path:
            raise InvalidArgument("path is missing", reason="INVALID_ARGUMENT", field="path")
        written = [await _write(session, path, read_body(request), metadata)]
    else:
        written = await _write_form(session, request, metadata)
    return JSONResponse([await _describe(session, info) for info in written])


async def compose(session: OpenSession, request: Request) -> Response:
    """Answer `POST /files/compose`: join files to one, and remove them."""
    message = values.read_object(await request.body())
    sources = [session.place.to_files(path, "source_paths") for path in values.texts(message, "source_paths")]
    destination = values.text(message, "destination")
    if not sources or not destination:
        raise InvalidArgument("source_paths and destination are needed", reason="INVALID_ARGUMENT", field="destination")
    if session.place.to_files(destination) in sources:
        raise InvalidArgument("destination must not be a source", reason="INVALID_ARGUMENT", field="destination")
    files = session.sandbox.files

    async def joined() -> AsyncGenerator[bytes, None]:
        for source in sources:
            async for chunk in files.stream(source):
                yield chunk

    info = await _write(session, destination, joined(), {})
    for source in dict.fromkeys(sources):
        with contextlib.suppress(NotFound):
            await files.remove(source)
    return JSONResponse(await _describe(session, info))


async def _write(
    session: OpenSession, path: str, content: AsyncIterator[bytes], metadata: Mapping[str, str]
) -> FileInfo:
    return await session.sandbox.files.write_stream(session.place.to_files(path), content, metadata=metadata)


async def _write_form(session: OpenSession, request: Request, metadata: Mapping[str, str]) -> list[FileInfo]:
    given = request.query_params.get("path")
    written: list[FileInfo] = []
    async with _forms.read(session.key, request) as form:
        uploads: list[Any] = [each for each in form.getlist("file") if not isinstance(each, str)]
        if given is not None and len(uploads) > 1:
            message = "path names one file, but the form has several: leave it out"
            raise InvalidArgument(message, reason="INVALID_ARGUMENT", field="path")
        for each in uploads:
            path = given if given is not None else each.filename
            if not path:
                raise InvalidArgument("a file of the form has no name", reason="INVALID_ARGUMENT", field="file")
            written.append(await _write(session, path, _part(each), metadata))
    return written


async def _part(upload: UploadFile) -> AsyncGenerator[bytes, None]:
    while chunk := await upload.read(_CHUNK):
        yield chunk


async def _describe(session: OpenSession, info: FileInfo) -> dict[str, Any]:
    entry = await read_entry(session, info)
    shown = {"path": entry["path"], "name": entry["name"], "type": "file"}
    return {**shown, "metadata": entry["metadata"]} if "metadata" in entry else shown


def file_error_response(error: SandboxError) -> Response:
    """Return an error as the answer of these routes."""
    status, body = file_error(error)
    return JSONResponse(body, status_code=status)
