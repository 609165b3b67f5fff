"""Files that user code plants against the runtime: the session's other functions go on without them."""

import pytest

from sandbox_client import Sandbox

PLANT = """
import os, pathlib
code = "raise SystemExit('planted')\\n"
names = ["json", "asyncio", "struct", "socket", "selectors", "sandbox_link", "sandbox_runtime", "sitecustomize"]
names += ["usercustomize", "encodings", "signal", "tempfile"]
for folder in (pathlib.Path.cwd(), pathlib.Path.home()):
    for name in names:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text(code)
    (folder / "planted.pth").write_text("import os; os._exit(1)\\n")
for name in ("PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "PYTHONHOME", "BASH_ENV", "NODE_OPTIONS"):
    os.environ[name] = str(pathlib.Path.cwd() / "json")
"""
"""A cell that plants modules and startup files in the workspace and at home, and sets variables that load code."""


@pytest.fixture
def planted(tmp_path):
    with Sandbox.local(tmp_path / "workspace") as sandbox:
        assert sandbox.run_code(PLANT).error is None
        yield sandbox


def test_the_session_goes_on_without_what_was_planted(planted):
    for language, code in (("python", "print(1)"), ("javascript", "console.log(1)")):
        context = planted.contexts.create(language).id
        assert planted.run_code(code, context=context).stdout == "1\n"
        planted.contexts.restart(context)
        assert planted.run_code(code, context=context).stdout == "1\n"
    assert planted.run("echo 1").stdout == "1\n"
    planted.files.write("a", "needle")
    assert planted.files.read("a") == b"needle"
    assert [match.path for match in planted.files.grep("needle").matches] == ["a"]
    process = planted.processes.start("echo 2")
    assert process.wait().exit_code == 0
