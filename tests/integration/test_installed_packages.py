"""Cells and shell of a local session see the same packages, whichever Python started it."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

TOUR = r"""
import json, sys
from sandbox_client import Sandbox

wheels, editable = sys.argv[1:]
LIST = "import importlib.metadata as m, json; print(json.dumps(sorted({str(d.name) for d in m.distributions()})))"
PIP = f"pip install --quiet --no-index --find-links {wheels} "
seen = {}
with Sandbox.local() as sandbox:
    sandbox.run_code("import json")  # the context runs before anything is installed
    seen["listed"] = [json.loads(sandbox.run(["python", "-c", LIST]).stdout), json.loads(sandbox.run_code(LIST).stdout)]
    seen["installs"] = []
    for install in (
        lambda: sandbox.run(PIP + "tiny_one"),
        lambda: sandbox.run_code("%" + PIP + "tiny_two"),
        lambda: sandbox.run_code("!" + PIP + "tiny_three"),
        lambda: sandbox.run(f"{PIP} --no-build-isolation --editable {editable}"),
    ):
        done = install()
        seen["installs"].append([done.ok, done.stdout + done.stderr])
    code = "import tiny_one as a, tiny_two as b, tiny_three as c, tiny_editable as d"
    code += "\nprint(a.NAME, b.NAME, c.NAME, d.NAME)"
    for done in (sandbox.run_code(code), sandbox.run(["python3", "-c", code]), sandbox.run(["python", "-c", code])):
        seen.setdefault("imports", []).append([done.stdout, str(getattr(done, "error", "")), done.stderr])
    command = sandbox.run("command -v python pip; pip --version")
    seen["found"] = [command.stdout, command.stderr]
    seen["home"] = sandbox.run("echo $HOME").stdout.strip()
print(json.dumps(seen))
"""


def make_wheel(folder: Path, name: str) -> None:
    record = [f"{name}.py,,", *(f"{name}-1.dist-info/{each},," for each in ("METADATA", "WHEEL", "RECORD"))]
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"NAME = {name!r}\n")
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.dist-info/RECORD", "\n".join(record))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("tiny_one", "tiny_two", "tiny_three"):
        make_wheel(folder, name)
    return folder


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """A project that `pip install --editable` can take without the network: its backend is in the project."""
    folder = tmp_path_factory.mktemp("editable")
    (folder / "src").mkdir()
    (folder / "src" / "tiny_editable.py").write_text("NAME = 'tiny_editable'\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny-editable"\nversion = "1"\n'
    )
    (folder / "backend.py").write_text(
        f"""
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny_editable-1-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        wheel.writestr("tiny_editable.pth", {str(folder / "src")!r} + "\\n")
        metadata = ["Metadata-Version: 2.1", "Name: tiny-editable", "Version: 1", ""]
        wheel.writestr("tiny_editable-1.dist-info/METADATA", "\\n".join(metadata))
        facts = ["Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any", ""]
        wheel.writestr("tiny_editable-1.dist-info/WHEEL", "\\n".join(facts))
        files = ("tiny_editable.pth", "tiny_editable-1.dist-info/METADATA", "tiny_editable-1.dist-info/WHEEL")
        wheel.writestr("tiny_editable-1.dist-info/RECORD", "\\n".join(f"{{file}},," for file in files))
    return name
def build_wheel(*args, **kwargs): raise SystemExit("only editable")
"""
    )
    return folder


def site_packages() -> Path:
    return Path(pytest.__file__).resolve().parents[1]


def own_venv(_folder: Path) -> tuple[str, dict[str, str]]:
    return sys.executable, {}


def venv_without_pip(folder: Path) -> tuple[str, dict[str, str]]:
    """As `uv venv` makes it: no pip. The other packages are those of this test's own environment."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    target = next((folder / "venv" / "lib").glob("python3*/site-packages"))
    for entry in site_packages().iterdir():
        if entry.name != "pip" and not entry.name.startswith("pip-"):
            (target / entry.name).symlink_to(entry)
    return str(folder / "venv" / "bin" / "python"), {}


def user_installed(folder: Path) -> tuple[str, dict[str, str]]:
    """As `pip install --user` with the system's Python leaves it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = folder / ".local" / "lib" / version
    library.mkdir(parents=True)
    (library / "site-packages").symlink_to(site_packages())
    return sys._base_executable, {"HOME": str(folder)}


def on_python_path(folder: Path) -> tuple[str, dict[str, str]]:
    """A venv that finds everything through PYTHONPATH."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    root = Path(__file__).parents[2]
    entries = (root, root / "operator", root / "proto", site_packages())
    return str(folder / "venv" / "bin" / "python"), {"PYTHONPATH": os.pathsep.join(map(str, entries))}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("make", [own_venv, venv_without_pip, user_installed, on_python_path])
def test_what_one_installs_the_other_imports(make, wheels, editable, tmp_path):
    python, environment = make(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("python", "python3", "pip"):
        (other / name).write_text("#!/bin/sh\necho the wrong one >&2; exit 1\n")
        (other / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    kept |= {"PATH": f"{other}{os.pathsep}{os.environ['PATH']}", "SANDBOX_ZYGOTE_PRELOAD": "json"}
    done = subprocess.run(
        [python, "-c", TOUR, wheels, editable],
        env=kept | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    shell, cell = seen["listed"]
    assert shell == cell
    assert "pandas" in cell
    assert [ok for ok, _ in seen["installs"]] == [True] * 4, seen["installs"]
    assert [text for text, *_ in seen["imports"]] == ["tiny_one tiny_two tiny_three tiny_editable\n"] * 3, seen[
        "imports"
    ]
    assert seen["found"][0].startswith(f"{seen['home']}/venv/bin/python\n{seen['home']}/venv/bin/pip\npip ")
