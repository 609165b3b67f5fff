"""S3 and compatible stores as an ObjectStore. botocore runs in a bounded pool of threads."""

# ruff: noqa: D102 - ObjectStore documents its methods
from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sandbox_agent.storage.backends.object_store import ObjectInfo, StoredObject
from sandbox_agent.storage.backends.s3.credentials import RENEWAL_WAIT, Connections
from sandbox_agent.storage.backends.s3.errors import translated
from sandbox_agent.storage.backends.s3.fast_put import WRITER_TAG
from sandbox_agent.storage.concurrency import PART_SIZE, BoundedThreads
from sandbox_agent.storage.errors import (
    AccessDeniedError,
    CredentialsExpiredError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from sandbox_agent.storage.backends.s3.client import S3Settings

_CHUNK: Final = 1 << 20
_PAGE: Final = 1000
_PARTS_AT_A_TIME: Final = 2
"""Parts that one upload sends at a time. One more is in memory, being filled."""
MAX_COPY: Final = 5 << 30
"""Bytes that S3 copies in one request."""
COPY_PART: Final = 1 << 30
_MAX_PARTS: Final = 10_000
"""S3's limit for one upload."""
_SPAN: Final = {"rpc.system": "aws-api", "rpc.service": "S3"}
_T = TypeVar("_T")


class S3Store:
    """An `ObjectStore` in a bucket.

    Args:
        settings: The location and the credentials.
        renewal_wait: Seconds that a request waits for new credentials after these have expired.
    """

    def __init__(self, settings: S3Settings, renewal_wait: float = RENEWAL_WAIT) -> None:
        self._threads = BoundedThreads("s3")
        self._connections = Connections(settings, self._threads, renewal_wait)

    @property
    def max_object_bytes(self) -> int:
        return _MAX_PARTS * PART_SIZE

    def renew(self, settings: S3Settings) -> None:
        """Use these settings, such as new credentials, from the next request on."""
        self._connections.renew(settings)

    @property
    def credentials_expire_at(self) -> datetime | None:
        """The time at which the current credentials expire; None if unknown."""
        return self._connections.settings.expires_at

    @property
    def needs_credentials(self) -> bool:
        """True if requests wait for new credentials, or soon will."""
        return self._connections.needs_renewal

    @contextlib.asynccontextmanager
    async def get(self, key: str) -> AsyncIterator[StoredObject]:
        answer = await self._read("get_object", key)
        body = answer["Body"]
        info = _info(key, answer)
        try:
            yield StoredObject(info, _served_at(answer), self._chunks(body))
        finally:
            body.close()

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterator[bytes],
        *,
        if_match: str = "",
        if_none_match: bool = False,
        writer_tag: int = 0,
    ) -> str:
        tag: dict[str, Any] = {"Metadata": {WRITER_TAG: _encode_tag(key, writer_tag)}} if writer_tag else {}
        conditions: dict[str, Any] = {}
        if if_match:
            conditions["IfMatch"] = if_match
        if if_none_match:
            conditions["IfNoneMatch"] = "*"
        if isinstance(body, bytes):
            answer = await self._call("put_object", Key=key, Body=body, **tag, **conditions)
            return str(answer["ETag"])
        async with contextlib.aclosing(_cut(body)) as parts:
            first = await anext(parts, b"")
            if len(first) == PART_SIZE:
                return await self._put_parts(key, first, parts, tag, conditions)
            return await self.put(key, first, if_match=if_match, if_none_match=if_none_match, writer_tag=writer_tag)

    async def stat(self, key: str) -> ObjectInfo:
        return _info(key, await self._read("head_object", key))

    async def copy(self, source: str, destination: str, *, if_match: str = "", size: int | None = None) -> str:
        if size is None or not if_match:
            info = await self.stat(source)
            if if_match and info.etag != if_match:
                raise PreconditionFailedError(source)
            size = info.size
        condition = {"CopySourceIfMatch": if_match} if if_match else {}
        origin = {"CopySource": {"Bucket": self._connections.settings.bucket, "Key": source}, **condition}
        if size > MAX_COPY:
            etag = await self._copy_parts(destination, size, origin)
        else:
            etag = str((await self._call("copy_object", Key=destination, **origin))["CopyObjectResult"]["ETag"])
        # Some stores ignore the condition. A copy with the source's etag has its content. Copies of large or encrypted
        # objects have other etags, so for those ask the source again.
        if if_match and etag != if_match and (await self.stat(source)).etag != if_match:
            raise PreconditionFailedError(source)
        return etag

    async def delete_many(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _PAGE):
            objects = [{"Key": key} for key in keys[start : start + _PAGE]]
            answer = await self._call("delete_objects", Delete={"Objects": objects, "Quiet": True})
            failed = [error for error in answer.get("Errors", ()) if error.get("Code") != "NoSuchKey"]
            if failed:
                raise StorageUnavailableError(f"{len(failed)} objects were not deleted: {failed[0].get('Code')}")

    async def pages(self, prefix: str, *, after: str = "") -> AsyncIterator[Sequence[ObjectInfo]]:
        position: dict[str, Any] = {"StartAfter": after} if after else {}
        while True:
            answer = await self._call("list_objects_v2", Prefix=prefix, MaxKeys=_PAGE, **position)
            if "IsTruncated" not in answer:
                # Any other answer with status 200 would read as an empty bucket.
                raise StorageUnavailableError("the answer to a listing is not a listing")
            items = answer.get("Contents", ())
            yield [ObjectInfo(item["Key"], item["Size"], item["ETag"], item["LastModified"]) for item in items]
            if not answer["IsTruncated"]:
                return
            position = {"ContinuationToken": answer["NextContinuationToken"]}

    def is_unchanged(self, prefix: str) -> bool:  # noqa: ARG002 - the protocol's
        return False

    async def start_watching(self, prefix: str) -> bool:  # noqa: ARG002 - the protocol's
        return False

    async def close(self) -> None:
        await self._threads.close()
        self._connections.close()

    async def _copy_parts(self, key: str, size: int, origin: dict[str, Any]) -> str:
        """Copy an object that is too large for one request, part by part, within the store."""
        upload = {"Key": key, "UploadId": (await self._call("create_multipart_upload", Key=key))["UploadId"]}
        parts: list[dict[str, Any]] = []
        try:
            for number, start in enumerate(range(0, size, COPY_PART), start=1):
                last = min(start + COPY_PART, size) - 1
                answer = await self._call(
                    "upload_part_copy", **upload, **origin, PartNumber=number, CopySourceRange=f"bytes={start}-{last}"
                )
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            done = await self._call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
            return str(done["ETag"])
        except BaseException:
            with contextlib.suppress(Exception):
                await self._call("abort_multipart_upload", **upload)
            raise

    async def _put_parts(
        self, key: str, first: bytes, following: AsyncIterator[bytes], tag: dict[str, Any], conditions: dict[str, Any]
    ) -> str:
        answer = await self._call("create_multipart_upload", Key=key, ChecksumAlgorithm="CRC32", **tag)
        upload = {"Key": key, "UploadId": answer["UploadId"]}
        running: set[asyncio.Task[None]] = set()
        parts: list[dict[str, Any]] = []
        try:
            part, number = first, 1
            while part:
                running.add(asyncio.create_task(self._put_part(upload, number, part, parts)))
                number += 1
                if len(running) >= _PARTS_AT_A_TIME:
                    running = await _one_done(running)
                part = await anext(following, b"")
            while running:
                running = await _one_done(running)
            parts.sort(key=lambda item: int(item["PartNumber"]))
            assembly = {"MultipartUpload": {"Parts": parts}, **conditions}
            done = await self._call("complete_multipart_upload", **upload, **assembly)
            return str(done["ETag"])
        except BaseException:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            with contextlib.suppress(Exception):
                await self._call("abort_multipart_upload", **upload)
            raise

    async def _put_part(self, upload: dict[str, str], number: int, part: bytes, parts: list[dict[str, Any]]) -> None:
        answer = await self._call("upload_part", **upload, PartNumber=number, Body=part, ChecksumAlgorithm="CRC32")
        done = {"PartNumber": number, "ETag": answer["ETag"]}
        if answer.get("ChecksumCRC32"):
            done["ChecksumCRC32"] = answer["ChecksumCRC32"]
        parts.append(done)

    async def _chunks(self, body: Any) -> AsyncIterator[bytes]:
        while chunk := await self._run(functools.partial(body.read, _CHUNK)):
            yield chunk

    async def _read(self, operation: str, key: str) -> Any:
        """GET or HEAD an object.

        With credentials for a part of the bucket, a store may refuse a request for an object that does not exist. The
        refusal of a HEAD has no body that says why. A listing of this one key decides.
        """
        try:
            return await self._call(operation, Key=key)
        except CredentialsExpiredError:
            raise
        except AccessDeniedError:
            listed = await self._call("list_objects_v2", Prefix=key, MaxKeys=1)
            if not any(item["Key"] == key for item in listed.get("Contents", ())):
                raise ObjectNotFoundError(key) from None
            return await self._call(operation, Key=key)

    async def _call(self, operation: str, **arguments: Any) -> Any:
        with tracing.span(f"S3 {operation}", _SPAN):
            return await self._request(operation, arguments)

    async def _request(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Make a request. If the credentials have expired, repeat it with new ones: a refused request did nothing."""
        while True:
            lease = await self._connections.lease()
            connection = lease.connection
            is_put = operation == "put_object"
            method = connection.put_object if is_put else getattr(connection.client, operation)
            try:
                answer = await self._run(functools.partial(method, Bucket=lease.settings.bucket, **arguments))
            except CredentialsExpiredError:
                if not await self._connections.wait_for_renewal(lease):
                    raise
            else:
                lease.has_worked = True
                return answer

    async def _run(self, function: Callable[[], _T]) -> _T:
        try:
            return await self._threads.run(function)
        except Exception as error:
            known = translated(error)
            if known is None:
                raise
            raise known from error


async def _cut(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Cut the body into parts of PART_SIZE. Only the last one is shorter, as some stores require."""
    buffer = bytearray()
    async for chunk in body:
        buffer += chunk
        while len(buffer) >= PART_SIZE:
            yield bytes(buffer[:PART_SIZE])
            del buffer[:PART_SIZE]
    if buffer:
        yield bytes(buffer)


async def _one_done(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    done, rest = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return rest


def _encode_tag(key: str, generation: int) -> str:
    return f"{generation}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _info(key: str, answer: Any) -> ObjectInfo:
    # Stores differ in the case of header names.
    tag = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}.get(WRITER_TAG, "")
    number = tag.partition("-")[0]
    writer_tag = int(number) if number.isdecimal() and tag == _encode_tag(key, int(number)) else 0
    return ObjectInfo(key, answer["ContentLength"], answer["ETag"], answer["LastModified"], writer_tag)


def _served_at(answer: Any) -> datetime:
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return datetime.now(UTC)
