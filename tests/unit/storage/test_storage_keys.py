from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_agent.storage.repository.keys import Keys, NameRefusedError, check_path, is_confined, printable

TEXT = st.text(st.characters(codec=None), max_size=60)


@given(TEXT)
def test_a_path_comes_back_byte_exact_or_is_refused_with_a_reason(path):
    keys = Keys("p/t1/w/")
    try:
        key = keys.of_file(path)
    except NameRefusedError as error:
        assert str(error)  # noqa: PT017 - either outcome is right
        return
    assert key.encode().startswith(b"p/t1/w/code-interpreter/")
    assert keys.path_of(key) == path
    assert is_confined(path)


@given(TEXT, TEXT)
def test_two_paths_never_share_a_key(one, other):
    keys = Keys("p/")
    try:
        same = keys.of_file(one) == keys.of_file(other)
    except NameRefusedError:
        return
    assert same is (one == other)


@given(TEXT)
def test_what_is_printed_is_valid_and_has_no_control_characters(text):
    printed = printable(text)
    printed.encode()
    assert all(character.isprintable() or ord(character) > 0x9F for character in printed)


def test_composed_and_decomposed_forms_stay_two_names():
    keys = Keys("p/")
    assert keys.of_file("caf\u00e9") != keys.of_file("cafe\u0301")
    assert keys.path_of(keys.of_file("cafe\u0301")) == "cafe\u0301"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "plain relative"),
        ("a/../b", "plain relative"),
        ("./a", "plain relative"),
        ("a//b", "plain relative"),
        ("a/", "plain relative"),
        ("a\0b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x7fb", "U+007F"),
        ("a\x9bb", "U+009B"),
        ("a\uffff", "U+FFFF"),
        ("a\udcffb", "not valid UTF-8"),
        ("a" * 256, "longer than 255"),
        ("é" * 128, "longer than 255"),
    ],
)
def test_a_name_that_cannot_be_stored_is_refused(path, reason):
    with pytest.raises(NameRefusedError, match=reason.replace("+", r"\+")):
        check_path(path)


def test_a_key_over_the_limit_of_s3_is_refused():
    keys = Keys("p" * 100 + "/")
    with pytest.raises(NameRefusedError, match="too long"):
        keys.of_file("/".join(["d" * 200] * 5))


@pytest.mark.parametrize("prefix", ["t1", "/t1/", "a/../t1/", "a//b/", "a\n/"])
def test_a_prefix_that_could_be_another_one_is_refused(prefix):
    with pytest.raises(NameRefusedError):
        Keys(prefix)


def test_a_key_of_another_workspace_is_no_path_of_this_one():
    with pytest.raises(NameRefusedError):
        Keys("p/t1/").path_of("p/t10/code-interpreter/x")
