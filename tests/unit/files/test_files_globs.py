from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runtime.files.globs import MAX_PATTERN, Globs, match_component, tokenize


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("node_modules", "node_modules", True),
        ("node_modules", "a/node_modules/b/c.js", True),
        ("node_modules", "node_modules2", False),
        ("*.pyc", "a/b/c.pyc", True),
        ("*.pyc", "c.pyc.txt", False),
        ("*.pyc", "x.pyc/inside", True),
        ("build/", "a/build/x", True),
        ("a/b", "a/b/c", True),
        ("a/b", "x/a/b", False),
        ("a/*.txt", "a/b.txt", True),
        ("a/*.txt", "a/b/c.txt", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/x/y/c", True),
        ("**/c", "c", True),
        ("**/c/d", "x/y/c/d", True),
        ("**/c/d", "x/c/y/d", False),
        ("a/**", "a/x", True),
        ("a/**", "b/x", False),
        ("**", "anything/at/all", True),
        ("a**b", "axxb", True),
        ("?.txt", "a.txt", True),
        ("?.txt", ".txt", False),
        ("[a-c].txt", "b.txt", True),
        ("[!a-c].txt", "b.txt", False),
        ("[^a-c].txt", "d.txt", True),
        ("[]].txt", "].txt", True),
        ("[a-].txt", "-.txt", True),
        ("[ab", "[ab", True),
        (r"\*", "*", True),
        (r"\*", "x", False),
        ("x\\", "x\\", True),
        ("*", ".hidden", True),
        ("*\n*", "a\nb", True),
        ("\udcff*", "\udcffx", True),
    ],
)
def test_a_pattern_matches(pattern, path, expected):
    assert Globs([pattern]).matches(path) is expected


def test_no_pattern_matches_nothing_and_is_false():
    assert not Globs([])
    assert Globs(["a"])
    assert not Globs([]).matches("a")


def test_matching_itself_leaves_the_folders_above_alone():
    assert not Globs(["a"]).matches_itself("a/b")
    assert Globs(["b"]).matches_itself("a/b")


@pytest.mark.parametrize("pattern", ["", "/", "./", "x" * (MAX_PATTERN + 1)])
def test_a_pattern_that_says_nothing_is_refused(pattern):
    with pytest.raises(ValueError, match="pattern"):
        Globs([pattern])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("pattern", "path"),
    [("*a" * 2000 + "b", "a" * 4000), ("**/a/" * 400 + "b", "a/" * 2000 + "a"), ("a/" * 30 + "*" * 4000, "a/" * 60)],
)
def test_a_pattern_bomb_ends_soon(pattern, path):
    assert Globs([pattern]).matches_itself(path) in {True, False}


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_one_component_is_matched_as_fnmatch_does(pattern, name):
    assert match_component(tokenize(pattern), name) == fnmatch.fnmatchcase(name, pattern)


@given(
    st.lists(st.sampled_from(["**", "*", "a", "b", "?b", "a*"]), min_size=2, max_size=6),
    st.lists(st.sampled_from(["a", "b", "ab", "bb"]), min_size=1, max_size=6),
)
def test_many_components_are_matched_as_the_regular_expression_does(pattern, names):
    source = "".join("(?:[^/]+/)*" if item == "**" else _one(item) + "/" for item in pattern)
    expected = re.fullmatch(source, "/".join(names) + "/") is not None
    assert Globs(["/".join(pattern)]).matches_itself("/".join(names)) is expected


@given(st.text(max_size=30), st.text(min_size=1, max_size=30))
def test_any_text_is_a_pattern_or_a_value_error(pattern, path):
    try:
        globs = Globs([pattern])
    except ValueError:
        return
    globs.matches(path)


def _one(item: str) -> str:
    return item.replace("*", "[^/]*").replace("?", "[^/]")
