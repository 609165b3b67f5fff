"""A sandbox's files over the real runtime handlers, and stores: a folder, and S3 as moto's server speaks it."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from moto.server import ThreadedMotoServer

from sandbox_agent.storage.backends.directory.store import DirectoryStore
from sandbox_agent.storage.backends.s3.client import S3Settings
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.repository.keys import Keys
from sandbox_agent.storage.workspace import Workspace
from sandbox_link.protocol import Data, Event, OperationError
from sandbox_runtime.files import build_handlers
from sandbox_testing.store import FaultyStore

if TYPE_CHECKING:
    from sandbox_proto.v1 import workspace_pb2

PREFIX = "clusters/t1/work/"


@dataclass
class Limits:
    file_bytes: int = 0


class MemoryCall:
    """A Call, and the Channel that its handler sees."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.result: dict[str, Any] = {}
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._output: asyncio.Queue[Data | Event | None] = asyncio.Queue()
        self._error: OperationError | None = None
        self.task: asyncio.Task[None] | None = None

    async def run(self, handler: Any) -> None:
        try:
            self.result = await handler(self)
        except OperationError as error:
            self._error = error
        except asyncio.CancelledError:
            self._error = OperationError("CANCELLED", "CANCELLED", "cancelled")
        finally:
            self._output.put_nowait(None)

    def __aiter__(self) -> MemoryCall:
        return self

    async def __anext__(self) -> Data | Event:
        item = await self._output.get()
        if item is not None:
            return item
        self._output.put_nowait(None)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def receive(self) -> bytes | None:
        return await self._input.get()

    async def send(self, *arguments: Any) -> None:
        if len(arguments) == 1:  # the agent's side
            self._input.put_nowait(bytes(arguments[0]))
        else:
            self._output.put_nowait(Data(arguments[0], bytes(arguments[1])))

    async def stream(self) -> None:
        """No socket: contents go by `send` and `receive`."""

    async def end(self) -> None:
        self._input.put_nowait(None)

    async def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def send_event(self, value: dict[str, Any]) -> None:
        self._output.put_nowait(Event(value))


@dataclass
class FolderRuntime:
    """The runtime's real file handlers, without a link.

    `before` is called with the operation and its arguments before each one, and may change files or raise.
    """

    root: Path
    runtime_id: str = "r1"
    before: Callable[[str, dict[str, Any]], None] = lambda op, arguments: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    commits: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._handlers = {**build_handlers(self.root, Limits()), "workspace.commit": self._keep_commit}

    async def _keep_commit(self, channel: MemoryCall) -> dict[str, Any]:
        if "commit" in channel.arguments:
            self.commits[self.root] = channel.arguments["commit"]
        return {"commit": self.commits.get(self.root, "")}

    async def open(self, op: str, arguments: dict[str, Any]) -> MemoryCall:
        self.before(op, arguments)
        self.calls.append((op, arguments.get("path", "")))
        call = MemoryCall({"op": op, **arguments})
        call.task = asyncio.create_task(call.run(self._handlers[op]))
        return call

    async def call(self, op: str, arguments: dict[str, Any]) -> dict[str, Any]:
        call = await self.open(op, arguments)
        await call.end()
        async for _ in call:
            pass
        return call.result

    def ops(self, op: str) -> list[str]:
        return [path for name, path in self.calls if name == op]


def contents(sandbox: Sandbox) -> dict[str, Any]:
    """Of a sandbox that has nothing but files, by path."""
    return {path: entry[2] for path, entry in sandbox.tree().items()}


async def read_keys(store: Any, prefix: str) -> list[str]:
    """Every key below a prefix, without it, and without what is random in a manifest's name."""
    keys = [info.key.removeprefix(prefix) async for page in store.pages(prefix) for info in page]
    return [re.sub(r"(/manifest-[0-9]{10})-[0-9a-f]{16}", r"\1", key) for key in keys]


Tree = dict[str, tuple[Any, ...]]


@dataclass
class Sandbox:
    """One sandbox: its folder and the agent's workspace."""

    root: Path
    runtime: FolderRuntime
    store: FaultyStore
    workspace: Workspace

    async def push(self, *paths: str) -> workspace_pb2.PushDone:
        done = [step.done async for step in self.workspace.push(paths) if step.WhichOneof("event") == "done"]
        assert len(done) == 1
        return done[0]

    async def restore(self) -> workspace_pb2.RestoreDone:
        done = [step.done async for step in self.workspace.restore() if step.WhichOneof("event") == "done"]
        assert len(done) == 1
        return done[0]

    def write(self, path: str, content: bytes = b"", mode: int = 0o644) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)

    async def keys(self) -> list[str]:
        """Every key of the workspace, once nothing of a push goes on behind its answer, as `read_keys` has them."""
        await self.workspace.wait_for_pruning()
        return await read_keys(self.store, self.workspace._context.keys.prefix)

    async def manifest_key(self) -> str:
        """The key of the manifest that HEAD names."""
        state = await self.workspace._context.repository.read_head()
        return self.workspace._context.keys.of_manifest(state.head.manifest)

    def tree(self, *, times: bool = False) -> Tree:
        return read_tree(self.root, times=times)


def read_tree(root: Path, *, times: bool = False) -> Tree:
    """All that a generation keeps: type, mode, content."""
    tree: Tree = {}
    for folder, folders, names in os.walk(root):
        for name in names + folders:
            path = Path(folder, name)
            status = path.lstat()
            key = str(path.relative_to(root))
            when = (status.st_mtime_ns,) if times else ()
            if stat.S_ISLNK(status.st_mode):
                tree[key] = ("symlink", str(path.readlink()), *when)
            elif stat.S_ISDIR(status.st_mode):
                if not any(path.iterdir()):
                    tree[key] = ("directory", stat.S_IMODE(status.st_mode), *when)
            else:
                tree[key] = ("file", stat.S_IMODE(status.st_mode), path.read_bytes(), *when)
    return tree


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Moto's, or a real server's: SANDBOX_TEST_S3_ENDPOINT, with SANDBOX_TEST_S3_KEY and SANDBOX_TEST_S3_SECRET."""
    if endpoint := os.environ.get("SANDBOX_TEST_S3_ENDPOINT"):
        yield endpoint
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def bucket_names() -> Iterator[str]:
    return (f"bucket-{os.getpid()}-{number}" for number in range(1_000_000))


@pytest.fixture
def s3_settings(s3_endpoint: str, bucket_names: Iterator[str]) -> S3Settings:
    bucket = next(bucket_names)
    key, secret = (os.environ.get(f"SANDBOX_TEST_S3_{name}", "test") for name in ("KEY", "SECRET"))
    settings = S3Settings(bucket, s3_endpoint, "us-east-1", key, secret, path_style=True, attempts=1)
    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=s3_endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return settings


StoreFactory = Callable[[], Any]


@pytest.fixture(params=["directory", "s3"])
async def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreFactory]:
    """Makes connections to one and the same bucket."""
    opened: list[Any] = []
    settings = request.getfixturevalue("s3_settings") if request.param == "s3" else None

    def factory() -> Any:
        store = S3Store(settings) if settings else DirectoryStore(tmp_path / "bucket")
        opened.append(store)
        return store

    yield factory
    for store in opened:
        await store.close()


@pytest.fixture
def stride(request: pytest.FixtureRequest) -> int:
    """Of how many calls one is cut off: every one on folders; the S3 server of these tests is too slow for that."""
    return 4 if "s3" in request.node.callspec.id else 1


@pytest.fixture
def new_sandbox(new_store: StoreFactory, tmp_path: Path) -> Callable[..., Sandbox]:
    """Makes sandboxes that share one bucket; with `root` of another: its agent started anew."""
    shared = new_store()
    numbers = iter(range(1_000_000))
    commits: dict[Path, str] = {}

    def factory(
        writer: str = "pod-a", root: Path | None = None, exclude: tuple[str, ...] = (), prefix: str = PREFIX
    ) -> Sandbox:
        folder = root or tmp_path / f"sandbox-{next(numbers)}"
        folder.mkdir(exist_ok=True)
        runtime = FolderRuntime(folder, commits=commits)
        store = FaultyStore(shared)
        return Sandbox(folder, runtime, store, Workspace(store, Keys(prefix), runtime, writer, exclude))

    return factory
