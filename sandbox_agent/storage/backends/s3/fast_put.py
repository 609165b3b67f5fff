"""Stores small objects with botocore's signer and sockets alone, in 1.0 ms of processor time each instead of 2.2.

For each request the client determines the endpoint, the signing and the checksum again, although they are the same for
all objects of a bucket. This module copies them from the client's first upload. After any answer but success, the
client makes the request itself, with its own retries and errors.

It uses a private name of botocore (`_endpoint.http_session`, tried with 1.44). If an upgrade removes the name, every
upload goes through the client.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client

SMALL: Final = 1 << 20
"""Maximum bytes of a body. For a larger one it pays to ask first if the store accepts it (`Expect: 100-continue`)."""
WRITER_TAG: Final = "sandbox-push"
"""Metadata with the generation of the push that wrote an object, and a hash of the object's key. S3 copies metadata:
the hash shows that a copy's tag belongs to another object."""
_STORED: Final = 200
_NOT_UNDERSTOOD: Final = frozenset({400, 403, 405, 411, 501})
_CHECKSUM: Final = "x-amz-checksum-crc32"
_INHERITED: Final = ("client_region", "client_config", "auth_type", "signing")
"""Parts of the context from which botocore chooses a signer."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """The parts of a request that are the same for every object."""

    folder: str
    """The URL up to the key."""
    agent: str
    signer: Any
    context: Mapping[str, Any] = field(default_factory=dict)


class SmallPuts:
    """A fast `put_object` for one client and one bucket. Blocking. Safe to use from many threads."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._seen: _Pattern | None = None
        self._pattern: _Pattern | None = None
        self._is_useless = False
        client.meta.events.register("before-sign.s3.PutObject", self._learn)

    def put_object(self, **arguments: Any) -> Mapping[str, Any]:
        """Store an object, like the client's operation.

        Takes Bucket, Key, Body, IfMatch, IfNoneMatch and the writer tag. Returns at least ETag.

        Raises:
            ClientError: As the client raises it.
            BotoCoreError: As the client raises it.
        """
        refused = False
        if self._pattern is not None and not self._is_useless and len(arguments["Body"]) <= SMALL:
            status, etag = self._put(self._pattern, arguments)
            if etag:
                return {"ETag": etag}
            refused = status in _NOT_UNDERSTOOD
        answer = self._client.put_object(**arguments)
        self._pattern = self._pattern or self._seen
        self._is_useless = self._is_useless or refused  # the store accepts only the client's own requests
        return cast("Mapping[str, Any]", answer)

    def _put(self, pattern: _Pattern, arguments: Mapping[str, Any]) -> tuple[int, str]:
        """Return the status of the answer, or 0, and the etag, which is empty unless the object is stored."""
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - late, see client.py
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        body = arguments["Body"]
        headers = {"User-Agent": pattern.agent, _CHECKSUM: base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()}
        for name, header in (("IfMatch", "If-Match"), ("IfNoneMatch", "If-None-Match")):
            if name in arguments:
                headers[header] = arguments[name]
        if tag := arguments.get("Metadata", {}).get(WRITER_TAG):
            headers[f"x-amz-meta-{WRITER_TAG}"] = tag
        url = pattern.folder + _encoded(arguments["Key"])
        request = AWSRequest("PUT", url, headers=headers, data=body)
        request.context.update(pattern.context)
        try:
            # The client's own sockets, with its proxies, certificates, timeouts and limit.
            session = cast("Any", self._client)._endpoint.http_session  # noqa: SLF001 - it has no public name
            pattern.signer.sign("PutObject", request)
            answer = session.send(request.prepare())
        except BotoCoreError:
            return 0, ""
        except AttributeError:
            self._is_useless = True
            return 0, ""
        return answer.status_code, str(answer.headers.get("ETag", "")) if answer.status_code == _STORED else ""

    def _learn(self, request: Any, request_signer: Any, signature_version: str, **_: object) -> None:
        """Copy the pattern from a request that the client is about to sign."""
        context = request.context
        key = _encoded(context.get("input_params", {}).get("Key", ""))
        is_usual = signature_version == "s3v4" and not context.get("s3_redirect", {}).get("redirected")
        if self._pattern is not None or not key or not is_usual or not request.url.endswith(f"/{key}"):
            return
        inherited = {name: context[name] for name in _INHERITED if name in context}
        # Over TLS the body has a checksum instead of a signature, as with the client.
        checksum = {"request_algorithm": {"algorithm": "crc32", "in": "header", "name": _CHECKSUM}}
        self._seen = _Pattern(
            request.url.removesuffix(key),
            request.headers.get("User-Agent", ""),
            request_signer,
            {**inherited, "has_streaming_input": True, "checksum": checksum},
        )


def _encoded(key: str) -> str:
    """Encode a key for a URL, as the client does."""
    from botocore.utils import percent_encode  # noqa: PLC0415 - late, see client.py

    return str(percent_encode(key, safe="/~"))
