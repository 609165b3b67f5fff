"""Compares a push with rclone, in turns, to one MinIO on loopback: many small files, a large file, a changed file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import botocore.session
import requests

from benchmarks.cluster.control_plane import find_binary, free_port
from sandbox_client import Sandbox
from sandbox_client.local import session as local
from sandbox_proto.v1 import session_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.cluster.report import Report

_KEY: Final = "benchmark"
_BUCKET: Final = "bench"
_SMALL: Final = 4096
_AT_ONCE: Final = 16
"""Concurrent transfers of rclone, the same number as ours."""


class Server:
    """A MinIO server, and rclone as its client."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        binaries = Path(os.environ.get("SANDBOX_E2E_HOME", "/var/lib/sandbox-e2e")) / "bin"
        self._rclone = find_binary("rclone", os.environ.get("SANDBOX_BENCH_BIN", ""), binaries, Path.home() / "go/bin")
        environment = {**os.environ, "MINIO_ROOT_USER": _KEY, "MINIO_ROOT_PASSWORD": _KEY}
        command = [find_binary("minio", binaries), "server", "--quiet", "--address", self.endpoint[7:], str(folder)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self._client: Any = botocore.session.Session().create_client(
            "s3", region_name="us-east-1", endpoint_url=self.endpoint,
            aws_access_key_id=_KEY, aws_secret_access_key=_KEY,
        )  # fmt: skip

    def prepare(self) -> None:
        """Wait until the server answers, and create the bucket."""
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.endpoint}/minio/health/ready", timeout=5).ok:
                    break
            if time.monotonic() > deadline:
                raise TimeoutError("minio")
            time.sleep(0.1)
        self._client.create_bucket(Bucket=_BUCKET)

    def read(self, key: str) -> tuple[int, bytes]:
        """Return an object's size and its first MiB."""
        answer = self._client.get_object(Bucket=_BUCKET, Key=key)
        with contextlib.closing(answer["Body"]) as body:
            return answer["ContentLength"], body.read(1 << 20)

    def copy(self, folder: Path, prefix: str) -> float:
        """Sync a folder with rclone and return the seconds."""
        options = {"provider": "Minio", "endpoint": self.endpoint, "access-key-id": _KEY, "secret-access-key": _KEY}
        flags = [part for name, value in options.items() for part in (f"--s3-{name}", value)]
        command = [self._rclone, "sync", str(folder), f":s3:{_BUCKET}/{prefix}", *flags, "--config", "/dev/null",
                   "--transfers", str(_AT_ONCE), "--checkers", str(_AT_ONCE), "--s3-no-check-bucket"]  # fmt: skip
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        return time.monotonic() - began


@contextlib.contextmanager
def open_server() -> Iterator[Server]:
    """Run MinIO on a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        server = Server(Path(folder))
        try:
            server.prepare()
            yield server
        finally:
            server.process.terminate()
            server.process.wait()


@contextlib.contextmanager
def open_sandbox(server: Server, name: str) -> Iterator[tuple[Sandbox, Path]]:
    """Open a local session that stores its files on the server. Yields it with its workspace folder."""
    build = local._bind_request  # noqa: SLF001 - local sessions only support a folder as their store

    def bind(*arguments: object) -> session_pb2.BindRequest:
        request: session_pb2.BindRequest = build(*arguments)  # type: ignore[arg-type]
        store = session_pb2.S3Store(bucket=_BUCKET, endpoint=server.endpoint, region="us-east-1", path_style=True,
                                    access_key_id=_KEY, secret_access_key=_KEY)  # fmt: skip
        request.workspace.s3.CopyFrom(store)
        return request

    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder:
        with mock.patch.object(local, "_bind_request", bind):
            sandbox = Sandbox.local(workspace=folder, name=name)
        with sandbox:
            yield sandbox, Path(folder)


def measure(report: Report, *, is_quick: bool) -> None:
    """Measure both sides in turns and report medians."""
    count, large, rounds = (500, 64 << 20, 2) if is_quick else (10_000, 1 << 30, 3)

    def write_small(folder: Path) -> None:
        for number in range(count):
            (folder / f"{number:05d}.bin").write_bytes(os.urandom(_SMALL))

    def write_large(folder: Path) -> None:
        with (folder / "large.bin").open("wb") as file:
            for _ in range(large >> 20):
                file.write(os.urandom(1 << 20))

    ours, peer, ours_more, peer_more = _take(write_small, rounds)
    report.compare(f"push of {count:,} files of 4 KiB", "files/s", count / ours, count / peer, 0.8)
    report.compare(f"push after one of {count:,} files changed", "ms", ours_more * 1e3, peer_more * 1e3, None)
    report.add(f"push after one of {count:,} files changed, ours", "ms", ours_more * 1e3, 100)
    ours, peer, _, _ = _take(write_large, rounds)
    size = large >> 20
    report.compare(f"push of one file of {size:,} MiB", "MiB/s", size / ours, size / peer, 0.8)


def _take(write: Callable[[Path], None], rounds: int) -> tuple[float, float, float, float]:
    """Return medians in seconds: our push, rclone's sync, and both again after one file changed."""
    samples: list[list[float]] = [[], [], [], []]
    for number in range(rounds):
        name = f"{write.__name__}-{number}".replace("_", "-")
        # Each round has its own server, because the data of all rounds would fill the disk.
        with (
            open_server() as server,
            open_sandbox(server, name) as (sandbox, folder),
            tempfile.TemporaryDirectory() as kept,
        ):
            write(folder)
            copy = Path(kept) / "copy"
            shutil.copytree(folder, copy)
            changed = min(path.name for path in copy.iterdir())
            for is_increment in (False, True):
                if is_increment:
                    for each in (folder, copy):
                        (each / changed).write_bytes(b"changed" * 100)
                for side in (0, 1) if number % 2 else (1, 0):
                    seconds = server.copy(copy, f"peer/{name}") if side else _push(sandbox, server, folder / changed)
                    samples[side + 2 * is_increment].append(seconds)
    ours, peer, ours_more, peer_more = map(statistics.median, samples)
    return ours, peer, ours_more, peer_more


def _push(sandbox: Sandbox, server: Server, changed: Path) -> float:
    """Push and return the seconds. Check that all files are durable and the lock is released when the call returns."""
    began = time.monotonic()
    report = sandbox.workspace.push()
    seconds = time.monotonic() - began
    if report.failed or not report.files_saved:
        raise RuntimeError(f"the push failed: {report.failed[:3]}")
    prefix = f"local/{sandbox.name}/"
    head = json.loads(server.read(f"{prefix}.workspace/HEAD")[1])
    if head["generation"] != report.generation or head["pushing"] is not None:
        raise RuntimeError(f"the push returned before the commit: {head['generation']}, {head['pushing']}")
    with changed.open("rb") as file:
        expected = changed.stat().st_size, file.read(1 << 20)
    if server.read(f"{prefix}code-interpreter/{changed.name}") != expected:
        raise RuntimeError("the push returned before the file was stored")
    return seconds
