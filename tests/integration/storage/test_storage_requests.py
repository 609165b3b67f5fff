"""What a push leaves behind, and what it asks storage for: one that knows its own garbage lists nothing."""

from __future__ import annotations

import botocore.session
import pytest

from sandbox_agent.storage.backends.s3.client import Connection, S3Settings
from sandbox_testing.store import Fault


async def leftovers(sandbox) -> list[str]:
    """Copies that were made aside."""
    return [key for key in await sandbox.keys() if "previous/" in key]


async def manifests(sandbox) -> list[str]:
    return [key for key in await sandbox.keys() if "manifest-" in key]


async def test_a_push_after_one_change_lists_nothing_and_leaves_nothing(new_sandbox):
    sandbox = new_sandbox()
    sandbox.write("a", b"1")
    sandbox.write("b", b"1")
    await sandbox.push()
    for content in (b"22", b"333"):
        sandbox.write("a", content)
        sandbox.store.log.clear()
        await sandbox.push()
        await sandbox.workspace.wait_for_pruning()
        asked = [(name, key.rpartition("/")[2][:4]) for name, key in sandbox.store.log]
        asked[1:3] = sorted(asked[1:3])  # these two at the same time
        assert asked == [
            ("get", "HEAD"), ("put", "HEAD"), ("stat", "a"), ("copy", "a"), ("put", "a"), ("put", "HEAD"),
            ("delete_many", "0000"),
        ]  # fmt: skip
    assert await leftovers(sandbox) == []
    assert len(await manifests(sandbox)) == 1


async def test_an_agent_that_does_not_know_what_was_left_lists_it_once(new_sandbox):
    one = new_sandbox()
    one.write("a", b"1")
    await one.push()
    other = new_sandbox("pod-b")
    await other.restore()
    for content, is_listed in ((b"22", True), (b"333", False)):
        other.write("a", content)
        other.store.log.clear()
        await other.push()
        await other.workspace.wait_for_pruning()
        assert ("pages" in [name for name, _ in other.store.log]) is is_listed
    assert await leftovers(other) == []


@pytest.mark.parametrize("fault", Fault)
async def test_what_could_not_be_removed_is_removed_by_the_next_push(new_sandbox, fault: Fault):
    sandbox = new_sandbox()
    sandbox.write("a", b"1")
    await sandbox.push()
    sandbox.write("a", b"22")
    sandbox.store.fail_after(0, fault, only="delete_many")
    assert (await sandbox.push()).generation == 2
    sandbox.store.heal()
    sandbox.write("a", b"333")
    assert (await sandbox.push()).generation == 3
    assert await leftovers(sandbox) == []
    assert len(await manifests(sandbox)) == 1


async def test_an_old_manifest_that_stayed_goes_with_the_next_push(new_sandbox, monkeypatch):
    sandbox = new_sandbox()
    sandbox.write("a", b"1")
    await sandbox.push()
    sandbox.write("new", b"1")
    sandbox.store.fail_after(0, only="delete_many")
    with monkeypatch.context() as patch:
        patch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", 0)
        assert (await sandbox.push()).generation == 2
    assert len(await manifests(sandbox)) == 2
    sandbox.store.heal()
    sandbox.write("a", b"22")
    await sandbox.push()
    assert await manifests(sandbox) == [".workspace/manifest-0000000002.json"]


def test_listings_are_read_as_botocore_reads_them(s3_settings: S3Settings):
    usual = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=s3_settings.endpoint,
        aws_access_key_id=s3_settings.access_key_id,
        aws_secret_access_key=s3_settings.secret_access_key,
    )
    connection = Connection(s3_settings)
    try:
        for key in ("a/b.txt", "with space+plus", "é/ü&<amp>", "~%41\"'"):
            usual.put_object(Bucket=s3_settings.bucket, Key=key, Body=key.encode())
        start = {}
        for _ in range(2):
            asked = {"Bucket": s3_settings.bucket, "MaxKeys": 3, **start}
            theirs, ours = usual.list_objects_v2(**asked), connection.client.list_objects_v2(**asked)
            names = ("Key", "Size", "ETag", "LastModified")
            assert [{name: item[name] for name in names} for item in theirs["Contents"]] == ours["Contents"]
            assert theirs["IsTruncated"] == ours["IsTruncated"]
            start = {"StartAfter": theirs["Contents"][-1]["Key"]}
        empty = connection.client.list_objects_v2(Bucket=s3_settings.bucket, Prefix="nothing")
        assert "Contents" not in empty
    finally:
        usual.close()
        connection.close()
