"""Which interpreter a file gets: by its suffix, its first line, or the language that was named."""

import pytest

from sandbox_client.cli.run.file_kind import CannotRunError, FileKind, Kind, file_kind
from sandbox_client.cli.run.notebook import read_notebook

PYTHON, NOTEBOOK = FileKind(Kind.PYTHON), FileKind(Kind.NOTEBOOK)
TYPESCRIPT = ("sandbox-node",)


def command(*words):
    return FileKind(Kind.COMMAND, words)


@pytest.mark.parametrize(
    ("path", "head", "expected"),
    [
        ("a.py", b"", PYTHON),
        ("A.PY", b"\xef\xbb\xbfprint(1)", PYTHON),
        ("gui.pyw", b"", PYTHON),
        ("a.ipynb", b"{}", NOTEBOOK),
        ("a.js", b"#!/usr/bin/env node\n", command("node")),
        ("a.mjs", b"", command("node")),
        ("a.cjs", b"", command("node")),
        ("a.ts", b"", command(*TYPESCRIPT)),
        ("a.mts", b"", command(*TYPESCRIPT)),
        ("a.cts", b"", command(*TYPESCRIPT)),
        ("a.tsx", b"", command(*TYPESCRIPT)),
        ("a.jsx", b"", command(*TYPESCRIPT)),
        ("a.sh", b"echo", command("bash")),
        ("a.sh", b"#!/bin/sh -e\necho", command("/bin/sh", "-e")),
        ("a.txt", b"#!/usr/bin/env python3\n", PYTHON),
        ("tool", b"#! /usr/bin/python3\n", PYTHON),
        ("tool", b"#!/usr/bin/env -S python3 -u\n", command("/usr/bin/env", "-S python3 -u")),
        ("tool", b"#!/usr/bin/env perl\r\n", command("/usr/bin/env", "perl")),
        ("script", b"print(1)\n", PYTHON),
        ("script", b"", PYTHON),
    ],
)
def test_suffix_and_first_line_choose_the_interpreter(path, head, expected):
    assert file_kind(path, head) == expected


def test_a_language_that_is_named_wins():
    assert file_kind("a.txt", b"#!/bin/sh\n", "python") == PYTHON
    assert file_kind("a.py", b"", "javascript") == command("node")
    assert file_kind("a", b"", "typescript") == command(*TYPESCRIPT)


@pytest.mark.parametrize(
    ("path", "head", "parts"),
    [
        ("/bin/ls", b"\x7fELF\x02\x01\x01\x00", ["/bin/ls", "binary", "sandbox exec"]),
        ("a.pyc", b"\xa7\r\r\n\x00\x00", ["a.pyc", "binary"]),
        ("a.py", b"\xff\xfep\x00", ["a.py", "UTF-16", "UTF-8"]),
        ("d.csv", b"a,b\n", ["d.csv", ".csv", "--language"]),
    ],
)
def test_a_file_that_is_no_program_is_refused_by_name_with_advice(path, head, parts):
    with pytest.raises(CannotRunError) as caught:
        file_kind(path, head)
    assert all(part in str(caught.value) for part in parts)


def test_a_notebook_gives_its_code_cells_and_its_language():
    content = (
        b'{"nbformat": 4, "metadata": {"kernelspec": {"language": "python"}}, "cells": ['
        b'{"cell_type": "markdown", "source": "# title"}, {"cell_type": "code", "source": ["a = 1\\n", "a"]},'
        b'{"cell_type": "code", "source": "  "}]}'
    )
    notebook = read_notebook("n.ipynb", content)
    assert (notebook.language, notebook.cells) == ("python", ("a = 1\na",))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"no json", "not a notebook"),
        (b"[]", "not a notebook"),
        (b'{"worksheets": []}', "format 4"),
        (b'{"cells": [{"cell_type": "code"}]}', "not a notebook"),
        (b'{"cells": [], "metadata": {"kernelspec": {"language": "R"}}}', "notebook in R"),
        (b'{"cells": [], "metadata": 5}', "not a notebook"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused_by_name(content, part):
    with pytest.raises(CannotRunError, match=part) as caught:
        read_notebook("n.ipynb", content)
    assert "n.ipynb" in str(caught.value)
