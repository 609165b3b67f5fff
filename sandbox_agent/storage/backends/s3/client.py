"""Builds botocore clients for S3 and compatible stores.

botocore is imported with the first client, because it costs more than the rest of the agent. An agent without a session
imports it and builds the client of its future session (`preload`). A client takes five milliseconds, which a warm start
would otherwise wait for. Logs and errors never contain credentials.
"""

from __future__ import annotations

import functools
import gc
import tempfile
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_agent.storage.backends.s3.fast_list import parse_listings
from sandbox_agent.storage.backends.s3.fast_put import SmallPuts
from sandbox_agent.storage.concurrency import TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from sandbox_proto.v1 import session_pb2


@dataclass(frozen=True, slots=True)
class S3Settings:
    """The location of a bucket, and how to reach it."""

    bucket: str
    endpoint: str = ""
    """URL; empty for AWS."""
    region: str = ""
    access_key_id: str = ""
    """Empty: botocore finds credentials itself."""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None
    """When the credentials expire, with a time zone; None if unknown."""
    path_style: bool = False
    ca_certificates: str = field(default="", repr=False)
    """PEM; empty for the system's."""
    attempts: int = 4
    """Attempts per request, including the first."""
    connect_timeout: float = 5.0
    """Seconds."""
    read_timeout: float = 60.0
    """Seconds without receiving a byte."""

    def without_credentials(self) -> S3Settings:
        """Return the part of the settings that a client is built with, for any bucket and any credentials."""
        return replace(self, bucket="", access_key_id="", secret_access_key="", session_token="", expires_at=None)


class Connection:
    """A client, its credentials and its files. Blocking.

    Args:
        settings: The settings of the client.
        is_blank: The credentials come later, with `switch_to`.

    Attributes:
        client: The botocore client.
        put_object: Does the same as the client's operation, but faster for small objects.
        settings: The current settings.
    """

    def __init__(self, settings: S3Settings, *, is_blank: bool = False) -> None:
        self.settings = settings
        self._credentials: Any = None
        self._ca_path = ""
        session = _session()
        if settings.access_key_id or is_blank:
            session = _new_session()
            session.register_component("data_loader", _session().get_component("data_loader"))  # has read S3's model
            session.set_credentials("none", "none")
            self._credentials = session.get_credentials()
            self._set_credentials(settings)
        if settings.ca_certificates:
            with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as bundle:
                bundle.write(settings.ca_certificates)
                self._ca_path = bundle.name
        try:
            self.client = _build_client(settings, self._ca_path, session)
        except BaseException:
            self._remove_files()
            raise
        parse_listings(self.client, parse_time)
        self.put_object = SmallPuts(self.client).put_object

    def switch_to(self, settings: S3Settings) -> bool:
        """Use other credentials from the next request on. Returns False if the settings need another client.

        botocore's RefreshableCredentials would use the old ones until 15 minutes before they expire.
        """
        is_same_place = settings.without_credentials() == self.settings.without_credentials()
        # Small uploads go to the bucket of the first one.
        is_same_bucket = self.settings.bucket in {"", settings.bucket}
        if not (is_same_place and is_same_bucket and settings.access_key_id and self._credentials is not None):
            return False
        self.settings = settings
        self._set_credentials(settings)
        return True

    def close(self) -> None:
        """Close idle sockets and remove files. A request in progress still ends."""
        self.client.close()
        self._remove_files()

    def _set_credentials(self, settings: S3Settings) -> None:
        from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415 - see the module's docstring

        key, secret, token = settings.access_key_id, settings.secret_access_key, settings.session_token or None
        frozen, current = ReadOnlyCredentials(key, secret, token), self._credentials
        current.access_key, current.secret_key, current.token = key, secret, token
        # Requests are signed with this, so none is signed with a mixture of old and new credentials.
        current.get_frozen_credentials = lambda: frozen

    def _remove_files(self) -> None:
        if self._ca_path:
            Path(self._ca_path).unlink(missing_ok=True)


def _build_client(settings: S3Settings, ca_path: str, session: Any) -> S3Client:
    from botocore.config import Config  # noqa: PLC0415 - see the module's docstring

    config = Config(
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=TRANSFERS,
        s3={"addressing_style": "path" if settings.path_style else "auto"},
        tcp_keepalive=True,
    )
    with _LOCK:
        client = session.create_client(
            "s3",
            region_name=settings.region or "us-east-1",
            endpoint_url=settings.endpoint or None,
            verify=ca_path or None,
            config=config,
        )
        _freeze_models()
    return cast("S3Client", client)


_LOCK: Final = threading.Lock()
"""A session builds one client at a time. Many threads may use a client."""


@functools.cache
def _session() -> Any:
    """Return the shared session, which reads the description of S3 once."""
    return _new_session()


def _new_session() -> Any:
    import botocore.session  # noqa: PLC0415 - see the module's docstring

    session = botocore.session.Session()
    # botocore's own parser of times takes four fifths of the time of a listing.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    return session


@functools.cache
def _freeze_models() -> None:
    """Exclude botocore's description of S3 from later garbage collections, some of which would delay a push."""
    gc.collect()
    gc.freeze()


def connect(settings: S3Settings) -> Connection:
    """Return the preloaded connection if it fits the settings, or else a new one."""
    with _LOCK:
        if _PRELOADED and _PRELOADED[0].switch_to(settings):
            return _PRELOADED.pop()
    return Connection(settings)


_PRELOADED: Final[list[Connection]] = []
"""The connection without credentials, if there is one."""


def preload(settings: S3Settings) -> None:
    """Do the work of the first client in advance: about a second of processor time. Connects to nothing.

    Args:
        settings: The known settings of the future session, without credentials and bucket.
    """
    preloaded = Connection(settings, is_blank=True)
    events = preloaded.client.meta.events
    # A session's first request is a listing, and the first in a process costs 1.5 times as much as later ones.
    events.register("before-send.s3.ListObjectsV2", _answer_nothing)
    preloaded.client.list_objects_v2(Bucket="none", Prefix="none/")
    events.unregister("before-send.s3.ListObjectsV2", _answer_nothing)
    with _LOCK:
        _PRELOADED[:] = [preloaded]


def _answer_nothing(request: Any, **_: object) -> Any:
    """Answer a request with an empty listing, in place of the network."""
    from botocore.awsrequest import AWSResponse, HeadersDict  # noqa: PLC0415 - see the module's docstring

    return AWSResponse(request.url, 200, cast("Any", HeadersDict()), _EmptyListing())


class _EmptyListing:
    """The body of an empty listing, for botocore to read."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield b"<ListBucketResult><Name>none</Name><IsTruncated>false</IsTruncated></ListBucketResult>"


def parse_time(text: str) -> datetime:
    """Parse a time from S3: ISO 8601 in a body, RFC 9110 in a header.

    Raises:
        ValueError: The text is neither.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = parsedate_to_datetime(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def read_settings(store: session_pb2.S3Store) -> S3Settings:
    """Return the settings in a message."""
    return S3Settings(
        bucket=store.bucket,
        endpoint=store.endpoint,
        region=store.region,
        access_key_id=store.access_key_id,
        secret_access_key=store.secret_access_key,
        session_token=store.session_token,
        expires_at=store.expires_at.ToDatetime(tzinfo=UTC) if store.HasField("expires_at") else None,
        path_style=store.path_style,
        ca_certificates=store.ca_certificates,
    )
