from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_agent.storage.errors import ManifestError
from sandbox_agent.storage.repository.head import Head, LockRecord, PreviousObject, decode_head, encode_head
from sandbox_agent.storage.repository.keys import NameRefusedError, check_path
from sandbox_agent.storage.repository.manifest import (
    Entry,
    Manifest,
    decode_manifest,
    encode_entry,
    encode_manifest,
    manifest_name,
    read_entry,
)

SHA = "0" * 64
FILE = {"path": "f", "type": "file", "size": 1, "mode": 420, "mtime_ns": 5, "sha256": SHA, "etag": '"e"'}


def storable(path):
    try:
        return bool(check_path(path))
    except NameRefusedError:
        return False


PATHS = (
    st.text(st.characters(codec=None), min_size=1, max_size=20)
    .map(lambda text: text.replace("/", "_"))
    .filter(storable)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FILE, "version", "files"]), inner),
    max_leaves=12,
)


@given(st.dictionaries(PATHS, st.integers(0, 1 << 40), max_size=8), st.integers(1, 9_999_999_999))
def test_a_manifest_comes_back_as_it_was(sizes, generation):
    files = tuple(Entry(path, "file", size, 0o644, -size, SHA, "etag") for path, size in sorted(sizes.items()))
    manifest = Manifest(generation, "2026-01-01T00:00:00Z", "pod-a", files)
    assert decode_manifest(encode_manifest(manifest), generation) == manifest


@given(st.dictionaries(PATHS, st.sampled_from([PreviousObject(), PreviousObject(SHA, "e")]), max_size=8))
def test_a_head_comes_back_as_it_was(undo):
    head = Head(
        7,
        manifest_name(7, "0123456789abcdef"),
        "pod-a",
        "t",
        LockRecord(8, "pod-b", "now", undo),
        dict.fromkeys(undo, "e"),
    )
    assert decode_head(encode_head(head)) == head
    assert head.interrupted == head.lock


@given(JSON)
def test_no_json_makes_anything_but_a_manifest_or_a_clear_error(value):
    for data in (
        value,
        {"version": 1, "generation": 1, "files": value},
        {"version": 1, "generation": 1, "files": [value]},
    ):
        try:
            manifest = decode_manifest(json.dumps(data).encode(), 1)
        except ManifestError as error:
            assert str(error)  # noqa: PT017 - either outcome is right
        else:
            assert all(storable(entry.path) for entry in manifest.files)


@given(st.binary(max_size=40))
def test_no_bytes_make_anything_but_a_clear_error(data):
    with pytest.raises(ManifestError):
        decode_manifest(data, 1)
    with pytest.raises(ManifestError):
        decode_head(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "../x"}, "plain relative path"),
        ({"path": "/x"}, "plain relative path"),
        ({"path": "a\0"}, "U\\+0000"),
        ({"path": 3}, "`path` is not a text"),
        ({"type": "device"}, "`type` is neither"),
        ({"type": ["file"]}, "`type` is neither"),
        ({"size": -1}, "`size` is not an integer"),
        ({"size": 1 << 60}, "`size` is not an integer"),
        ({"size": True}, "`size` is not an integer"),
        ({"mode": 0o10000}, "`mode` is not an integer"),
        ({"sha256": "x" * 64}, "needs `etag` and `sha256`"),
        ({"etag": ""}, "needs `etag` and `sha256`"),
        ({"type": "symlink"}, "needs `symlink_target`"),
        ({"type": "symlink", "symlink_target": "a\0b"}, "needs `symlink_target`"),
    ],
)
def test_a_poisoned_entry_is_refused_and_said(change, reason):
    data = json.dumps({"version": 1, "generation": 1, "files": [{**FILE, **change}]}).encode()
    with pytest.raises(ManifestError, match=reason):
        decode_manifest(data, 1)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"version": 2, "generation": 1, "files": []}, "version 2"),
        ({"version": 1, "generation": 2, "files": []}, "does not belong to generation 1"),
        ({"version": 1, "generation": 1, "files": {}}, "not a list"),
        ({"version": 1, "generation": 1, "files": [FILE, FILE]}, "occurs twice"),
        ({"version": 1, "generation": 1, "files": [FILE, {**FILE, "path": "f/g"}]}, "which is not a folder"),
        ([], "not an object"),
    ],
)
def test_a_poisoned_manifest_is_refused_and_said(value, reason):
    with pytest.raises(ManifestError, match=reason):
        decode_manifest(json.dumps(value).encode(), 1)


@pytest.mark.parametrize(
    "change",
    [
        {"manifest": "../../other/manifest-0000000001.json"},
        {"manifest": ""},
        {"generation": -1},
        {"pushing": {"generation": 3}},
        {"pushing": {"generation": 2, "undo": {"../x": {}}}},
        {"pushing": {"generation": 2, "undo": {"x": {"sha256": "../../y", "etag": "e"}}}},
        {"pushing": []},
        {"removed": {"/x": "e"}},
        {"removed": {"x": 1}},
    ],
)
def test_a_poisoned_head_is_refused(change):
    value = {"version": 1, "generation": 1, "manifest": manifest_name(1, "0123456789abcdef"), "writer": "w", **change}
    with pytest.raises(ManifestError):
        decode_head(json.dumps(value).encode())


def test_nesting_without_end_is_refused():
    with pytest.raises(ManifestError):
        decode_head(b"[" * 200_000)


def test_metadata_of_a_file_is_kept_and_is_not_there_without_any():
    entry = Entry("a", "file", 1, 0o644, 1, "0" * 64, "e", metadata=(("a", "ü\n"), ("b", "")))
    assert read_entry(json.loads(encode_entry(entry))) == entry
    assert "metadata" not in encode_entry(dataclasses.replace(entry, metadata=()))


@pytest.mark.parametrize("metadata", [[], {"a": 1}, {str(number): "" for number in range(65)}, {"a": "x" * 4097}])
def test_malformed_metadata_is_refused(metadata):
    item = {"path": "a", "type": "file", "sha256": "0" * 64, "etag": "e", "metadata": metadata}
    with pytest.raises(ManifestError, match="`metadata` is not a small map of texts"):
        read_entry(item)
