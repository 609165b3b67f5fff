"""The checker of English: what it finds, in which line, and what it leaves alone."""

import inspect
import textwrap
from pathlib import Path

import pytest

from tools import check_english
from tools.check_english import MAX_WORDS, Finding, check_comments, check_file, check_markdown, check_python

LONG = " ".join(["word"] * (MAX_WORDS + 1))
JUST = " ".join(["word"] * MAX_WORDS)


def summary(findings) -> list[tuple[int, str]]:
    """Line and the first words of each finding."""
    return [(finding.line, finding.message.split(":")[0]) for finding in findings]


def python(text: str) -> list[tuple[int, str]]:
    return summary(check_python(textwrap.dedent(text).lstrip("\n") + "\n"))


@pytest.mark.parametrize(
    ("prose", "word"),
    [
        ("It has the name thereof.", "thereof"),
        ("It is gone by now.", "by now"),
        ("It has just now begun.", "just now"),
        ("How it was come by is unknown.", "come by"),
        ("It is nobody's.", "nobody's"),
        ("Somebody wrote it.", "Somebody"),
        ("What is left of it is kept.", "of it"),
        ("None where there is none.", "None where"),
        ("The client is told.", "is told"),
        ("It tells of a change.", "tells of"),
        ("A push gives way.", "gives way"),
        ("The leavings of a push.", "leavings"),
        ("Whoever asks waits.", "Whoever"),
        ("It is written anew.", "anew"),
    ],
)
def test_a_banned_word_is_named_with_its_line(prose, word):
    assert (3, f"'{word}'") in summary(check_markdown(f"# Title\n\n{prose}\n"))


@pytest.mark.parametrize(
    "prose",
    [
        "Returns None if there is no session.",
        "The agent reports whether it is ready.",
        "It is renewed in time.",
        "A bodyguard is a fine word.",
        "`is told` and ``thereof`` are code, and so is https://example.com/whoever/anew.",
    ],
)
def test_plain_prose_and_code_in_it_are_left_alone(prose):
    assert summary(check_markdown(prose)) == []


def test_a_sentence_may_have_so_many_words_and_no_more():
    assert summary(check_markdown(f"{JUST}. {JUST}.")) == []
    assert summary(check_markdown(f"Short.\n{LONG}.")) == [
        (1, f"a sentence of {MAX_WORDS + 1} words, at most {MAX_WORDS}")
    ]


@pytest.mark.parametrize("end", [".", "!", "?", ":", ";", ".**", "\n\n", "\n- ", "\n1. "])
def test_a_sentence_ends_at_a_mark_a_paragraph_and_an_item(end):
    assert summary(check_markdown(f"{JUST}{end} {JUST}")) == []


def test_the_cells_of_a_table_are_sentences_of_their_own():
    table = f"| a | b |\n|---|---|\n| {JUST} | {JUST} |\n| is told | {LONG} |\n"
    assert summary(check_markdown(table)) == [
        (4, "'is told'"),
        (4, f"a sentence of {MAX_WORDS + 1} words, at most {MAX_WORDS}"),
    ]


def test_code_blocks_headings_and_the_targets_of_links_are_skipped():
    text = f"""
    # What is told anew

    Before.

    ```python
    thereof = "{LONG}"
    ```

    - ```sh
      echo anew
      ```

    [a link](thereof-by-now.md) and ![a picture](anew.svg)
    """
    assert summary(check_markdown(inspect.cleandoc(text))) == []
    assert summary(check_markdown("[is told](a.md)")) == [(1, "'is told'")]


@pytest.mark.parametrize(
    "word", ["What", "Whether", "Whoever", "How", "Where", "See", "Which", "Who", "When", "This", "It"]
)
def test_a_docstring_does_not_begin_with_a_riddle(word):
    wrong = (2, f"a docstring begins with '{word.lower()}'")
    assert wrong in python(f'def function():\n    """{word} is done."""')
    assert wrong in python(f'class Class:\n    """{word} is done."""')
    assert (1, wrong[1]) in python(f'"""{word} is done."""')


@pytest.mark.parametrize("docstring", ["Return it.", "A session.", "Whatsoever.", "``what`` it is.", ""])
def test_other_first_words_are_left_alone(docstring):
    assert python(f'def function():\n    """{docstring}"""') == []


def test_the_docstring_of_a_name_is_read_and_its_first_word_is_free():
    assert python('LIMIT = 1\n"""How many there are."""') == []
    assert python('LIMIT = 1\n\n"""Told to whoever asks."""') == [(3, "'whoever'")]


def test_the_sections_of_a_docstring_are_prose_and_its_examples_are_not():
    found = python(f'''
    def function(a, b):
        """Do it.

            example = "{LONG}"

        Args:
            a: {JUST[5:]}
                {JUST}.
            b: Short.

        Raises:
            ValueError: The caller is told.
        """
    ''')
    assert found == [(2, "'is told'"), (2, f"a sentence of {2 * MAX_WORDS - 1} words, at most {MAX_WORDS}")]


def test_comments_on_lines_that_follow_are_one_passage_and_directives_are_none():
    assert python(f"# {JUST}\n# {JUST}\nx = 1\n\n# {JUST}\ny = 2  # noqa: PLC0415 - told to whoever asks anew") == [
        (1, f"a sentence of {2 * MAX_WORDS} words, at most {MAX_WORDS}")
    ]
    assert python("x = 1  # as the client was told") == [(1, "'was told'")]


@pytest.mark.parametrize(
    "code",
    [
        "def tell_client(): pass",
        "class Nursery: pass",
        "def function(patience): pass",
        "REQUEST_PATIENCE = 1",
        "session.told = 1",
        "import x\nfor news in x.y: pass",
    ],
)
def test_a_name_of_a_word_that_is_gone_is_found(code):
    assert [message for _, message in python(code) if " in the name " in message] != []


@pytest.mark.parametrize("code", ["x.summary()", "def storyteller(): pass", "x = y.patience", "newspaper = 1"])
def test_a_name_that_is_only_used_or_only_resembles_is_left_alone(code):
    assert python(code) == []


@pytest.mark.parametrize(
    "code",
    [
        'raise ValueError("the client is told")',
        'raise ValueError(f"{name} is told")',
        'raise ValueError("the client" " is told")',
        'raise OurError(reason="X", message="it is told") from error',
        '_log.warning("it is told", extra={"a": 1})',
        'message = f"it is told {name}"',
        'click.option("--x", help="What is told.")',
    ],
)
def test_messages_logs_and_helps_are_read(code):
    assert python(code) == [(1, "'is told'")]


def test_other_strings_are_not_prose():
    assert python('WORDS = ["is told", "anew"]\nprint("is told")\nraise ValueError("anew")') == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.proto", "// It is told.\nmessage A {}\n"),
        ("a.cjs", "'use strict';\n/**\n * It is told.\n */\n"),
        ("a.yaml", "# It is told.\na: 1\n"),
        ("a.toml", "# It is told.\n"),
        ("Makefile", "# It is told.\n"),
        ("Dockerfile", "# It is told.\n"),
        ("script", "#!/bin/sh\n# It is told.\n"),
        ("a.py", '"""It. The client is told."""\n'),
        ("a.md", "It is told.\n"),
    ],
)
def test_files_are_read_by_their_kind(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert "'is told'" in [message for _, message in summary(check_file(tmp_path / name))]


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b"# It is told."), ("picture", b"\x89PNG\xff"), ("LICENSE", b"")]
)
def test_other_files_have_no_findings(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert check_file(tmp_path / name) == []


def test_code_in_the_middle_of_a_line_of_another_language_is_no_comment():
    assert list(check_comments("a: is told  # anew\n", "#")) == []


def test_tests_and_generated_code_are_not_checked_and_documents_are():
    names = {str(path.relative_to(check_english.ROOT)) for path in check_english.find_files(check_english.ROOT)}
    assert {"README.md", "docs/storage.md", "tools/check_layout.py", "Makefile"} <= names
    assert [name for name in names if name.startswith("tests/") or "_pb2" in name] == []


def test_the_program_fails_and_prints_where(monkeypatch, capsys, tmp_path):
    document = tmp_path / "page.md"
    document.write_text("Fine.\n\nIt is told.\n")
    monkeypatch.setattr(check_english, "ROOT", tmp_path)
    monkeypatch.setattr(check_english, "find_files", lambda *_paths: [document])
    monkeypatch.setattr("sys.argv", ["check_english.py", str(document)])
    assert check_english.main() == 1
    assert capsys.readouterr().out == "page.md:3: 'is told': reported, returned, logged, notified: say which\n"
    document.write_text("Fine.\n")
    assert check_english.main() == 0


def test_a_finding_has_a_line_and_a_message():
    assert list(check_markdown("\nIt is written anew.")) == [Finding(2, "'anew': again")]
    assert Path(check_english.__file__).name == "check_english.py"
