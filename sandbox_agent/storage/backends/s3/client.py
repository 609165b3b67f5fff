"""Clients for S3 and what speaks its protocol: settings, and a botocore client made of them.

botocore is imported with the first client: it costs more than the rest of the agent. An agent that waits for a session
does that, and makes the client that its session will use, while it waits (`preload`): a client takes five milliseconds,
which a warm start would wait for. Logs and errors never have credentials in them.
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

from sandbox_agent.storage.backends.object_store import TRANSFERS
from sandbox_agent.storage.backends.s3.fast_list import read_listings
from sandbox_agent.storage.backends.s3.fast_put import SmallPuts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from sandbox_proto.v1 import session_pb2


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where a bucket is and how to reach it."""

    bucket: str
    endpoint: str = ""
    """URL; empty: AWS's own."""
    region: str = ""
    access_key_id: str = ""
    """Empty: botocore looks for credentials itself."""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None
    """When the credentials end, with a zone; None: nobody said."""
    path_style: bool = False
    ca_certificates: str = field(default="", repr=False)
    """PEM; empty: the system's."""
    attempts: int = 4
    """Of each request, the first one included."""
    connect_timeout: float = 5.0
    """Seconds."""
    read_timeout: float = 60.0
    """Seconds without a byte."""

    def without_credentials(self) -> S3Settings:
        """What a client is made with, whoever uses it and for whichever bucket."""
        return replace(self, bucket="", access_key_id="", secret_access_key="", session_token="", expires_at=None)


class Connection:
    """A client and what belongs to it. Blocking.

    Attributes:
        client: The client.
        put_object: Its operation of this name, faster for small objects.
        settings: What it was made of.
    """

    def __init__(self, settings: S3Settings, session: Any = None) -> None:
        """Make a client.

        Args:
            settings: What it is made of.
            session: botocore's, with the credentials of the client; of the settings by default.
        """
        self.settings = settings
        self._ca_path = ""
        if settings.ca_certificates:
            with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as bundle:
                bundle.write(settings.ca_certificates)
                self._ca_path = bundle.name
        try:
            self.client = _build_client(settings, self._ca_path, session or _session())
        except BaseException:
            self.close_files()
            raise
        read_listings(self.client, parse_time)
        self.put_object = SmallPuts(self.client).put_object

    def close_files(self) -> None:
        """Remove what was written for the client."""
        if self._ca_path:
            Path(self._ca_path).unlink(missing_ok=True)

    def close(self) -> None:
        """Give up connections and files."""
        self.client.close()
        self.close_files()


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
            aws_access_key_id=settings.access_key_id or None,
            aws_secret_access_key=settings.secret_access_key or None,
            aws_session_token=settings.session_token or None,
            config=config,
        )
        _spare_collections()
    return cast("S3Client", client)


_LOCK: Final = threading.Lock()
"""A session makes one client at a time; the clients themselves may be used by many threads."""


@functools.cache
def _session() -> Any:
    """The session that clients are made of: it has read the description of S3 once."""
    return _new_session()


def _new_session() -> Any:
    import botocore.session  # noqa: PLC0415 - see the module's docstring

    session = botocore.session.Session()
    # Its own parser of times takes four fifths of the time of a listing.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)
    return session


@functools.cache
def _spare_collections() -> None:
    """Let no later garbage collection go through botocore's description of S3, which stays as long as the process.

    One falls into a push now and then.
    """
    gc.collect()
    gc.freeze()


def connect(settings: S3Settings) -> Connection:
    """A connection: the one that was made while there was no session, where it is of such settings, or a new one."""
    with _LOCK:
        made = [preloaded.connection.settings for preloaded in _PRELOADED]
        fits = settings.access_key_id and made == [settings.without_credentials()]
        preloaded = _PRELOADED.pop() if fits else None
    return preloaded.take(settings) if preloaded is not None else Connection(settings)


class _Preloaded:
    """A connection that has no credentials yet."""

    def __init__(self, settings: S3Settings) -> None:
        session = _new_session()
        # The description of S3, once read.
        session.register_component("data_loader", _session().get_component("data_loader"))
        session.set_credentials("none", "none", "none")
        self._credentials = session.get_credentials()
        self.connection = Connection(settings, session)

    def take(self, settings: S3Settings) -> Connection:
        """The connection, with the credentials of these settings."""
        given = self._credentials
        given.access_key, given.secret_key = settings.access_key_id, settings.secret_access_key
        given.token = settings.session_token or None
        self.connection.settings = settings
        return self.connection


_PRELOADED: Final[list[_Preloaded]] = []
"""The one that is there, or none."""


def preload(settings: S3Settings) -> None:
    """Do now what the first client would have to wait for, about a second of a processor. Connects to nothing.

    Args:
        settings: Those of the session to come, as far as they are known; without credentials and bucket.
    """
    preloaded = _Preloaded(settings)
    client = preloaded.connection.client
    # A session's first request is a listing, and the first of a process costs half as much again as the next.
    client.meta.events.register("before-send.s3.ListObjectsV2", _answer_nothing)
    client.list_objects_v2(Bucket="none", Prefix="none/")
    client.meta.events.unregister("before-send.s3.ListObjectsV2", _answer_nothing)
    with _LOCK:
        _PRELOADED[:] = [preloaded]


def _answer_nothing(request: Any, **_: object) -> Any:
    """Stands in for the network: an empty listing."""
    from botocore.awsrequest import AWSResponse, HeadersDict  # noqa: PLC0415 - see the module's docstring

    return AWSResponse(request.url, 200, cast("Any", HeadersDict()), _EmptyListing())


class _EmptyListing:
    """A body, as botocore reads one."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield b"<ListBucketResult><Name>none</Name><IsTruncated>false</IsTruncated></ListBucketResult>"


def parse_time(text: str) -> datetime:
    """A time as S3 writes it: ISO 8601 in a body, RFC 9110 in a header.

    Raises:
        ValueError: It is neither.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = parsedate_to_datetime(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def read_settings(store: session_pb2.S3Store) -> S3Settings:
    """The settings in a message."""
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
