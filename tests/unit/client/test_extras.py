"""Advice for a missing extra, and commands that explain themselves without their extra."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_client.errors import SessionFailed
from sandbox_client.local.session import start_local
from sandbox_client.options import LOCAL_DEFAULTS
from sandbox_proto import extras

ROOT = Path(__file__).parents[3]
INDEX = {}
WHEEL = {"url": "file:///tmp/a%20b/sandbox_operator-0.1.0-py3-none-any.whl", "archive_info": {}}
FOLDER = {"url": "file:///src/project", "dir_info": {}}
GIT = {"url": "https://git.example/p.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
DOWNLOAD = {"url": "https://files.example/p.whl", "archive_info": {}}


@pytest.mark.parametrize(
    ("origin", "checkout", "expected"),
    [
        (INDEX, None, "'sandbox-operator[mcp]'"),
        (WHEEL, None, "'/tmp/a b/sandbox_operator-0.1.0-py3-none-any.whl[mcp]'"),
        (FOLDER, None, "'/src/project[mcp]'"),
        (GIT, None, "'sandbox-operator[mcp] @ git+https://git.example/p.git@abc'"),
        (DOWNLOAD, None, "'sandbox-operator[mcp] @ https://files.example/p.whl'"),
        (FOLDER, Path("/src/project"), "-e '/src/project[mcp]'"),
    ],
)
def test_only_a_copy_from_an_index_is_installed_by_name(origin, checkout, expected):
    assert extras.requirement("mcp", origin, checkout) == expected


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A copy in site-packages, as pip leaves it there."""
    package = tmp_path / "site-packages/sandbox_proto"
    metadata = tmp_path / "site-packages/sandbox_operator-0.1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sandbox-operator\nVersion: 0.1.0\n")
    monkeypatch.setattr(extras, "__file__", str(package / "extras.py"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return metadata


def test_the_command_installs_into_the_environment_that_runs(installed, monkeypatch):
    (installed / "direct_url.json").write_text('{"url": "file:///w/p.whl", "archive_info": {}}')
    monkeypatch.setattr(sys, "executable", "/opt/my venv/bin/python")
    assert extras.install_command("local") == "'/opt/my venv/bin/python' -m pip install '/w/p.whl[local]'"
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert extras.install_command("local") == "pip install '/w/p.whl[local]'"


def test_an_environment_without_pip_is_one_of_uv(installed, monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", "/v/bin/python")
    assert extras.install_command("mcp") == "uv pip install --python /v/bin/python 'sandbox-operator[mcp]'"


def test_a_checkout_with_its_own_environment_has_make(monkeypatch, tmp_path):
    root = tmp_path / "a copy"
    (root / ".venv").mkdir(parents=True)
    (root / "proto/sandbox_proto").mkdir(parents=True)
    for name in ("pyproject.toml", "Makefile", ".venv/.installed-local"):
        (root / name).touch()
    monkeypatch.setattr(extras, "__file__", str(root / "proto/sandbox_proto/extras.py"))
    monkeypatch.setattr(sys, "prefix", str(root / ".venv"))
    assert extras.install_command("mcp") == f"make -C '{root}' setup"
    monkeypatch.chdir(root)
    assert extras.install_command("mcp") == "make setup"
    monkeypatch.setattr(sys, "prefix", "/another")
    assert extras.install_command("mcp").endswith(f"pip install -e '{root}[mcp]'")


def test_no_message_advises_a_name_that_may_not_be_published():
    packages = (
        "sandbox_agent",
        "sandbox_client",
        "sandbox_runtime",
        "operator/sandbox_operator",
        "proto/sandbox_proto",
    )
    advising = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if "sandbox-operator[" in path.read_text()
    }
    assert advising == set()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
async def test_a_local_session_elsewhere_than_on_linux_says_so(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SessionFailed, match=f"needs Linux, and this is {platform}: on Windows use WSL 2") as caught:
        await start_local(None, None, LOCAL_DEFAULTS)
    assert caught.value.reason == "UNSUPPORTED_PLATFORM"


def run_bare(*arguments, home):
    """Run a module without any installed package, in folders that it may not touch."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT}/operator:{ROOT}/proto",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{f"SANDBOX_{name}": str(home / name) for name in ("LINK_DIR", "WORKSPACE", "HOME")},
    }
    return subprocess.run(
        [sys.executable, "-S", "-m", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("module", ["sandbox_runtime", "sandbox_agent", "sandbox_operator"])
def test_help_needs_no_extra_and_touches_nothing(module, tmp_path):
    shown = run_bare(module, "--help", home=tmp_path)
    assert (shown.returncode, shown.stderr, list(tmp_path.iterdir())) == (0, "", [])
    assert shown.stdout.startswith(f"usage: {module.replace('_', '-')} ")
    assert "SANDBOX_" in shown.stdout
    refused = run_bare(module, "--nonsense", home=tmp_path)
    assert (refused.returncode, refused.stdout, list(tmp_path.iterdir())) == (2, "", [])


@pytest.mark.parametrize(
    ("module", "command", "extra"), [("sandbox_agent", "serve", "agent"), ("sandbox_operator", "run", "operator")]
)
def test_a_start_without_the_extra_says_what_to_install(module, command, extra, tmp_path):
    ended = run_bare(module, command, home=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "is not installed. Run: " in ended.stderr
    assert f"[{extra}]'" in ended.stderr or ended.stderr.endswith("setup\n")
