"""Which metadata a push stores, and which a restore asks for."""

import dataclasses

import pytest

from sandbox_agent.storage.push.plan import is_described, is_unchanged, list_differing, merge_metadata, plan_push
from sandbox_agent.storage.repository.manifest import Entry
from sandbox_agent.storage.sandbox.file_info import LocalEntry, sign

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
