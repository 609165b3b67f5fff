"""Push and restore metadata on file systems that cannot keep it, or can keep only a part."""

import errno
import os

import pytest

METADATA = {"a": "1", "b": "2"}


@pytest.fixture(params=["none", "part"])
def poor_files(request, monkeypatch):
    """Makes a file system that keeps no metadata, or only one attribute of a file. Returns the function to call."""
    real = os.setxattr

    def refuse(file, name, value, *arguments, **options):
        # The store has attributes of its own.
        if name == "user.a" and request.param == "none":
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
        if name == "user.b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file, name, value, *arguments, **options)

    return lambda: monkeypatch.setattr(os, "setxattr", refuse)


@pytest.fixture
async def stored(new_sandbox):
    """A workspace of one file with metadata."""
    sandbox = new_sandbox("pod-a")
    sandbox.write("f", b"1")
    for key, text in METADATA.items():
        os.setxattr(sandbox.root / "f", f"user.{key}", text.encode())
    assert not (await sandbox.push()).failed


async def read_stored(sandbox):
    repository = sandbox.workspace._context.repository
    manifest = await repository.read_manifest((await repository.read_head()).head)
    return {entry.path: dict(entry.metadata) for entry in manifest.files}


async def test_a_push_keeps_metadata_that_the_file_system_does_not(new_sandbox, stored, poor_files):
    poor_files()
    sandbox = new_sandbox("pod-b")
    await sandbox.restore()
    assert not (await sandbox.workspace.status()).dirty
    sandbox.write("new", b"2")
    await sandbox.push()
    assert await read_stored(sandbox) == {"f": METADATA, "new": {}}
    with (sandbox.root / "f").open("ab") as file:
        file.write(b"more")
    await sandbox.push()
    assert (await read_stored(sandbox))["f"] == METADATA
    os.utime(sandbox.root / "f", ns=(5, 5))
    await sandbox.push()
    assert (await read_stored(sandbox))["f"] == METADATA


async def test_a_restore_does_not_download_such_a_file_again(new_sandbox, stored, poor_files):
    poor_files()
    sandbox = new_sandbox("pod-b")
    assert (await sandbox.restore()).files_restored == 1
    assert (await sandbox.restore()).files_restored == 0
    assert (await sandbox.restore()).files_restored == 0


async def test_metadata_that_the_sandbox_changes_or_deletes_is_stored(new_sandbox, stored):
    sandbox = new_sandbox("pod-b")
    await sandbox.restore()
    os.setxattr(sandbox.root / "f", "user.a", b"3")
    assert (await sandbox.workspace.status()).dirty
    await sandbox.push()
    assert await read_stored(sandbox) == {"f": {"a": "3", "b": "2"}}
    os.removexattr(sandbox.root / "f", "user.a")
    os.removexattr(sandbox.root / "f", "user.b")
    await sandbox.push()
    assert await read_stored(sandbox) == {"f": {}}
