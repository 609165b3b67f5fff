"""S3 over a wire that is slow, cuts off in the middle, or goes silent without a word: a TCP proxy before the server."""

import asyncio
import dataclasses
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox_agent.storage.backends.s3.client import S3Settings
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.repository.keys import Keys
from sandbox_agent.storage.workspace import Workspace
from sandbox_link.protocol import OperationError
from tests.integration.storage.conftest import PREFIX, FolderRuntime, read_keys
from tests.support.tcp_proxy import TcpProxy, serve_tcp_proxy

READ_TIMEOUT = 0.5
"""Seconds without a byte here; in a pod it is 60."""
LARGE = random.Random(29).randbytes(12 << 20)
"""More than the kernel holds for a sender: it feels a slow wire."""
KEY = f"{PREFIX}code-interpreter/large.bin"
SILENCED = {
    "claim": ("/HEAD", 1),
    "upload": ("code-interpreter/f", 1),
    "manifest": ("/manifest-0000000001", 1),
    "commit": ("/HEAD", 2),
    "claim of the second push": ("/HEAD", 3),
    "replacement": ("code-interpreter/f", 2),
    "commit of changes": ("/HEAD", 4),
}
"""Requests of two pushes: a part of a key, and which PUT of such a key."""


@pytest.fixture
async def proxy(s3_settings: S3Settings) -> AsyncIterator[TcpProxy]:
    url = urlsplit(s3_settings.endpoint)
    async with serve_tcp_proxy(url.hostname or "", url.port or 0) as proxy:
        yield proxy


@pytest.fixture
def settings(s3_settings: S3Settings, proxy: TcpProxy) -> S3Settings:
    """Through the proxy."""
    endpoint = f"http://{proxy.address}"
    times = {"connect_timeout": READ_TIMEOUT, "read_timeout": READ_TIMEOUT}
    return dataclasses.replace(s3_settings, endpoint=endpoint, attempts=2, **times)


@pytest.fixture
async def store(settings: S3Settings) -> AsyncIterator[S3Store]:
    store = S3Store(settings)
    yield store
    await store.close()


@pytest.fixture
async def patient(settings: S3Settings) -> AsyncIterator[S3Store]:
    """For a wire that is cut and never silent: a busy machine may take its time with what is large."""
    store = S3Store(dataclasses.replace(settings, connect_timeout=30.0, read_timeout=30.0))
    yield store
    await store.close()


@pytest.fixture
async def straight(s3_settings: S3Settings) -> AsyncIterator[S3Store]:
    """The same bucket without the proxy: what is really there."""
    store = S3Store(s3_settings)
    yield store
    await store.close()


def workspace_of(store: S3Store, folder: Path) -> Workspace:
    folder.mkdir(exist_ok=True)
    return Workspace(store, Keys(PREFIX), FolderRuntime(folder), "pod-a")


async def push(workspace: Workspace) -> list[object]:
    return [step.done async for step in workspace.push() if step.WhichOneof("event") == "done"]


async def restore(workspace: Workspace) -> None:
    async for _ in workspace.restore():
        pass


async def test_fault_29_a_push_over_a_slow_wire_takes_longer_than_any_patience_and_ends_well(
    proxy: TcpProxy, settings: S3Settings, straight: S3Store, tmp_path: Path
):
    """A push over a slow connection succeeds as long as bytes move."""
    # What the kernel took for the sender is still to be sent when it waits for the answer.
    store = S3Store(dataclasses.replace(settings, read_timeout=4 * READ_TIMEOUT))
    workspace = workspace_of(store, tmp_path / "a")
    (tmp_path / "a/large.bin").write_bytes(LARGE)
    proxy.rate = len(LARGE) / (8 * READ_TIMEOUT)
    began = time.monotonic()
    (done,) = await push(workspace)
    assert time.monotonic() - began > 6 * READ_TIMEOUT, "no byte was late, and all of them were"
    assert (done.files_saved, list(done.failed)) == (1, [])
    assert (await straight.stat(KEY)).size == len(LARGE)
    await store.close()


async def test_fault_30_a_body_that_is_cut_off_on_the_wire_is_nothing_or_all(
    proxy: TcpProxy, patient: S3Store, straight: S3Store, tmp_path: Path
):
    """An upload that is cut off on the wire has stored nothing or everything."""
    workspace = workspace_of(patient, tmp_path / "a")
    (tmp_path / "a/large.bin").write_bytes(b"old")
    await push(workspace)
    (tmp_path / "a/large.bin").write_bytes(LARGE)
    proxy.cut_after = len(LARGE) // 2
    proxy.reset()  # what is open already would not be cut
    with pytest.raises(OperationError) as caught:
        await push(workspace)
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    heir = workspace_of(straight, tmp_path / "b")
    await restore(heir)
    assert (tmp_path / "b/large.bin").read_bytes() == b"old"
    proxy.cut_after = None
    (done,) = await push(workspace)
    assert (done.files_saved, list(done.failed)) == (1, [])
    assert (await straight.stat(KEY)).size == len(LARGE)
    await workspace.wait_for_pruning()
    assert [key for key in await read_keys(straight, PREFIX) if "previous" in key] == []


async def test_fault_30_an_answer_that_is_cut_off_leaves_the_file_that_is_there(
    proxy: TcpProxy, patient: S3Store, straight: S3Store, tmp_path: Path
):
    """A download that is cut off leaves the sandbox's file as it was."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/large.bin").write_bytes(LARGE)
    await push(workspace_of(straight, tmp_path / "a"))
    heir = workspace_of(patient, tmp_path / "b")
    (tmp_path / "b/large.bin").write_bytes(b"here before")
    proxy.cut_answers_after = len(LARGE) // 2
    with pytest.raises(OperationError) as caught:
        await restore(heir)
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["large.bin"]
    assert (tmp_path / "b/large.bin").read_bytes() == b"here before"
    proxy.cut_answers_after = None
    proxy.reset()
    await restore(heir)
    assert (tmp_path / "b/large.bin").read_bytes() == LARGE


@pytest.mark.parametrize("request_", SILENCED)
async def test_fault_40_a_request_whose_answer_never_comes_is_made_again_and_counts_once(
    proxy: TcpProxy, store: S3Store, straight: S3Store, tmp_path: Path, request_: str, monkeypatch: pytest.MonkeyPatch
):
    """A storage request whose answer never arrives is repeated, and its effect counts once."""
    workspace = workspace_of(store, tmp_path / "a")
    put = store.put
    part, number = SILENCED[request_]
    seen = []

    async def put_into_silence(key, body, **conditions):
        seen.append(part in key)
        if part in key and sum(seen) == number:
            proxy.swallow_next_answer()
        return await put(key, body, **conditions)

    monkeypatch.setattr(store, "put", put_into_silence)
    for generation, content in ((1, b"first"), (2, b"content")):
        (tmp_path / "a/f").write_bytes(content)
        (done,) = await push(workspace)
        assert (done.generation, done.files_saved, list(done.failed)) == (generation, 1, [])
    assert proxy.swallowed == 1
    await workspace.wait_for_pruning()
    fresh = workspace_of(straight, tmp_path / "b")
    await restore(fresh)
    assert (tmp_path / "b/f").read_bytes() == b"content"
    assert sorted(await read_keys(straight, PREFIX)) == [
        ".workspace/HEAD",
        ".workspace/manifest-0000000001.json",
        "code-interpreter/f",
    ]


async def test_fault_29_a_look_at_a_storage_that_does_not_answer_delays_one_call_and_not_for_long(
    proxy: TcpProxy, store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A check for changes that gets no answer delays one call by at most five seconds."""
    monkeypatch.setattr("sandbox_agent.storage.restore.remote_changes.CALL_TIMEOUT", 0.2)
    workspace = workspace_of(store, tmp_path / "a")
    await push(workspace)
    proxy.is_silent = True
    for longest in (1.0, 0.1, 0.1):
        began = time.monotonic()
        assert not workspace.is_fresh()
        await workspace.refresh_if_stale()
        assert time.monotonic() - began < longest
    await workspace._remote_changes.close()


@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b"<ListBucketResult></ListBucketResult>"])
async def test_an_answer_that_is_no_listing_is_not_read_as_an_empty_workspace(
    tmp_path: Path, s3_settings: S3Settings, body: bytes
):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = S3Store(dataclasses.replace(s3_settings, endpoint=f"http://127.0.0.1:{port}"))
    async with server:
        (tmp_path / "a").mkdir(exist_ok=True)
        with pytest.raises(OperationError) as caught:
            await restore(workspace_of(store, tmp_path / "a"))
        assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")
        await store.close()
