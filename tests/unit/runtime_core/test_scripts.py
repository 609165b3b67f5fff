"""`sandbox-script`: how it runs a Python file, and what it keeps of what the file shows."""

import base64
import json
import os
import subprocess

import pytest

from sandbox_runtime import user_home


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    user_home.prepare_home(home)
    return home


@pytest.fixture
def script(home, tmp_path):
    def run(*words, code=None, stdin="", **variables):
        if code is not None:
            (tmp_path / "file.py").write_text(code)
        return subprocess.run(
            [home / "venv/bin/sandbox-script", *words],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "MPLBACKEND": "Agg", **variables},
            check=False,
        )

    return run


def test_displays_are_printed_or_kept_in_order_and_deleted_when_they_are_read(script, tmp_path):
    code = (
        "class Page:\n    def _repr_html_(self): return '<b>page</b>'\n    def __repr__(self): return '<Page>'\n"
        "class Math:\n    def _repr_latex_(self): return '$x$'\n    def __repr__(self): return '<Math>'\n"
        "class Picture:\n    def _repr_svg_(self): return '<svg/>'\n"
        "display(Picture(), 'text', Math()); display({'image/png': 'cG5n'}, raw=True); display(Page())\n"
    )
    done = script("a1", "file.py", code=code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "'text'\n$x$\npage\n", "")
    lines = [json.loads(line) for line in script("--results", "a1").stdout.splitlines()]
    kept = [(line["suffix"], base64.b64decode(line["data"])) for line in lines]
    assert kept == [("svg", b"<svg/>"), ("png", b"png"), ("html", b"<b>page</b>")]
    assert script("--results", "a1").stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file.py"]


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<h1>A &amp; B</h1><p>one<br>two</p><script>no()</script><style>p {}</style>", "A & B\none\ntwo"),
        ("<table>\n<tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td>2</td></tr></table>", "a  b\n1  2"),
        ("<iframe src='x'></iframe>", "[text/html, 25 bytes]"),
        ("a < b <b>c", "a < b c"),
    ],
)
def test_a_page_is_printed_as_its_text_and_kept(script, page, text):
    code = (
        f"class Page:\n    def _repr_html_(self): return {page!r}\n    def __repr__(self): return '<Page>'\n"
        "print(1); display(Page()); print(2)"
    )
    assert script("b1", "file.py", code=code).stdout == f"1\n{text}\n2\n"
    assert script("--discard", "b1").stdout == '{"suffix": "html"}\n'


def test_names_alone_are_printed_if_the_contents_are_not_wanted(script):
    script("a2", "file.py", code="display({'image/png': 'cG5n'}, raw=True)")
    assert script("--discard", "a2").stdout == '{"suffix": "png"}\n'
    assert script("--results", "a2").stdout == ""


def test_a_result_that_cannot_be_kept_is_reported(script, tmp_path):
    (tmp_path / "blocked").write_text("")
    done = script("a3", "file.py", code="display({'image/png': 'cG5n'}, raw=True)", TMPDIR=str(tmp_path / "blocked"))
    assert done.returncode == 0
    assert done.stderr == "a png result was not kept: Not a directory\n"


def test_a_forked_child_does_not_show_its_parents_figures_again(script):
    code = "import os, matplotlib.pyplot as plt\nplt.plot([1])\nif not os.fork(): raise SystemExit\nos.wait()\n"
    script("a4", "file.py", code=code)
    assert len(script("--discard", "a4").stdout.splitlines()) == 1


def test_figures_that_the_file_has_saved_itself_are_not_shown_at_its_end(script, tmp_path):
    code = (
        "import matplotlib.pyplot as plt\nplt.plot([1]); plt.savefig('own.png')\n"
        "plt.figure(); plt.plot([1]); plt.savefig('shown.png'); plt.show()\n"
    )
    assert script("a5", "file.py", code=code).returncode == 0
    # `show` shows all that are open, as it does without us.
    assert len(script("--discard", "a5").stdout.splitlines()) == 2
    script("a6", "file.py", code="import matplotlib.pyplot as plt\nplt.plot([1]); plt.savefig('own.png')")
    assert script("--discard", "a6").stdout == ""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import os; os._exit(9)", 9),
        ("raise SystemExit", 0),
        ("1/0", 1),
        ("raise KeyboardInterrupt", -2),
        ("exit(-1)", 255),
    ],
)
def test_the_exit_status_is_the_interpreters(script, code, status):
    assert script("a7", "file.py", code=code).returncode == status


def test_a_file_that_is_not_there_is_reported_as_python_does(script):
    done = script("a8", "missing.py")
    assert done.returncode == 2
    assert "can't open file" in done.stderr
    assert "missing.py" in done.stderr


def test_a_file_starts_without_slow_modules_and_with_the_same_path_as_in_python(script, home, tmp_path):
    code = "import sys\nprint(*sys.modules)\nprint(sys.path, sys.argv, sys.flags)"
    done = script("a9", "file.py", "x", code=code)
    plain = subprocess.run(
        [home / "venv/bin/python", "file.py", "x"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    ours, theirs = (set(text.splitlines()[0].split()) for text in (done.stdout, plain.stdout))
    slow = {"argparse", "asyncio", "base64", "IPython", "json", "matplotlib", "pathlib", "shutil", "socket", "tempfile"}
    assert slow & (ours - theirs) == set()
    assert done.stdout.splitlines()[1] == plain.stdout.splitlines()[1]
