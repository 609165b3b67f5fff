"""Checks AWS Signature Version 4. Pure: the caller has the secret and the clock.

The body must be signed. A signature of a presigned URL is not accepted.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import posixpath
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from sandbox_client.errors import Unauthenticated

ALGORITHM: Final = "AWS4-HMAC-SHA256"
MAX_SKEW: Final = dt.timedelta(minutes=5)
_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request,"
    r" *SignedHeaders=([a-z0-9;-]{1,4096}), *Signature=([0-9a-f]{64})"
)
_MAY_CHANGE: Final = frozenset({"x-amzn-trace-id"})
"""Headers of AWS's that proxies add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request that is signed with AWS Signature Version 4, as it arrived.

    Attributes:
        method: The HTTP method.
        path: The path as it was sent, percent-encoded.
        query: The query as it was sent, without `?`.
        headers: Names in small letters, and values; a repeated header has several entries.
        body_sha256: Hex digest of the body that was received.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Credential:
    """The header Authorization of a signed request.

    Attributes:
        access_key_id: Names the key.
        date: Day of the signature, as in `20261130`.
        region: A region's name; any will do.
        service: The service's name in signatures.
        signed_headers: Names of the headers that are signed.
        signature: 64 hex digits.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        """The scope of the signing key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def read_credential(request: SignedRequest) -> Credential:
    """Return who signed a request.

    Raises:
        Unauthenticated: The request is not signed, or not in this way.
    """
    found = _AUTHORIZATION.fullmatch(_only(request, "authorization"))
    if found is None:
        raise _refuse("the header Authorization is not one of AWS Signature Version 4")
    key, date, region, service, names, signature = found.groups()
    return Credential(key, date, region, service, tuple(names.split(";")), signature)


def check_scope(request: SignedRequest, now: dt.datetime, services: frozenset[str]) -> None:
    """Check what can be known of a signature without the body: its service, its time, and which headers it covers.

    Raises:
        Unauthenticated: The signature cannot be right.
    """
    credential = read_credential(request)
    if credential.service not in services:
        raise _refuse(f"the signature is for the service {credential.service}")
    _check_cover(request, credential)
    _check_time(_only(request, "x-amz-date"), credential, now)


def verify(request: SignedRequest, secret: str, now: dt.datetime, services: frozenset[str]) -> None:
    """Check the signature of a request.

    Args:
        request: The request.
        secret: The secret of `read_credential(request).access_key_id`.
        now: The current time.
        services: Names of services that the signature may be for.

    Raises:
        Unauthenticated: The signature is wrong, too old, or does not cover the request.
    """
    credential = read_credential(request)
    moment = _only(request, "x-amz-date")
    # Before the clock, so that only the owner of the key learns that its clock is wrong.
    string = "\n".join((ALGORITHM, moment, credential.scope, _sha256(canonical_request(request, credential))))
    expected = hmac.new(_signing_key(secret, credential), string.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, credential.signature):
        raise _refuse("the signature does not match")
    check_scope(request, now, services)
    stated = [value for name, value in request.headers if name == "x-amz-content-sha256"]
    if any(value != request.body_sha256 for value in stated):
        raise _refuse("the header x-amz-content-sha256 does not match the body, which must be signed")


def canonical_request(request: SignedRequest, credential: Credential) -> str:
    """Return the text whose digest is signed."""
    headers = "".join(f"{name}:{_joined(request, name)}\n" for name in credential.signed_headers)
    return "\n".join(
        (
            request.method,
            quote(_normalized(request.path), safe="/~"),
            _canonical_query(request.query),
            headers,
            ";".join(credential.signed_headers),
            request.body_sha256,
        )
    )


def _check_cover(request: SignedRequest, credential: Credential) -> None:
    signed = set(credential.signed_headers)
    must = {"host", "x-amz-date"} | {name for name, _ in request.headers if name.startswith(("x-amz-", "x-amzn-"))}
    if missing := must - signed - _MAY_CHANGE:
        raise _refuse(f"the signature does not cover {', '.join(sorted(missing))}")


def _check_time(moment: str, credential: Credential, now: dt.datetime) -> None:
    try:
        signed_at = dt.datetime.strptime(moment, _FORMAT).replace(tzinfo=dt.UTC)
    except ValueError:
        raise _refuse("the header x-amz-date is not a time") from None
    if moment[:8] != credential.date:
        raise _refuse("the days of x-amz-date and of the signature differ")
    if abs(now - signed_at) > MAX_SKEW:
        raise _refuse(f"the request was signed at {moment}, and now it is {now.strftime(_FORMAT)}: check the clock")


def _signing_key(secret: str, credential: Credential) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in credential.scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_query(query: str) -> str:
    pairs = (each.partition("=") for each in query.split("&") if each)
    encoded = ((_encode(name), _encode(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _encode(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


def _normalized(path: str) -> str:
    """Return a path without dot segments and repeated slashes, as the signer does."""
    if not path or path == "/":
        return "/"
    normal = posixpath.normpath("/" + path.lstrip("/"))
    return normal + "/" if path.endswith("/") and normal != "/" else normal


def _joined(request: SignedRequest, name: str) -> str:
    return ",".join(" ".join(value.split()) for key, value in request.headers if key == name)


def _only(request: SignedRequest, name: str) -> str:
    values = [value for key, value in request.headers if key == name]
    if len(values) != 1:
        raise _refuse(f"the request has {len(values) or 'no'} headers {name}")
    return values[0]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _refuse(why: str) -> Unauthenticated:
    return Unauthenticated(why, reason="BAD_SIGNATURE")
