"""Small objects are stored without most of botocore's client: what is stored, refused and told is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sandbox_agent.storage.backends.s3.client import Connection
from sandbox_agent.storage.backends.s3.fast_put import SMALL
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.errors import PreconditionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_agent.storage.backends.s3.client import S3Settings


class Counted:
    """A connection whose client's own PUTs are counted."""

    def __init__(self, settings: S3Settings) -> None:
        self.connection = Connection(settings)
        self.bucket = settings.bucket
        self.paths: list[str] = []
        session: Any = self.connection.client
        session = session._endpoint.http_session
        self._send, session.send = session.send, self._note
        self.is_refused = False

    def _note(self, request: Any) -> Any:
        is_client = b"amz-sdk-invocation-id" in {name.lower().encode() for name in request.headers}
        is_refused = self.is_refused and not is_client
        if is_refused:
            request.url += "-elsewhere"
        answer = self._send(request)
        if is_refused:
            answer.status_code = 403
        self.paths.append("client" if is_client else "direct")
        return answer

    def put(self, key: str, body: bytes, **conditions: str) -> str:
        return str(self.connection.put_object(Bucket=self.bucket, Key=key, Body=body, **conditions)["ETag"])

    def get(self, key: str) -> bytes:
        return self.connection.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()


@pytest.fixture
def counted(s3_settings: S3Settings) -> Iterator[Counted]:
    counted = Counted(s3_settings)
    yield counted
    counted.connection.close()


def test_all_small_objects_but_the_first_are_stored_directly_with_the_same_etag(counted: Counted):
    first = counted.put("first", b"content")
    names = ["a/b.txt", "with space", "é/ü", "~tilde+plus&amp=1?#%41", "dots./..x/.y"]
    etags = {name: counted.put(name, b"content") for name in names}
    assert counted.paths == ["client"] + ["direct"] * len(names)
    assert set(etags.values()) == {first}
    listed = counted.connection.client.list_objects_v2(Bucket=counted.bucket)["Contents"]
    assert {item["Key"] for item in listed} == {"first", *names}
    assert all(item["ETag"] == first for item in listed)
    assert counted.get("é/ü") == b"content"


def test_an_empty_object_is_stored_directly(counted: Counted):
    counted.put("first", b"content")
    counted.put("empty", b"")
    assert counted.paths == ["client", "direct"]
    assert counted.get("empty") == b""


def test_a_large_object_goes_the_client_s_way(counted: Counted):
    counted.put("first", b"content")
    counted.put("large", bytes(SMALL + 1))
    assert counted.paths == ["client", "client"]


def test_a_store_that_takes_the_client_s_requests_alone_gets_no_others_after_one(counted: Counted):
    counted.put("first", b"1")
    counted.is_refused = True
    for number in range(3):
        counted.put(f"{number}", b"2")
    assert counted.paths == ["client", "direct", "client", "client", "client"]
    assert counted.get("2") == b"2"


def test_botocore_still_has_the_private_name_of_a_client_s_sockets(counted: Counted):
    client: Any = counted.connection.client
    assert hasattr(client._endpoint, "http_session"), "botocore has moved a client's sockets: see fast_put.py"


def test_without_that_name_every_object_goes_the_client_s_way(counted: Counted, monkeypatch: pytest.MonkeyPatch):
    counted.put("first", b"1")
    session: Any = counted.connection.client
    sent, sockets = [], session._endpoint.http_session
    monkeypatch.setattr(session, "_endpoint", Renamed(session._endpoint))
    for number in range(2):
        counted.put(f"{number}", b"2")
        sent.append(counted.get(f"{number}"))
    assert sent == [b"2", b"2"]
    assert counted.paths == ["client"] * 5
    assert sockets is session._endpoint.original.http_session


class Renamed:
    """An endpoint of a botocore that calls its sockets otherwise."""

    def __init__(self, original: Any) -> None:
        self.original = original

    def __getattr__(self, name: str) -> Any:
        if name == "http_session":
            raise AttributeError(name)
        return getattr(self.original, name)


async def test_nobody_s_version_is_replaced_by_a_direct_put(s3_settings: S3Settings):
    store = S3Store(s3_settings)
    try:
        etag = await store.put("files/a", b"theirs", if_none_match=True)
        with pytest.raises(PreconditionFailedError):
            await store.put("files/a", b"ours", if_none_match=True)
        with pytest.raises(PreconditionFailedError):
            await store.put("files/a", b"ours", if_match='"00000000000000000000000000000000"')
        newer = await store.put("files/a", b"ours", if_match=etag)
        assert newer != etag
        assert (await store.stat("files/a")).etag == newer
    finally:
        await store.close()
