"""Changes in HEAD: with them the manifest is the generation, whatever pushes did since it was written."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_agent.storage.errors import ManifestError
from sandbox_agent.storage.repository import delta as delta_module
from sandbox_agent.storage.repository.delta import Delta, find_delta
from sandbox_agent.storage.repository.head import VERSION, Head, LockRecord, decode_head, encode_head
from sandbox_agent.storage.repository.manifest import Entry, manifest_name

SHA = "0" * 64
NAMES = st.sampled_from(["a", "b", "ü", "x-1", "x-2"])
FILE = {"path": "f", "type": "file", "size": 1, "mode": 420, "mtime_ns": 5, "sha256": SHA, "etag": '"e"'}


def entry(path, number=0):
    return Entry(path, "file", number, 0o644, number, SHA, f"etag-{number}")


def generation(sizes):
    return {path: entry(path, number) for path, number in sorted(sizes.items())}


GENERATIONS = st.lists(st.dictionaries(NAMES, st.integers(0, 3), max_size=5).map(generation), min_size=1, max_size=6)


@given(GENERATIONS)
def test_a_manifest_with_the_changes_of_any_generations_is_the_last_one(generations):
    manifest, changes = generations[0], Delta()
    for old, new in itertools.pairwise(generations):
        found = find_delta(changes, old, new)
        assert found is not None
        changes = found
        head = Head(7, manifest_name(2, "0123456789abcdef"), "pod-a", "t", LockRecord(8, "pod-b", "now"), {}, changes)
        assert decode_head(encode_head(head)) == head
    assert list(changes.apply(manifest).items()) == list(generations[-1].items())


def test_what_is_the_same_is_no_change():
    old = generation({"a": 1, "b": 2, "c": 3})
    new = {**generation({"a": 1, "b": 2}), "c": entry("c", 4), "d": entry("d")}
    assert find_delta(Delta(), old, new) == Delta({"c": entry("c", 4), "d": entry("d")})
    assert find_delta(Delta(), old, old) == Delta()


@pytest.mark.parametrize("bound", ["MAX_PATHS", "MAX_BYTES"])
def test_where_much_has_changed_a_manifest_is_better(bound, monkeypatch):
    old = generation({"a": 1, "b": 2, "c": 3})
    before = find_delta(Delta(), old, generation({"a": 2, "b": 2, "c": 3}))
    new = generation({"a": 2, "b": 3})
    most = {"MAX_PATHS": 3, "MAX_BYTES": len(delta_module.encode_delta(find_delta(before, old, new)))}[bound]
    monkeypatch.setattr(delta_module, bound, most)
    assert find_delta(before, old, new) == Delta({"a": old["a"], "b": new["b"]} | {"a": new["a"]}, frozenset("c"))
    monkeypatch.setattr(delta_module, bound, most - 1)
    assert find_delta(before, old, new) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "list of files"),
        ({"files": {}, "gone": []}, "list of files"),
        ({"files": []}, "list of files"),
        ({"files": [1], "gone": []}, "not an object"),
        ({"files": [{**FILE, "path": "../x"}], "gone": []}, "plain relative path"),
        ({"files": [{**FILE, "etag": ""}], "gone": []}, "needs `etag`"),
        ({"files": [], "gone": ["a/../b"]}, "plain relative path"),
        ({"files": [], "gone": [1]}, "not text"),
        ({"files": [FILE, FILE], "gone": []}, "names a path twice"),
        ({"files": [FILE], "gone": ["f"]}, "names a path twice"),
    ],
)
def test_poisoned_changes_are_refused_and_said(value, reason):
    head = {
        "version": VERSION,
        "generation": 2,
        "manifest": manifest_name(1, "0123456789abcdef"),
        "writer": "w",
        "changes": value,
    }
    with pytest.raises(ManifestError, match=reason):
        decode_head(json.dumps(head).encode())


def test_changes_that_do_not_go_with_the_manifest_are_refused():
    with pytest.raises(ManifestError, match="which is not a folder"):
        Delta({"a/b": entry("a/b")}).apply({"a": entry("a")})


@pytest.mark.parametrize(
    ("version", "made", "is_refused"), [(1, 3, False), (2, 1, False), (3, 3, True), (2, 4, True), (2, 0, True)]
)
def test_a_head_of_this_version_or_an_older_one_names_a_manifest_up_to_its_generation(version, made, is_refused):
    manifest = manifest_name(made, "0123456789abcdef")
    data = json.dumps({"version": version, "generation": 3, "manifest": manifest, "writer": "w"}).encode()
    if is_refused:
        with pytest.raises(ManifestError):
            decode_head(data)
    else:
        assert decode_head(data) == Head(3, manifest, "w", "")
