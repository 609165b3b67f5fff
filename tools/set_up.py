"""Creates .venv and installs pinned packages into it, with uv if it is there, and shows the progress.

Usage: set_up.py local|dev (what a local session needs, or everything). Standard library only, because nothing is
installed yet. Packages are not compiled to bytecode here: Python does that for the few modules that are imported.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / "bin/python"
_COLLECTING: Final = re.compile(r"^(?:Collecting|Requirement already satisfied:) ([\w.-]+)")
_LOG_LINES: Final = 30


def show_progress(lines: Iterable[str], total: int, out: TextIO) -> list[str]:
    """Show which package pip is at, and return the last lines of its log.

    Args:
        lines: What pip prints.
        total: The number of packages.
        out: Where to write. A terminal gets one line that changes, anything else a line for each tenth package.
    """
    last: deque[str] = deque(maxlen=_LOG_LINES)
    seen = 0
    for line in lines:
        last.append(line.rstrip())
        match = _COLLECTING.match(line)
        if match:
            seen += 1
        text = f"  {min(seen, total)} of {total}: {match[1] if match else ''}"
        if line.startswith("Installing collected packages"):
            text = f"  unpacking {total} packages"
        elif not match:
            continue
        if out.isatty():
            out.write(f"\r{text[:70]:<70}")
        elif not match or seen % 10 == 0:
            out.write(f"{text}\n")
        out.flush()
    if out.isatty():
        out.write("\r" + " " * 70 + "\r")
    return list(last)


def create(uv: str | None) -> None:
    """Create the environment, unless it exists."""
    if PYTHON.exists():
        return
    command = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    subprocess.run([*command, VENV], check=True)


def install(uv: str | None, requirements: Path) -> None:
    """Install the pins of a file, and this project as a link to its sources.

    Raises:
        SystemExit: The installer failed; its log has been printed.
    """
    pins = ["--no-deps", "--require-hashes", "-r", str(requirements)]
    if uv:
        # uv shows its own progress.
        _run([uv, "pip", "install", "--python", str(PYTHON), *pins])
        _run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--no-deps", "--editable", str(ROOT)])
        return
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
    total = len(re.findall(r"^[\w.-]+==", requirements.read_text(), re.MULTILINE))
    with subprocess.Popen([*pip, *pins], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        log = show_progress(started.stdout or (), total, sys.stdout)
    if started.returncode:
        sys.exit("\n".join(log))
    # setuptools warns of packages in the working directory, which is the point of an editable installation.
    _run(["env", "PYTHONWARNINGS=ignore", *pip, "--quiet", "--no-deps", "--editable", str(ROOT)])


def _run(command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


def main() -> None:
    """Install what the argument says."""
    if sys.platform != "linux":
        sys.exit(f"This needs Linux or WSL 2, and this is {sys.platform}. docs/laptop.md has a command for a Mac.")
    uv = shutil.which("uv")
    create(uv)
    requirements = ROOT / "constraints.txt"
    if sys.argv[1] == "local":
        pinned = [sys.executable, ROOT / "deploy/images/pinned.py", requirements, ROOT / "pyproject.toml"]
        requirements = VENV / "local.txt"
        requirements.write_bytes(subprocess.check_output([*pinned, "base,agent,local"]))
    install(uv, requirements)


if __name__ == "__main__":
    main()
