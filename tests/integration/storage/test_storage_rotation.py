"""Credentials that change and end while requests run: the S3 store goes on with the new ones, and no call fails."""

import asyncio
import dataclasses
import hashlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from sandbox_agent.storage.backends.object_store import read_all
from sandbox_agent.storage.backends.s3.client import S3Settings
from sandbox_agent.storage.backends.s3.credentials import Connections
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.concurrency import PART_SIZE, BoundedThreads
from sandbox_agent.storage.errors import AccessDeniedError, CredentialsExpiredError, ObjectNotFoundError
from sandbox_agent.storage.repository.keys import Keys
from sandbox_agent.storage.workspace import Workspace
from tests.integration.storage.conftest import PREFIX, FolderRuntime
from tests.support.credential_gate import CredentialGate, serve_credential_gate

WAIT = 30.0


@pytest.fixture
def gate() -> Iterator[CredentialGate]:
    with serve_credential_gate("first") as gate:
        yield gate


@pytest.fixture
async def settings(gate: CredentialGate, bucket_names: Iterator[str]) -> S3Settings:
    settings = S3Settings(next(bucket_names), gate.endpoint, "us-east-1", "first", "s", path_style=True, attempts=1)
    threads = BoundedThreads("test")
    connections = Connections(settings, threads)
    (await connections.lease()).connection.client.create_bucket(Bucket=settings.bucket)
    connections.close()
    await threads.close()
    return settings


@pytest.fixture
async def store(settings: S3Settings) -> AsyncIterator[S3Store]:
    store = S3Store(settings, WAIT)
    yield store
    await store.close()


def renewed(settings: S3Settings, key: str) -> S3Settings:
    return dataclasses.replace(settings, access_key_id=key)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - what a store saw sets no event
            await asyncio.sleep(0.01)


async def test_fault_32_credentials_that_end_in_the_middle_of_an_upload_delay_it_and_lose_nothing(
    gate: CredentialGate, settings: S3Settings, store: S3Store, tmp_path: Path
):
    """A multipart upload waits for new credentials and continues with them."""
    content = random.Random(32).randbytes(2 * PART_SIZE + 17)
    (tmp_path / "large.bin").write_bytes(content)
    (tmp_path / "small.txt").write_text("small")
    parts = itertools.count(1)

    def end_at_the_second_part(method: str, query: str) -> None:
        if method == "PUT" and "partNumber" in query and next(parts) == 2:
            gate.good.clear()

    gate.before = end_at_the_second_part
    workspace = Workspace(store, Keys(PREFIX), FolderRuntime(tmp_path), "pod-a", max_age=-1)

    async def push() -> list[object]:
        return [step.done async for step in workspace.push() if step.WhichOneof("event") == "done"]

    pushing = asyncio.create_task(push())
    await until(lambda: workspace.needs_credentials or pushing.done())
    assert not pushing.done(), "it waits for others"
    assert gate.refused
    gate.good.add("second")
    store.renew(renewed(settings, "second"))
    (done,) = await pushing
    assert (done.files_saved, list(done.failed)) == (2, [])
    assert not workspace.needs_credentials
    async with store.get(f"{PREFIX}code-interpreter/large.bin") as stored:
        assert hashlib.sha256(await read_all(stored, len(content))).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("overlap", [True, False], ids=["old ones still good", "old ones refused at once"])
async def test_fault_39_credentials_change_under_load_and_no_call_fails(
    gate: CredentialGate, settings: S3Settings, store: S3Store, *, overlap: bool
):
    """Storage credentials are replaced under load, and no call fails."""
    stop = asyncio.Event()
    counts = [0] * 6

    async def work(number: int) -> None:
        etag = ""
        while not stop.is_set():
            counts[number] += 1
            body = f"{number} {counts[number]}".encode()
            etag = await store.put(f"{PREFIX}{number}", body, if_match=etag, if_none_match=not etag)
            async with store.get(f"{PREFIX}{number}") as stored:
                assert await read_all(stored, 100) == body
            assert (await store.stat(f"{PREFIX}{number}")).etag == etag
            assert [info.key async for page in store.pages(f"{PREFIX}{number}") for info in page]

    async def rotate() -> None:
        for number in range(3):
            busy = [count + 1 for count in counts]
            await until(lambda busy=busy: all(now > then for now, then in zip(counts, busy, strict=True)))
            new = f"key-{number}"
            gate.good = {*gate.good, new} if overlap else {new}
            if not overlap:
                refused = gate.refused
                await until(lambda refused=refused: gate.refused > refused and store.needs_credentials)
            store.renew(renewed(settings, new))
            gate.good = {new, *(gate.good if overlap else ())}
        stop.set()

    await asyncio.gather(rotate(), *(work(number) for number in range(len(counts))))
    assert set(gate.seen) >= {"first", *(f"key-{number}" for number in range(2))}
    assert bool(gate.refused) is not overlap
    assert not store.needs_credentials


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "InvalidTokenId", "ExpiredToken"])
async def test_credentials_that_never_worked_are_refused_at_once(gate: CredentialGate, settings: S3Settings, code: str):
    gate.code = code
    store = S3Store(renewed(settings, "unknown"), WAIT)
    async with asyncio.timeout(WAIT / 2):
        with pytest.raises(CredentialsExpiredError, match=code):
            await store.put(f"{PREFIX}x", b"x")
        with pytest.raises(AccessDeniedError):
            await store.stat(f"{PREFIX}x")
    assert store.needs_credentials
    await store.close()


async def test_a_request_gives_up_where_nobody_brings_other_credentials(gate: CredentialGate, settings: S3Settings):
    store = S3Store(settings, 0.05)
    await store.put(f"{PREFIX}x", b"x")
    gate.good.clear()
    with pytest.raises(CredentialsExpiredError, match="ExpiredToken") as caught:
        await store.put(f"{PREFIX}x", b"y")
    assert isinstance(caught.value.__cause__, ClientError)
    await store.close()


async def test_credentials_past_their_end_are_needed_before_anybody_is_refused(settings: S3Settings):
    end = datetime.now(UTC)
    stores = [
        S3Store(dataclasses.replace(settings, expires_at=end + timedelta(seconds=seconds))) for seconds in (-1, 60)
    ]
    assert [store.needs_credentials for store in stores] == [True, False]
    for store in stores:
        await store.close()


async def test_no_object_is_told_from_no_permission_also_where_the_store_says_the_same_of_both(
    gate: CredentialGate, store: S3Store
):
    await store.put(f"{PREFIX}there", b"x")
    gate.hides_missing = True
    with pytest.raises(ObjectNotFoundError):
        await store.stat(f"{PREFIX}ther")
    with pytest.raises(ObjectNotFoundError):
        async with store.get(f"{PREFIX}missing"):
            pass
    assert (await store.stat(f"{PREFIX}there")).size == 1


def is_there(path: Path) -> bool:
    return path.exists()


async def test_credentials_that_changed_twice_leave_a_request_its_connection(settings: S3Settings):
    threads = BoundedThreads("test")
    authority = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
    connections = Connections(dataclasses.replace(settings, endpoint="", ca_certificates=authority), threads)
    first = await connections.lease()
    bundle = Path(first.connection._ca_path)
    for key in ("second", "third"):
        connections.renew(renewed(connections.settings, key))
        other = await connections.lease()
        assert other.settings.access_key_id == key
        assert other.connection.settings.access_key_id == key
    assert is_there(bundle)
    connections.close()
    assert not is_there(bundle)
    await threads.close()


@pytest.mark.parametrize("change", [{"endpoint": "http://127.0.0.1:9"}, {"bucket": "another"}, {"access_key_id": ""}])
async def test_settings_that_differ_in_more_than_credentials_get_a_connection_of_their_own(
    settings: S3Settings, change: dict[str, str]
):
    threads = BoundedThreads("test")
    connections = Connections(settings, threads)
    first = await connections.lease()
    connections.renew(dataclasses.replace(renewed(settings, "second"), **change))
    other = await connections.lease()
    assert other.connection is not first.connection
    assert first.connection.settings == settings
    connections.close()
    await threads.close()
