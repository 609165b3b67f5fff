"""What a restore takes, by what storage holds."""

from datetime import UTC, datetime

import pytest

from sandbox_agent.storage.backends.object_store import ObjectInfo
from sandbox_agent.storage.repository.head import Head, LockRecord
from sandbox_agent.storage.repository.manifest import Manifest, manifest_name
from sandbox_agent.storage.repository.repository import HeadState, StoredState
from sandbox_agent.storage.restore.plan import plan_restore

COMMITTED = 1_000_000.0
"""HEAD's time comes from a header, in whole seconds."""


@pytest.mark.parametrize(
    ("etag", "modified", "is_taken"),
    [
        ("e", COMMITTED - 5, False),
        ("e", COMMITTED + 0.9, False),  # a listing that tells parts of a second, and the commit came after it
        ("e", COMMITTED + 1, True),
        ("other", COMMITTED - 5, True),
    ],
)
def test_an_object_that_a_commit_dropped_is_no_file_unless_somebody_wrote_it_since(etag, modified, is_taken):
    head = Head(2, manifest_name(1, "0123456789abcdef"), "w", "t", LockRecord(2, "w", "t"), {"f": "e"})
    info = ObjectInfo("p/f", 1, etag, datetime.fromtimestamp(modified, UTC))
    plan = plan_restore(
        StoredState(HeadState(head, modified=COMMITTED), Manifest(2, "t", "w"), {"f": info}, {}, {}, ())
    )
    assert [fetch.path for fetch in plan.fetch] == (["f"] if is_taken else [])
