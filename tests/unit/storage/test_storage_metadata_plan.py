"""Which metadata of files a push stores, and which a restore asks for."""

import dataclasses

import pytest

from sandbox_agent.storage.push.plan import is_described, is_unchanged, list_differing, merge_metadata, plan_push
from sandbox_agent.storage.repository.manifest import Entry
from sandbox_agent.storage.sandbox import file_info
from sandbox_agent.storage.sandbox.file_info import LocalEntry, read_local, sign
from sandbox_link.protocol import OperationError
from sandbox_runtime.files.confined.metadata import MAX_BYTES, MAX_KEY, take_metadata

A, B = (("a", "1"),), (("b", "2"),)
ENTRY = Entry("f", "file", 1, 0o644, 5, "0" * 64, "e", metadata=A)
LOCAL = LocalEntry("f", "file", 1, 0o644, 5, 6, 7)
SIGNATURE = sign(LOCAL, 10**9)


def test_a_file_that_has_not_changed_keeps_metadata_that_its_file_system_lacks():
    plan = plan_push([LOCAL], {"f": ENTRY}, {"f": SIGNATURE}, ())
    assert plan.keep == [ENTRY]
    assert is_described(LOCAL, ENTRY, SIGNATURE)
    assert is_unchanged(LOCAL, ENTRY, ENTRY, SIGNATURE)
    assert not is_unchanged(LOCAL, dataclasses.replace(ENTRY, metadata=B), ENTRY, SIGNATURE)
    assert list(list_differing([LOCAL], {"f": ENTRY}, {"f": SIGNATURE})) == []


@pytest.mark.parametrize(
    ("local", "had", "expected"),
    [
        ({}, (), A),
        ({}, A, ()),
        ({"metadata": B}, (), B),
        ({"metadata": B}, B, A),
        ({"mtime_ns": 9, "size": 2}, (), A),
        ({"ino": 8}, (), ()),
    ],
)
def test_what_the_sandbox_changed_wins(local, had, expected):
    signature = dataclasses.replace(SIGNATURE, metadata=had, is_reliable=False)
    assert merge_metadata(dataclasses.replace(LOCAL, **local), ENTRY, signature) == expected


def test_a_file_without_a_signature_has_its_own_metadata():
    assert merge_metadata(LOCAL, ENTRY, None) == merge_metadata(LOCAL, None, SIGNATURE) == ()


INFO = {"path": "f", "type": "file", "size": 1}


@pytest.mark.parametrize(
    "metadata",
    [
        {"": "1"},
        {"é" * 101: "1"},
        {"a\0": "1"},
        {"a": "\0"},
        {"a": "\ud800"},
        {"\ud800": "a"},
        {"a": "x" * 3000},
        {"a": 1},
    ],
)
def test_metadata_that_no_runtime_would_restore_is_never_stored(metadata):
    with pytest.raises(OperationError, match="the metadata of f is malformed"):
        read_local({**INFO, "metadata": metadata})


def test_the_bounds_are_those_of_the_runtime():
    largest = {"a" * 200: "x" * 2800}
    assert read_local({**INFO, "metadata": largest}).metadata == tuple(largest.items())
    assert take_metadata({"metadata": largest}) == largest
    assert (file_info._MAX_KEY, file_info._MAX_METADATA) == (MAX_KEY, MAX_BYTES)
