"""Scans that tell the differences from the one before find the same as scans that tell everything."""

from __future__ import annotations

import os
import random

import pytest

from sandbox_agent.storage.sandbox.files import SandboxFiles
from sandbox_link.protocol import OperationError
from sandbox_runtime.files import scan_cache
from tests.integration.storage.conftest import FolderRuntime, MemoryCall

EXCLUDE = ("*.tmp",)


class Recording(FolderRuntime):
    """Keeps what the runtime told."""

    async def open(self, op, arguments) -> MemoryCall:
        call = await super().open(op, arguments)
        self.told = []
        send = call.send_event

        def send_event(value):
            self.told += [entry["path"] for entry in value.get("entries", ())]
            self.told += [f"-{path}" for path in value.get("paths", ())]
            send(value)

        call.send_event = send_event
        return call


@pytest.fixture
def runtime(tmp_path):
    for name in ("a", "b", "folder/c", "x.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    return Recording(tmp_path)


async def both(files, exclude=EXCLUDE):
    """The paths that the second scan of one agent finds, which a new agent's scan confirms."""
    again = (await files.scanner.scan_again(exclude)).found.values()
    everything = (await SandboxFiles(FolderRuntime(files.runtime.root)).scanner.scan((), exclude)).found.values()
    assert sorted(again, key=lambda local: local.path) == sorted(everything, key=lambda local: local.path)
    return sorted(local.path for local in again)


async def test_the_second_scan_tells_what_changed_and_finds_everything(runtime):
    files = SandboxFiles(runtime)
    assert await both(files) == ["a", "b", "folder/c", "link"]
    await both(files)
    assert runtime.told == []
    (runtime.root / "a").write_text("A")
    (runtime.root / "b").unlink()
    (runtime.root / "folder/c").unlink()
    (runtime.root / "link").unlink()
    (runtime.root / "link").symlink_to("b")
    (runtime.root / "new").mkdir()
    assert await both(files) == ["a", "folder", "link", "new"]
    assert sorted(runtime.told) == ["-b", "-folder/c", "a", "folder", "link", "new"]


async def test_what_did_not_change_is_the_same_object(runtime):
    files = SandboxFiles(runtime)
    first = (await files.scanner.scan_again(EXCLUDE)).found
    (runtime.root / "a").write_text("A")
    second = (await files.scanner.scan_again(EXCLUDE)).found
    assert {path for path in first if first[path] is second[path]} == {"b", "folder/c", "link"}


async def test_after_other_patterns_another_agent_or_a_new_runtime_everything_is_told(runtime, monkeypatch):
    files = SandboxFiles(runtime)
    await both(files)
    assert "x.tmp" in await both(files, ("b",))
    assert len(runtime.told) == 4
    await SandboxFiles(runtime).scanner.scan_again(("b",))
    await both(files, ("b",))
    assert len(runtime.told) == 4, "the runtime remembers another scan"
    runtime.__post_init__()  # as if it had started anew
    await both(files, ("b",))
    assert len(runtime.told) == 4
    monkeypatch.setattr(scan_cache, "MAX_ENTRIES", 2)
    await both(files, ("b",))
    await both(files, ("b",))
    assert len(runtime.told) == 4, "too many are not remembered"


async def test_whatever_happens_between_two_scans_both_ways_find_the_same(runtime):
    files, chance = SandboxFiles(runtime), random.Random(7)
    for _ in range(60):
        folder = runtime.root / chance.choice(["", "folder", "other"])
        folder.mkdir(exist_ok=True)
        target = folder / f"f{chance.randrange(6)}"
        match chance.randrange(4):
            case 0 if target.exists():
                target.unlink()
            case 1:
                target.chmod(0o600) if target.exists() else target.write_bytes(b"")
            case 2 if target.exists():
                os.utime(target, ns=(1, chance.randrange(10**18)))
            case _:
                target.write_bytes(chance.randbytes(chance.randrange(9)))
        await both(files)


@pytest.mark.parametrize(
    ("event", "result"),
    [
        ({"type": "gone", "paths": "a"}, {"token": "t", "is_difference": True}),
        ({"type": "entries", "entries": {"path": "a"}}, {"token": "t"}),
    ],
)
async def test_a_scan_that_breaks_the_contract_is_an_error(tmp_path, event, result):
    runtime = FolderRuntime(tmp_path)

    async def lie(channel):
        channel.send_event(event)
        return result

    files = SandboxFiles(runtime)
    await files.scanner.scan_again(EXCLUDE)
    runtime._handlers = {**runtime._handlers, "workspace.scan": lie}
    with pytest.raises(OperationError, match="no list of") as caught:
        await files.scanner.scan_again(EXCLUDE)
    assert caught.value.code == "INTERNAL"


async def test_a_difference_from_nothing_is_everything(runtime):
    async def lie(channel):
        return {"token": ["t"], "is_difference": True}

    files = SandboxFiles(runtime)
    runtime._handlers = {**runtime._handlers, "workspace.scan": lie}
    assert (await files.scanner.scan_again(EXCLUDE)).found == {}
    assert (await files.scanner.scan_again(EXCLUDE)).found == {}
