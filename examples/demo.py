"""A tour of a local session in half a minute: `python examples/demo.py`, or `make demo`.

It needs no cluster. It checks each result, and exits with 1 if one is wrong.
"""

from __future__ import annotations

import base64
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from sandbox_client.errors import SandboxError
from sandbox_client.sync.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER: Final = Path(".demo")
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_CHART: Final = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
days = list(range(1, 15))
plt.figure(figsize=(7, 4))
plt.bar(days, [day * day % 11 + 2 for day in days], color="#3b7dd8")
plt.title("A chart made in the sandbox")
plt.xlabel("day")
plt.savefig("chart.png", dpi=120)
plt.close()
"""


class WrongResultError(Exception):
    """A step had a wrong result."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the tour. `act` returns the text to show, or raises WrongResultError."""

    title: str
    act: Callable[[Sandbox], str]


def _code(language: str, code: str, expected: str) -> Callable[[Sandbox], str]:
    def act(sandbox: Sandbox) -> str:
        execution = sandbox.run_code(code, language, timeout=60)
        if not execution.ok or execution.stdout.strip() != expected:
            raise WrongResultError(f"expected {expected!r}, got {execution}")
        return expected

    return act


def _variable(sandbox: Sandbox) -> str:
    first = sandbox.run_code("primes = [n for n in range(2, 50) if all(n % d for d in range(2, n))]")
    second = sandbox.run_code("len(primes), sum(primes)")
    if not first.ok or second.text != "(15, 328)":
        raise WrongResultError(f"the variable was lost: {first.error}, {second}")
    return f"(len, sum) = {second.text}"


def _failure(sandbox: Sandbox) -> str:
    execution = sandbox.run_code("1 / 0")
    if execution.error is None or execution.error.name != "ZeroDivisionError" or not sandbox.run_code("primes[0]").ok:
        raise WrongResultError(f"expected a ZeroDivisionError that keeps the variables, got {execution}")
    return "ZeroDivisionError, and the session continues"


def _command(sandbox: Sandbox) -> str:
    result = sandbox.run("pip --version | head -1", timeout=60)
    if not result.ok or not result.stdout.startswith("pip "):
        raise WrongResultError(f"expected pip's version, got {result}")
    return " ".join(result.stdout.split()[:2])


def _files(sandbox: Sandbox) -> str:
    text = "Grüße, 世界\n" * 1_000
    sandbox.files.write("notes/hello.txt", text)
    lines = sandbox.run_code("print(len(open('notes/hello.txt', encoding='utf-8').readlines()))")
    if sandbox.files.read_text("notes/hello.txt") != text or lines.stdout.strip() != "1000":
        raise WrongResultError(f"the file has changed on the way: {lines}")
    return "notes/hello.txt, the same on both sides"


def _chart(sandbox: Sandbox) -> str:
    execution = sandbox.run_code(_CHART, timeout=120)
    if not execution.ok or not sandbox.files.read("chart.png").startswith(_PNG):
        raise WrongResultError(f"the chart is missing: {execution}")
    return f"chart.png, {sandbox.files.stat('chart.png').size / 1024:.0f} KB"


def _push(sandbox: Sandbox) -> str:
    report = sandbox.workspace.push()
    chart = sandbox.files.read("chart.png")
    if report.failed or sandbox.workspace.read("code-interpreter/chart.png") != chart:
        raise WrongResultError(f"the stored chart differs: {report}")
    (FOLDER / "chart.png").write_bytes(chart)
    return f"{report.files_saved} files saved, generation {report.generation}"


STEPS: Final = (
    Step("Python keeps a variable", _variable),
    Step("Python survives an exception", _failure),
    Step(
        "JavaScript", _code("javascript", "const six = 6; console.log([1, 2, 3].map(n => n * six).join())", "6,12,18")
    ),
    Step(
        "TypeScript",
        _code("typescript", "enum Color { Red, Green }; const c: Color = Color.Green; console.log(Color[c])", "Green"),
    ),
    Step("Shell", _command),
    Step("Files", _files),
    Step("Chart", _chart),
    Step("Push to the store", _push),
)


def main() -> int:
    """Run the tour and return the exit code."""
    console = Console()
    FOLDER.mkdir(exist_ok=True)
    table = Table("Step", "Result", "Time", title="A local session")
    table.columns[2].justify = "right"
    started = time.perf_counter()
    try:
        with console.status("Starting a local session") as status:
            sandbox = Sandbox.local(store=FOLDER / "store", on_progress=status.update)
            with sandbox:
                table.add_row("Start agent, runtime, interpreters", "ready", _since(started))
                for step in STEPS:
                    status.update(step.title)
                    begun = time.perf_counter()
                    table.add_row(step.title, step.act(sandbox), _since(begun))
    except (SandboxError, WrongResultError) as error:
        console.print(table)
        console.print("failed:", str(error), style="bold red", markup=False)
        return 1
    console.print(table)
    chart = FOLDER / "chart.png"
    if sys.stdout.isatty():
        sys.stdout.write(encode_picture(chart.read_bytes(), os.environ))
    console.print(f"The chart: {chart}. Open it: {_opener(chart)}", soft_wrap=True)
    console.print(f"The store: {FOLDER / 'store'}")
    return 0


def encode_picture(png: bytes, environ: Mapping[str, str]) -> str:
    """Return what shows a picture in the terminal that these variables name, or "" if it cannot show any."""
    program, data = environ.get("TERM_PROGRAM", ""), base64.b64encode(png).decode()
    if "TMUX" in environ:
        return ""
    if program in {"iTerm.app", "WezTerm", "mintty"} or environ.get("LC_TERMINAL") == "iTerm2":
        return f"\033]1337;File=inline=1;size={len(png)};width=60:{data}\a\n"
    if "KITTY_WINDOW_ID" in environ or program == "ghostty" or environ.get("TERM") in {"xterm-kitty", "xterm-ghostty"}:
        pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
        head = "a=T,f=100,c=60,"
        shown = [f"m={int(piece is not pieces[-1])};{piece}\033\\" for piece in pieces]
        return f"\033_G{head}" + "\033_G".join(shown) + "\n"
    return ""


def _opener(path: Path) -> str:
    if "microsoft" in platform.release().lower():
        return f'explorer.exe "$(wslpath -w {path})"'
    return f"xdg-open {path}"


def _since(begun: float) -> str:
    return f"{(time.perf_counter() - begun) * 1000:,.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
