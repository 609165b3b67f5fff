"""Small objects in about half the processor time that botocore's client takes: its signer and its sockets alone.

What the client finds out anew for each request (the endpoint, how to sign, which checksum) is the same for all objects
of a bucket: it is taken over from the first one that the client stored. Nothing but the answer that an object is stored
counts here; after anything else the client makes the request, as it would try again, with its own patience and errors.
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
"""Bytes up to which a body is not worth asking first whether the store wants it (`Expect: 100-continue`)."""
MARK: Final = "sandbox-push"
"""Name of the metadata that says which generation's push wrote an object, and under which key: a copy has it, too."""
_STORED: Final = 200
_NOT_UNDERSTOOD: Final = frozenset({400, 403, 405, 411, 501})
_CHECKSUM: Final = "x-amz-checksum-crc32"
_INHERITED: Final = ("client_region", "client_config", "auth_type", "signing")
"""Of the context in which botocore chooses a signer."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What one object's request has in common with the next one's."""

    folder: str
    """URL up to the key."""
    agent: str
    signer: Any
    context: Mapping[str, Any] = field(default_factory=dict)


class SmallPuts:
    """`put_object` of one client and one bucket. Blocking; for many threads."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._seen: _Pattern | None = None
        self._pattern: _Pattern | None = None
        self._is_useless = False
        client.meta.events.register("before-sign.s3.PutObject", self._see)

    def put_object(self, **arguments: Any) -> Mapping[str, Any]:
        """As the client's, of which it takes Bucket, Key, Body, IfMatch, IfNoneMatch and the mark; of the answer, ETag.

        Raises:
            ClientError: As the client's.
            BotoCoreError: As the client's.
        """
        refused = False
        if self._pattern is not None and not self._is_useless and len(arguments["Body"]) <= SMALL:
            status, etag = self._put(self._pattern, arguments)
            if etag:
                return {"ETag": etag}
            refused = status in _NOT_UNDERSTOOD
        answer = self._client.put_object(**arguments)
        self._pattern = self._pattern or self._seen
        self._is_useless = self._is_useless or refused  # what the client was not
        return cast("Mapping[str, Any]", answer)

    def _put(self, pattern: _Pattern, arguments: Mapping[str, Any]) -> tuple[int, str]:
        """The status of the answer, 0 where there is none, and the etag where the object is stored."""
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - imported late, as s3_client says
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        body = arguments["Body"]
        headers = {"User-Agent": pattern.agent, _CHECKSUM: base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()}
        for name, header in (("IfMatch", "If-Match"), ("IfNoneMatch", "If-None-Match")):
            if name in arguments:
                headers[header] = arguments[name]
        if mark := arguments.get("Metadata", {}).get(MARK):
            headers[f"x-amz-meta-{MARK}"] = mark
        url = pattern.folder + _encoded(arguments["Key"])
        request = AWSRequest("PUT", url, headers=headers, data=body)
        request.context.update(pattern.context)
        # The client's own sockets: its proxies, certificates, timeouts and number.
        session = cast("Any", self._client)._endpoint.http_session  # noqa: SLF001 - it has no public name
        try:
            pattern.signer.sign("PutObject", request)
            answer = session.send(request.prepare())
        except BotoCoreError:
            return 0, ""
        return answer.status_code, str(answer.headers.get("ETag", "")) if answer.status_code == _STORED else ""

    def _see(self, request: Any, request_signer: Any, signature_version: str, **_: object) -> None:
        """Look at a request of the client that is about to be signed."""
        context = request.context
        key = _encoded(context.get("input_params", {}).get("Key", ""))
        is_usual = signature_version == "s3v4" and not context.get("s3_redirect", {}).get("redirected")
        if self._pattern is not None or not key or not is_usual or not request.url.endswith(f"/{key}"):
            return
        inherited = {name: context[name] for name in _INHERITED if name in context}
        # Over TLS a checksum serves instead of a signature of the body, as for the client.
        checksum = {"request_algorithm": {"algorithm": "crc32", "in": "header", "name": _CHECKSUM}}
        self._seen = _Pattern(
            request.url.removesuffix(key),
            request.headers.get("User-Agent", ""),
            request_signer,
            {**inherited, "has_streaming_input": True, "checksum": checksum},
        )


def _encoded(key: str) -> str:
    """As a client writes it into a URL."""
    from botocore.utils import percent_encode  # noqa: PLC0415 - imported late, as s3_client says

    return str(percent_encode(key, safe="/~"))
