"""A bucket of S3, or of a compatible store. The credentials are the caller's own, found as by every AWS tool."""

# ruff: noqa: D102 - Objects documents its methods
from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, SandboxError, SandboxUnavailable, SessionFailed, Unauthenticated
from sandbox_client.stored.objects import StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PAGE: Final = 1_000
"""Objects in one request to list or delete."""
_READ_LIMIT: Final = 64 << 20
"""Bytes of the largest object that is read."""
_REFUSED: Final = frozenset({
    "AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"
})  # fmt: skip


class S3Objects:
    """`Objects` below a prefix of a bucket."""

    def __init__(
        self,
        place: str,
        bucket: str,
        prefix: str,
        endpoint_url: str | None,
        region: str | None,
        *,
        is_path_style: bool | None,
    ) -> None:
        """Create a client. The first call connects.

        Args:
            place: The store, as the caller wrote it.
            bucket: The bucket's name.
            prefix: What all keys of the store begin with.
            endpoint_url: Address of the store; AWS if None.
            region: The bucket's region; that of the environment if None.
            is_path_style: Whether the bucket is a part of the URL's path; if None, it is if there is an address.

        Raises:
            SessionFailed: The package botocore is missing.
        """
        try:
            import botocore.session  # noqa: PLC0415 - slow to import, and part of an extra
            from botocore.config import Config  # noqa: PLC0415 - same
        except ImportError:
            message = (
                f"store {place}: reading a bucket needs the package botocore, which is missing in this environment"
            )
            raise SessionFailed(message, reason="EXTRA_MISSING") from None
        self.place = place
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        is_path = bool(endpoint_url) if is_path_style is None else is_path_style
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 4},
            s3={"addressing_style": "path" if is_path else "auto"},
            connect_timeout=10,
            read_timeout=60,
        )
        session: Any = botocore.session.Session()
        region = region or session.get_config_variable("region") or "us-east-1"
        with self._errors():
            self._client: Any = session.create_client(
                "s3", region_name=region, endpoint_url=endpoint_url, config=config
            )

    def folders(self, prefix: str) -> list[str]:
        start = len(self._prefix + prefix)
        return [
            each["Prefix"][start:].rstrip("/")
            for page in self._pages(prefix, Delimiter="/")
            for each in page.get("CommonPrefixes", ())
        ]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        start = len(self._prefix)
        for page in self._pages(prefix):
            for each in page.get("Contents", ()):
                yield StoredObject(each["Key"][start:], each["Size"], each["LastModified"])

    def read(self, key: str) -> bytes | None:
        try:
            with self._errors():
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
                content: bytes = answer["Body"].read(_READ_LIMIT)
        except NotFound as error:
            if error.reason == "NoSuchKey":
                return None
            raise
        return content

    def delete(self, keys: Sequence[str]) -> None:
        for start in range(0, len(keys), _PAGE):
            objects = [{"Key": self._prefix + key} for key in keys[start : start + _PAGE]]
            with self._errors():
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            failed = [each for each in answer.get("Errors", ()) if each.get("Code") != "NoSuchKey"]
            if failed:
                code, key = failed[0].get("Code", ""), failed[0].get("Key")
                message = f"store {self.place}: {len(failed)} objects were not deleted, such as {key}: {code}"
                raise (Unauthenticated if code in _REFUSED else SandboxUnavailable)(message, reason=code)

    def in_use(self, namespace: str) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        return {}

    def close(self) -> None:
        self._client.close()

    def _pages(self, prefix: str, **options: Any) -> Iterator[dict[str, Any]]:
        position: dict[str, Any] = {}
        while True:
            with self._errors():
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=_PAGE, **options, **position
                )
            if "IsTruncated" not in page:
                # Any other answer with status 200 would read as an empty bucket.
                message = f"store {self.place}: the answer to a listing is not a listing"
                raise SandboxUnavailable(message, reason="STORAGE_UNAVAILABLE")
            yield page
            if not page["IsTruncated"]:
                return
            position = {"ContinuationToken": page["NextContinuationToken"]}

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from botocore.exceptions import (  # noqa: PLC0415 - see above
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
        )
        from botocore.exceptions import ConnectionError as BotoConnectionError  # noqa: PLC0415 - same

        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            message = f"store {self.place}: {error}"
            if code in {"NoSuchKey", "NoSuchBucket", "404"}:
                advice = ". Check the bucket's name and the endpoint" if code == "NoSuchBucket" else ""
                raise NotFound(f"{message}{advice}", reason=code) from error
            if code in _REFUSED:
                advice = "Check your own credentials and their permissions (docs/lifecycle.md#stored-workspaces)"
                raise Unauthenticated(f"{message} {advice}", reason=code) from error
            raise SandboxUnavailable(message, reason=code or "STORAGE_UNAVAILABLE") from error
        except NoCredentialsError as error:
            advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role"
            raise Unauthenticated(
                f"store {self.place}: there are no credentials: {advice}", reason="NO_CREDENTIALS"
            ) from error
        except (HTTPClientError, BotoConnectionError) as error:
            advice = "Check the endpoint, and the way to it"
            raise SandboxUnavailable(f"store {self.place}: {error}. {advice}", reason="STORAGE_UNAVAILABLE") from error
        except (BotoCoreError, ValueError) as error:
            raise SandboxError(f"store {self.place}: {error}", reason="STORE") from error
