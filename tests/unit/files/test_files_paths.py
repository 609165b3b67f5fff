from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_link.protocol import OperationError
from sandbox_runtime.files.confined.path_checks import (
    MAX_COMPONENTS,
    MAX_PATH_BYTES,
    below_root,
    confine,
    join,
    to_text,
)

ROOTS = (b"/workspace", b"/mnt/real")
NAMES = st.sampled_from(["..", ".", "", "a", "b c", "ü", "\udcff", "workspace", "mnt", "real", "...", "-rf", "\n"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", (b"a",)),
        ("./a//b/", (b"a", b"b")),
        ("a/../b", (b"b",)),
        (".", ()),
        ("a/..", ()),
        ("/workspace", ()),
        ("/workspace/a", (b"a",)),
        ("/mnt/real/a", (b"a",)),
        ("/tmp/../workspace/./a", (b"a",)),
        ("...", (b"...",)),
        ("%2e%2e/a", (b"%2e%2e", b"a")),
        ("\udcff\n", (b"\xff\n",)),
    ],
)
def test_a_path_inside_becomes_its_components(text, expected):
    assert confine(text, ROOTS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "../workspace/a",
        "a/../../b",
        "/",
        "/etc/passwd",
        "/workspace/../etc",
        "/workspace2/a",
        "/workspac",
        "a\0b",
        "\ud800",
        None,
        7,
        ["a"],
        "a" * (MAX_PATH_BYTES + 1),
        "a/" * (MAX_COMPONENTS + 1),
    ],
)
def test_a_path_that_leaves_the_root_is_refused_with_its_field(text):
    with pytest.raises(OperationError) as caught:
        confine(text, ROOTS, "source")
    error = caught.value
    assert (error.code, error.reason, error.field) == ("INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE", "source")


@given(st.lists(NAMES, min_size=1, max_size=12).map("/".join))
def test_what_is_let_through_is_what_posix_says_and_inside(text):
    try:
        parts = confine(text, ROOTS)
    except OperationError:
        if text and not text.startswith("/"):
            assert _leaves(text)
        return
    assert not {b"", b".", b".."} & set(parts)
    assert not any(b"/" in part for part in parts)
    absolute = posixpath.normpath(posixpath.join("/workspace", text))
    expected = {posixpath.normpath(posixpath.join(to_text(root), join(parts))) for root in ROOTS}
    assert "/" + absolute.lstrip("/") in expected


@given(st.text(max_size=40) | st.binary(max_size=40).map(to_text))
def test_no_text_at_all_yields_a_component_that_could_leave(text):
    try:
        parts = confine(text, ROOTS)
    except OperationError:
        return
    for part in parts:
        assert part not in {b"", b".", b".."}
        assert b"/" not in part
        assert b"\0" not in part
    assert confine(join(parts), ROOTS) == parts


def test_an_absolute_link_target_is_inside_only_behind_a_whole_component():
    assert below_root(b"/workspace/a/../b", ROOTS) == b"a/../b"
    assert below_root(b"/workspace", ROOTS) == b""
    assert below_root(b"/workspace2/a", ROOTS) is None
    assert below_root(b"/etc", ROOTS) is None


def _leaves(text: str) -> bool:
    depth = 0
    for name in text.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(name, 1)
        if depth < 0:
            return True
    return False
