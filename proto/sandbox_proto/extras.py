"""The command that installs a missing extra, for the way in which this copy of the project was installed.

A copy is a checkout, a file (a wheel), a URL, or a release of a package index. Only the last one may be installed by
its name. Standard library only.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_NAME: Final = "sandbox-operator"


def find_checkout() -> Path | None:
    """Return the folder of the checkout that this module is imported from, or None if it was installed."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "Makefile").is_file() else None


def install_command(extra: str) -> str:
    """Return a shell command that installs an extra into the environment of this process.

    Args:
        extra: A name from pyproject.toml's optional dependencies, such as `mcp`.
    """
    checkout = find_checkout()
    if checkout and Path(sys.prefix) == checkout / ".venv" and (checkout / ".venv/.installed-local").exists():
        return "make setup" if Path.cwd() == checkout else f"make -C {shlex.quote(str(checkout))} setup"
    return f"{_installer()} {requirement(extra, _read_origin(), checkout)}"


def requirement(extra: str, origin: dict[str, Any], checkout: Path | None = None) -> str:
    """Return the arguments for an installer, quoted for a shell.

    Args:
        extra: The extra's name.
        origin: The content of direct_url.json (PEP 610); empty if the copy came from an index by name.
        checkout: The folder of the checkout, if the copy is one.
    """
    if checkout:
        return f"-e {shlex.quote(f'{checkout}[{extra}]')}"
    url = str(origin.get("url", ""))
    if not url:
        return shlex.quote(f"{_NAME}[{extra}]")
    if url.startswith("file:"):
        return shlex.quote(f"{unquote(urlsplit(url).path)}[{extra}]")
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return shlex.quote(f"{_NAME}[{extra}] @ {url}")


def _installer() -> str:
    is_active = os.environ.get("VIRTUAL_ENV") == sys.prefix
    if importlib.util.find_spec("pip") is None:
        return "uv pip install" if is_active else f"uv pip install --python {shlex.quote(sys.executable)}"
    return "pip install" if is_active else f"{shlex.quote(sys.executable)} -m pip install"


def _read_origin() -> dict[str, Any]:
    import importlib.metadata  # noqa: PLC0415 - slow to import, and every command imports this module

    folder = str(Path(__file__).resolve().parents[1])
    for copy in importlib.metadata.distributions(name=_NAME, path=[folder]):
        origin: dict[str, Any] = json.loads(copy.read_text("direct_url.json") or "{}")
        return origin
    return {}
