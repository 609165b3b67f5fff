"""Metadata of files, through local sessions for real."""

from __future__ import annotations

import json

import pytest

from sandbox_client import InvalidArgument, Sandbox


def test_metadata_is_written_seen_by_code_saved_and_restored(tmp_path):
    with Sandbox.local(store=tmp_path / "store") as sandbox:
        info = sandbox.files.write("a", "1", metadata={"source": "crm"})
        assert info.metadata == {"source": "crm"}
        assert sandbox.run_code("import os; print(os.getxattr('a', 'user.source'))").stdout == "b'crm'\n"
        sandbox.run_code("os.setxattr('a', 'user.by', b'code')")
        assert sandbox.files.stat("a").metadata == {"by": "code", "source": "crm"}
        (tmp_path / "b").write_text("2")
        assert sandbox.files.upload(tmp_path / "b", metadata={"kind": "upload"}).metadata == {"kind": "upload"}
        assert sandbox.workspace.push().failed == ()
    with Sandbox.local(store=tmp_path / "store") as sandbox:
        assert [(file.path, file.metadata) for file in sandbox.files.list()] == [
            ("a", {"by": "code", "source": "crm"}),
            ("b", {"kind": "upload"}),
        ]
        assert sandbox.workspace.status().dirty is False
        sandbox.run_code("import os; os.setxattr('a', 'user.by', b'another')")
        report = sandbox.workspace.push()
        assert (report.files_moved, report.generation) == (0, 2), "the content is stored"
    with Sandbox.local(store=tmp_path / "store") as sandbox:
        assert sandbox.files.stat("a").metadata == {"by": "another", "source": "crm"}


def test_a_snapshot_of_an_earlier_version_is_restored_without_metadata(tmp_path):
    with Sandbox.local(store=tmp_path / "store") as sandbox:
        sandbox.files.write("a", "1", metadata={"source": "crm"})
        sandbox.workspace.push()
    changed = 0
    for file in (tmp_path / "store").rglob("*.json"):
        value = json.loads(file.read_text())
        for entry in [*value.get("files", []), *(value.get("changes") or {}).get("files", [])]:
            changed += entry.pop("metadata", None) is not None
        file.write_text(json.dumps(value))
    assert changed
    with Sandbox.local(store=tmp_path / "store") as sandbox:
        assert (sandbox.files.read("a"), dict(sandbox.files.stat("a").metadata)) == (b"1", {})


def test_too_much_metadata_is_refused_by_its_name():
    with Sandbox.local() as sandbox:
        for metadata in ({"a": "x" * 3000}, {"": "1"}, {"a": 1}):
            with pytest.raises(InvalidArgument) as caught:
                sandbox.files.write("a", "1", metadata=metadata)
            assert caught.value.field == "metadata"
        assert not sandbox.files.exists("a")
