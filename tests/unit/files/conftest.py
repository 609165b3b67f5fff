"""A workspace in a temporary folder, and calls of its handlers through a channel in memory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox_runtime.files import Handler, build_handlers
from sandbox_runtime.linux import syscalls
from sandbox_testing.link import MemoryChannel

Call = Callable[..., Awaitable[dict[str, Any]]]


@dataclass
class Limits:
    file_bytes: int = 0


@dataclass
class Bench:
    """What a test drives: `await bench(op, body, **arguments)`."""

    root: Path
    limits: Limits
    handlers: dict[str, Handler]
    channel: MemoryChannel

    async def __call__(self, op: str, body: Iterable[bytes] = (), **arguments: Any) -> dict[str, Any]:
        self.channel = MemoryChannel({"op": op, **arguments}, body)
        return await self.handlers[op](self.channel)

    async def read(self, path: str, **arguments: Any) -> bytes:
        result = await self("file.read", path=path, **arguments)
        content = self.channel.output()
        assert result == {"bytes": len(content)}
        return content

    async def list(self, op: str = "file.list", **arguments: Any) -> list[dict[str, Any]]:
        await self(op, **arguments)
        listed = [event["entries"] for event in self.channel.events if event["type"] == "entries"]
        assert all(0 < len(entries) <= 500 for entries in listed)
        return [entry for entries in listed for entry in entries]

    async def scan(self, **arguments: Any) -> list[str]:
        return sorted(entry["path"] for entry in await self.list("workspace.scan", **arguments))

    async def scan_all(self) -> tuple[list[str], dict[str, str]]:
        """The paths that a scan finds, and the reasons for those that it leaves out."""
        found = await self.scan()
        events = [event["paths"] for event in self.channel.events if event["type"] == "left_out"]
        return found, {each["path"]: each["reason"] for paths in events for each in paths}

    def names(self) -> list[str]:
        """Everything below the root, part files included."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def bench(tmp_path: Path, limits: Limits) -> Bench:
    root = tmp_path / "workspace"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return Bench(root, limits, build_handlers(root, limits), MemoryChannel({}))


@pytest.fixture(params=["openat2", "no openat2"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with openat2, where the kernel has it, and without."""

    def refuse(*_args: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    if request.param == "no openat2":
        monkeypatch.setattr(syscalls, "open_beneath", refuse)
        monkeypatch.setattr(syscalls, "rename_without_replacing", refuse)
    return str(request.param)


@pytest.fixture
def open_files() -> Callable[[str], list[str]]:
    """Finds what this process has open whose path has a text in it."""
    return _open_files


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    """No test leaves anything of a workspace open."""
    yield
    assert _open_files("/workspace") == []


def _open_files(text: str) -> list[str]:
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            targets.append(str(descriptor.readlink()))
    return [target for target in targets if text in target]
