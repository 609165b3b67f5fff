"""Checks that the wheel can be installed: with pip here, and resolved by uv for every Python. `make test-install`.

It builds the wheel as a release does. pip installs each extra, unpinned, into a fresh environment of this Python, and
something that needs the extra then runs. For each Python from 3.11 to the newest stable one, uv resolves each extra. It
also resolves the wheel together with frameworks for agents, whose requirements must overlap with ours.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
LIMIT: Final = 120
"""Seconds of processor time that one installation or resolution may take. An endless one is pure computation."""
DEADLINE: Final = 600
"""Seconds that any command may take on a busy machine."""
OLDEST: Final = (3, 11)
FRAMEWORKS: Final = {
    # The newest release of the last one does not allow mcp 2.
    "mcp": ["strands-agents", "openai-agents", "pydantic-ai-slim", "langchain-mcp-adapters"],
}
"""Packages that an application may have in one environment with the wheel and that extra."""
_NOT_PASSED: Final = frozenset({"KUBECONFIG", "PYTHONPATH", "VIRTUAL_ENV"})
_DRAWING: Final = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(); print(6 * 7)"
_REQUESTS: Final = (
    {
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
)


class InstallError(Exception):
    """An installation, or what should run after it, failed."""


class Environment:
    """A virtual environment in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"

    def create(self) -> None:
        """Make it, with the pip that this Python brings along."""
        self.run([sys.executable, "-m", "venv", str(self.folder)])

    def install(self, requirement: str) -> None:
        """Install a requirement and what it needs, in the newest versions that fit."""
        self.run([str(self.bin / "python"), "-m", "pip", "install", "--quiet", "--no-compile", requirement])

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command outside the checkout, where the environment's own programs come first."""
        variables = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
        variables["PATH"] = f"{self.bin}{os.pathsep}{variables['PATH']}"
        return subprocess.Popen(
            command,
            cwd=self.folder.parent,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: Sequence[str], *, fails: bool = False, given: str = "") -> str:
        """Run a command and return its output, stderr included.

        Args:
            command: The command.
            fails: True if its exit status must not be 0.
            given: The standard input.

        Raises:
            InstallError: It has the wrong exit status, or exceeds LIMIT or DEADLINE.
        """
        started = self.start(command)
        resource.prlimit(started.pid, resource.RLIMIT_CPU, (LIMIT, LIMIT))
        try:
            output, _ = started.communicate(given, timeout=DEADLINE)
        except subprocess.TimeoutExpired as error:
            started.kill()
            raise InstallError(f"{shlex.join(command)}: not done in {DEADLINE} s") from error
        if (started.returncode != 0) is not fails:
            raise InstallError(f"{shlex.join(command)}: exit status {started.returncode}:\n{output[-3000:]}")
        return output


def prove_base(here: Environment) -> None:
    """Without extras there is help, and a command that lacks one prints a command that installs it."""
    for module in ("sandbox_client", "sandbox_agent", "sandbox_operator", "sandbox_runtime"):
        expect("usage:", here.run([str(here.bin / "python"), "-m", module, "--help"]).lower())
    refused = here.run(["sandbox", "mcp"], fails=True)
    here.run(shlex.split(expect(r"Run: (.+)", refused)[1]))
    prove_mcp(here)


def prove_cell(here: Environment) -> None:
    """Run cells in a local session, one of them with a chart."""
    expect("^42$", here.run(["sandbox", "run", "-c", _DRAWING]))
    expect(
        "^42$", here.run(["sandbox", "run", "--language", "typescript", "-c", "const n: number = 42; console.log(n)"])
    )


def prove_agent(here: Environment) -> None:
    """Import the whole agent, as `serve` does."""
    here.run([str(here.bin / "python"), "-c", "import sandbox_agent.app, sandbox_agent.storage.backends.s3"])


def prove_operator(here: Environment) -> None:
    """Start the operator, which misses a cluster."""
    ended = here.run([str(here.bin / "python"), "-m", "sandbox_operator", "run"], fails=True)
    expect("^sandbox-operator: no API server", ended)


def prove_mcp(here: Environment) -> None:
    """Greet the MCP server and list its tools, which starts no session."""
    with here.start(["sandbox", "mcp"]) as server:
        if server.stdin is None or server.stdout is None:
            raise InstallError("the server has no pipes")
        # It ends with its input, which therefore stays open until it has answered.
        server.stdin.write("".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in _REQUESTS))
        server.stdin.flush()
        # What it says on stderr comes before, between or behind the answers.
        output = ""
        for line in server.stdout:
            output += line
            if '"id":2' in line:
                break
    expect('^{.*"execute_code"', output)


def prove_gateway(here: Environment) -> None:
    """Build the application with all its doors."""
    here.run([str(here.bin / "python"), "-c", "from sandbox_gateway.app import find_doors; assert find_doors()"])


def prove_tracing(here: Environment) -> None:
    """Start and stop tracing."""
    here.run([str(here.bin / "python"), "-c", "from sandbox_proto import tracing as t; t.start('check'); t.stop()"])


def prove_import(here: Environment) -> None:
    """Import the SDK."""
    here.run([str(here.bin / "python"), "-c", "import sandbox_client"])


PROOFS: Final[dict[str, Callable[[Environment], None]]] = {
    "": prove_base,
    "local": prove_cell,
    "agent": prove_agent,
    "operator": prove_operator,
    "mcp": prove_mcp,
    "gateway": prove_gateway,
    "tracing": prove_tracing,
    "examples": prove_import,
    "all": prove_cell,
}
"""For each extra that users install: what runs after its installation."""


def expect(pattern: str, text: str) -> re.Match[str]:
    """Return the match of a pattern in an output.

    Raises:
        InstallError: There is none.
    """
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise InstallError(f"{pattern!r} is not in the output:\n{text[-3000:]}")
    return found


def find_uv() -> str:
    """Return the path of uv: the one of the `dev` extra, else the one on PATH."""
    path = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        sys.exit("uv is missing: make setup")
    return path


def stable_versions(listing: Sequence[dict[str, Any]]) -> list[str]:
    """Return the minor versions of Python from the oldest that we support to the newest stable one, as text.

    Args:
        listing: The downloads of `uv python list --output-format json`.
    """
    stable = [item["version_parts"] for item in listing if re.fullmatch(r"[\d.]+", item["version"])]
    minors = {(parts["major"], parts["minor"]) for parts in stable}
    return [f"{major}.{minor}" for major, minor in sorted(minors) if (major, minor) >= OLDEST]


def with_extra(wheel: Path, extra: str) -> str:
    """Return the requirement of a wheel with an extra, or without one if it is empty."""
    return f"{wheel}[{extra}]" if extra else str(wheel)


def timed(title: str, act: Callable[[], None]) -> bool:
    """Act, print the title with the time it took, and return True unless it failed."""
    started = time.monotonic()
    try:
        act()
    except InstallError as error:
        print(f"FAILED  {title}: {error}", flush=True)
        return False
    print(f"{time.monotonic() - started:5.1f} s {title}", flush=True)
    return True


def install_and_prove(wheel: Path, extra: str, folder: Path) -> None:
    """Install the wheel with an extra into a fresh environment, and run what needs it."""
    here = Environment(folder / (extra or "base") / "venv")
    here.folder.parent.mkdir()
    here.create()
    here.install(with_extra(wheel, extra))
    PROOFS[extra](here)
    shutil.rmtree(here.folder.parent)


def resolve(uv: str, version: str, requirements: Sequence[str], folder: Path) -> None:
    """Let uv resolve requirements for a Python that need not be on this machine."""
    command = [uv, "pip", "compile", "--quiet", "--python-version", version, "--output-file", os.devnull, "-"]
    Environment(folder / "venv").run(command, given="\n".join(requirements))


def main() -> int:
    """Run all checks and return 1 if one failed."""
    uv = find_uv()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    with tempfile.TemporaryDirectory(prefix="check-install-") as name, ThreadPoolExecutor(2) as threads:
        folder = Path(name)
        subprocess.run([uv, "build", "--quiet", "--out-dir", folder, ROOT], check=True, stdout=subprocess.DEVNULL)
        (wheel,) = folder.glob("*.whl")
        listing = json.loads(
            subprocess.check_output([uv, "python", "list", "--only-downloads", "--output-format", "json"])
        )
        checks = [
            threads.submit(
                timed,
                f"pip install {with_extra(Path(wheel.name), extra)}",
                lambda extra=extra: install_and_prove(wheel, extra, folder),
            )
            for extra in PROOFS
        ]
        for version in stable_versions(listing):
            together = {extra: [with_extra(wheel, extra)] for extra in ["", *extras]}
            together |= {", ".join(more): [with_extra(wheel, extra), *more] for extra, more in FRAMEWORKS.items()}
            for title, requirements in together.items():
                checks.append(
                    threads.submit(
                        timed,
                        f"uv pip compile --python-version {version} [{title}]",
                        lambda version=version, requirements=requirements: resolve(uv, version, requirements, folder),
                    )
                )
        failures = [check for check in checks if not check.result()]
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
