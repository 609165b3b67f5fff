"""A full disk, a full inode table, and limits that user code lowers: clear errors, nothing is lost, and it goes on."""

import os
import shutil
import subprocess
import tempfile

import pytest

from sandbox_client import ResourceExhausted, Sandbox

SIZES = {"space": "size=32m", "inodes": "size=200m,nr_inodes=2500"}
FILL = {
    "space": """
try:
    with open("fill", "wb", buffering=0) as file:
        while True: file.write(bytes(65536))
except OSError as error: print(error.strerror)
try:
    with open("fill2", "wb", buffering=0) as file:
        while True: file.write(b"x")
except OSError as error: print(error.strerror)
""",
    "inodes": """
import os
os.mkdir("fill")
try:
    for number in range(9999): open(f"fill/{number}", "w").close()
except OSError as error: print(error.strerror)
""",
}
USED = "int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()"
DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


@pytest.fixture(params=SIZES)
def full(request, tmp_path, monkeypatch):
    """A session whose workspace, home, /tmp and own folder are on a disk that is full, and what filled it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", SIZES[request.param], "tmpfs", str(disk)]
    if (
        os.geteuid()
        or not shutil.which("mount")
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("a small disk needs root")
    try:
        (disk / "tmp").mkdir()
        monkeypatch.setenv("TMPDIR", str(disk / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", str(disk / "tmp"))
        with Sandbox.local(disk / "workspace") as sandbox:
            assert sandbox.run_code(f"kept = 41\n{DRAW}").error is None
            assert "No space left on device" in sandbox.run_code(FILL[request.param]).stdout
            yield sandbox
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_session_on_a_full_disk_says_so_and_goes_on(full, tmp_path):
    execution = full.run_code("print('x' * 100_000)\nprint(kept + 1)\nkept")
    assert (execution.stdout, execution.text) == ("x" * 100_000 + "\n42\n", "41")
    drawn = full.run_code(DRAW)
    assert (drawn.error, len(drawn.results), drawn.stderr) == (None, 1, "")
    written = full.run_code("with open('new', 'w') as file: file.write('x' * 100_000)")
    assert (written.error.name, "No space left on device" in written.error.value) == ("OSError", True)
    assert (written.limit, written.context_restarted) == ("disk", False)
    with pytest.raises(ResourceExhausted, match="the disk is full at 'a': remove files"):
        full.files.write("a", "x" * 100_000)
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a").write_text("x" * 100_000)
    with pytest.raises(ResourceExhausted, match="the disk is full"):
        full.files.upload_tree(tmp_path / "up", "up")
    assert full.run("echo command").stdout == "command\n"
    assert full.run_code("console.log(1)", "javascript").stdout == "1\n"
    other = full.contexts.create("python").id
    assert full.run_code("print(2)", context=other).stdout == "2\n"
    assert full.run("rm -r fill*").ok
    execution = full.run_code(f"with open('new', 'w') as file: file.write(str(kept))\n{DRAW}")
    assert (execution.error, len(execution.results)) == (None, 1)
    assert full.files.read("new") == b"41"
    assert full.files.write("a", "b").size == 1


@pytest.mark.parametrize(
    ("limit", "value", "code", "error"),
    [
        ("NOFILE", "0", "open('/dev/null')", ("OSError", "open_files")),
        ("NOFILE", "5", "[open('/dev/null') for _ in range(9)]", ("OSError", "open_files")),
        ("NOFILE", "5", "import subprocess; subprocess.run(['true'], capture_output=True)", ("OSError", "open_files")),
        ("FSIZE", "10", "with open('f', 'w') as file: file.write('x' * 100)", ("OSError", "file_bytes")),
        ("FSIZE", "0", "with open('f', 'w') as file: file.write('x' * 100)", ("OSError", "file_bytes")),
        ("AS", f"{USED} + (64 << 20)", "bytes(1 << 28)", ("MemoryError", "memory")),
        ("DATA", f"{USED} + (64 << 20)", "bytes(1 << 28)", ("MemoryError", "memory")),
        ("STACK", "1 << 16", "def f(n): return f(n + 1)\nf(0)", ("RecursionError", None)),
    ],
)
def test_a_limit_that_code_lowers_is_named_and_the_context_goes_on(sandbox, limit, value, code, error):
    context = sandbox.contexts.create("python").id

    def run(code):
        return sandbox.run_code(code, context=context, timeout=60)

    lower = f"resource.setrlimit(resource.RLIMIT_{limit}, ({value}, before[1]))"
    # IPython's own files are there from then on.
    assert run(f"import resource, sys\nkept = [41]\nbefore = resource.getrlimit(resource.RLIMIT_{limit})\nkept").ok
    assert run(f"{lower}\nprint('lowered')").stdout == "lowered\n"
    failed = run(code)
    assert (failed.error.name, failed.limit or None) == error
    execution = run("print('x' * 1000)\nprint('error', file=sys.stderr)\nkept[0] + 1")
    assert (execution.stdout, execution.stderr, execution.text) == ("x" * 1000 + "\n", "error\n", "42")
    assert not execution.context_restarted
    assert run(f"resource.setrlimit(resource.RLIMIT_{limit}, before)\nkept").text == "[41]"
    sandbox.contexts.delete(context)


def test_an_interpreter_that_dies_of_a_limit_is_reported(sandbox):
    context = sandbox.contexts.create("python").id
    sandbox.run_code("import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 20, -1))", context=context)
    for _ in range(3):
        execution = sandbox.run_code("data = bytearray(1 << 28)\nprint(len(data))", context=context, timeout=60)
        if execution.ok:
            break
        # Not even the traceback may fit.
        assert execution.error is not None or execution.status.value == "killed"
    else:
        pytest.fail("the context did not start again")
    sandbox.contexts.delete(context)
