"""Runs examples/agents with the real frameworks and scripted models, and the MCP server with version 1 of `mcp`.

    python tools/check_agents.py [NAME ...]

Each framework is installed into an environment of its own below .agents-venv/, because they need different versions of
`mcp`. Downloads about 200 MB at the first run. Run it with the Python of this checkout's environment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / ".agents-venv"
REQUIREMENTS: Final = {
    "langchain": ["langchain", "langchain-mcp-adapters"],
    "openai": ["openai-agents"],
    "pydantic": ["pydantic-ai-slim[mcp]"],
    "strands": ["strands-agents"],
    "blocks": ["anthropic", "openai", "langchain-core", "mcp"],
    "agentcore": ["bedrock-agentcore", "strands-agents", "strands-agents-tools"],
    "mcp1": ["mcp>=1.30,<2", "uvicorn"],
}
SECONDS: Final = 300


def prepare(name: str) -> Path:
    """Create the environment of a framework if it does not exist. Return its Python."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if (folder / ".complete").exists():
        return python
    print(f"{name}: installing {' '.join(REQUIREMENTS[name])}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        run(uv, "pip", "install", "--quiet", "--python", str(python), *REQUIREMENTS[name])
    else:
        run(sys.executable, "-m", "venv", str(folder))
        run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS[name])
    if name in {"mcp1", "blocks"}:
        # After its own packages come the checkout and what it needs.
        packages = [str(ROOT), str(ROOT / "operator"), str(ROOT / "proto"), sysconfig.get_path("purelib")]
        (next(folder.glob("lib/python*/site-packages")) / "zz_checkout.pth").write_text("\n".join(packages))
    (folder / ".complete").touch()
    return python


def check(name: str) -> None:
    """Run the check of a framework."""
    python = prepare(name)
    started = time.monotonic()
    checks = ROOT / "tests" / "agents"
    command = [str(python), str(checks / f"{name}_check.py")]
    if name == "mcp1":
        command = [sys.executable, str(checks / "raw_client.py"), str(python), "-m", "sandbox_client", "mcp"]
    # The `sandbox` command is that of this checkout.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run(*command, env={**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT / 'examples' / 'agents'}{os.pathsep}{checks}"})
    print(f"{name}: passed in {time.monotonic() - started:.0f} s", flush=True)


def run(*command: str, env: dict[str, str] | None = None) -> None:
    """Run a command, and end this program if it fails."""
    if subprocess.run(command, env=env, check=False, timeout=SECONDS, cwd=ROOT).returncode:
        sys.exit(f"failed: {' '.join(command)}")


def main() -> None:
    """Run the chosen checks, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(REQUIREMENTS))
    names = parser.parse_args().names or list(REQUIREMENTS)
    if unknown := set(names) - set(REQUIREMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the names are {', '.join(REQUIREMENTS)}")
    for name in names:
        check(name)


if __name__ == "__main__":
    main()
