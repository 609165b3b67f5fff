"""Runs the same program as a file with Node, and as cells of a session, and describes what both showed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client import Sandbox
from sandbox_runtime.javascript import find_node
from sandbox_runtime.typecheck import find_checker, own_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT: Final = 30.0
_MONITOR: Final = """
const { writeFileSync } = require('node:fs');
const { inspect } = require('node:util');
const file = `${process.cwd()}/.error.json`;
process.on('uncaughtExceptionMonitor', (e) => {
  let found = ['', ''];
  try {
    const isError = e instanceof Error || (typeof e?.stack === 'string' && typeof e.message === 'string');
    const kind = (typeof e === 'object' && e?.constructor?.name) || 'Error';
    found = isError ? [String(e.name || kind), String(e.message)] : [kind, typeof e === 'string' ? e : inspect(e)];
  } catch {}
  writeFileSync(file, JSON.stringify(found));
});
"""
"""Tells which error ends the program, in a file. Node's own report is text for people."""
_REQUIRE: Final = "import { createRequire as r$ } from 'node:module'; const require = r$(import.meta.url); "
_PRAGMA: Final = re.compile(r"@jsx ")
_DUMP: Final = re.compile(
    r"^(?:\S*program\.\w+|node:\S+|<anonymous_script>|evalmachine\.<anonymous>|\[worker eval\]):\d+\n|^Uncaught",
    re.MULTILINE,
)
_BUSY: Final = re.compile(
    r"setTimeout|setInterval|sleep|wait\(|Worker|spawn|exec|fork|once\(|http|fetch|\.pipe|signal|kill"
)
_LATE: Final = re.compile(r"\[late output of cell \d+\]\n|\[end of late output\]\n")
"""The marks around what comes after the end of a cell. A file has no end before that."""
_WAIT: Final = "await new Promise((resolve) => setTimeout(resolve, {})); void 0"


@dataclass(frozen=True)
class Shown:
    """The output and the end of one run of a program.

    Attributes:
        error: Name and message of the error that ended it. Both are empty if there was none.
        status: The exit status.
    """

    stdout: str
    stderr: str
    error: tuple[str, str]
    status: int


@dataclass(frozen=True)
class Program:
    """A program with its name, which is unique among all programs."""

    name: str
    language: str
    code: str

    @property
    def needs_compiler(self) -> bool:
        return self.name.startswith("typescript_compiled")


class Node:
    """The reference: `node FILE`, after TypeScript's compiler where Node cannot run the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._monitor = folder / "monitor.cjs"
        self._monitor.write_text(_MONITOR)
        self._count = 0

    def run(self, program: Program) -> Shown:
        self._count += 1
        is_module = _is_module(program.code)
        folder = self._folder / f"program-{self._count}"
        folder.mkdir()
        file = folder / ("program.ts" if program.language == "typescript" else "program.js")
        file.write_text(program.code)
        if program.needs_compiler:
            file = _compile(folder, program.code)
        elif is_module and "require(" in program.code:
            file = file.with_suffix(".mts" if program.language == "typescript" else ".mjs")
            file.write_text(_REQUIRE + program.code)
        options = ["--experimental-transform-types", "--disable-warning=ExperimentalWarning", "-r", str(self._monitor)]
        run = subprocess.run(
            [find_node(), *options, str(file)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "TZ": "UTC", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        report = folder / ".error.json"
        told = report.read_text() if report.exists() else ""
        if not run.returncode:
            told = ""  # the program has handled it
        error = tuple(json.loads(told)) if told else ("", "")
        stderr = run.stderr.decode(errors="replace")
        if told:
            stderr = _DUMP.split(stderr, maxsplit=1)[0].rstrip("\n")
        return Shown(
            normalize(run.stdout.decode(errors="replace"), folder),
            normalize(stderr, folder),
            (error[0], normalize(error[1], folder)),
            run.returncode,
        )


def _compile(folder: Path, code: str) -> Path:
    checker = find_checker(own_folder())
    assert checker is not None
    (folder / "program.tsx").write_text(code)
    options = [
        "--noCheck",
        "--noLib",
        "--target",
        "es2025",
        "--module",
        "esnext",
        "--jsx",
        "react" if _PRAGMA.search(code) else "react-jsx",
        "--moduleDetection",
        "force",
    ]
    subprocess.run(
        [checker.program, "--ignoreConfig", *options, "--outDir", folder / "out", folder / "program.tsx"],
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    file = folder / "program.mjs"
    (folder / "out" / "program.js").rename(file)
    return file


class Session:
    """A local session. Each program runs in a context of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._sandbox = sandbox
        self._folder = folder

    def run(self, program: Program, *, split: bool = False) -> Shown:
        """Run a program as one cell, or one cell per paragraph."""
        context = self._sandbox.contexts.create("javascript").id
        try:
            cells = re.split(r"\n\n+", program.code) if split else [program.code]
            return self._run(context, program.language, cells)
        finally:
            self._sandbox.contexts.delete(context)

    def _run(self, context: str, language: str, cells: Sequence[str]) -> Shown:
        stdout, stderr, error, status = "", "", ("", ""), 0
        milliseconds = 150 if any(_BUSY.search(cell) for cell in cells) else 5
        for cell in [*cells, _WAIT.format(milliseconds)]:
            execution = self._sandbox.run_code(cell, language=language, context=context, timeout=TIMEOUT)
            stdout, stderr = stdout + _LATE.sub("", execution.stdout), stderr + _LATE.sub("", execution.stderr)
            if execution.error is not None:
                error, status = (execution.error.name, execution.error.value), 1
                if error[0] == "ProcessExit":
                    error, status = ("", ""), int(error[1])
                break
            if execution.status.value != "ok":
                status = -1
                break
        stderr = stderr.rstrip("\n") if error != ("", "") else stderr  # a file's report begins with empty lines
        found = normalize(error[1], self._folder)
        return Shown(normalize(stdout, self._folder), normalize(stderr, self._folder), (error[0], found), status)


def normalize(text: str, folder: Path) -> str:
    """Replace what differs on purpose: places, columns, process ids, and frames of Node that only a file has."""
    text = text.replace(folder.as_uri(), "<folder>").replace(str(folder), "<folder>")
    text = re.sub(r"(?:<folder>/)?(?:program\.\w+|cell-\d+\.[jt]s|cell\.js)(?::(\d+):\d+)?", r"<file>\1", text)
    text = re.sub(r"\(node:\d+\)", "(node:PID)", text)
    text = re.sub(r" *\.\.\. \d+ lines matching cause stack trace \.\.\.\n", "", text)
    text = re.sub(r"\n *at (?:async )?(?:\S+ )*\(?node:(?:(?! \{)[^\n>])*", "", text)
    text = re.sub(r"at (?:async )?(?:Object\.<anonymous> |Module\.)?\(?(<file>\d*)\)?", r"at \1", text)
    return re.sub(r" imported from <file>", "", text)


def is_compile_error(shown: Shown) -> bool:
    """Return True for the error of a cell that is no valid code. Its message ends with the place."""
    return shown.error[0] == "SyntaxError" and bool(re.search(r"\(<file>\d*\)$", shown.error[1]))


def _is_module(code: str) -> bool:
    """Return True if a program must be an ES module, because it awaits at the top level."""
    inside = re.sub(r"async (?:function\*? ?\w*)? ?\([^)]*\)[^{]*\{[^\n]*|async \([^)]*\) =>[^\n]*", "", code)
    return bool(re.search(r"\bawait\b", inside)) or (
        bool(re.search(r"^[^'\"]*\bawait\b", code)) and "async" not in code
    )


def open_sandbox() -> Sandbox:
    return Sandbox.local(env={"TZ": "UTC"})


def read_programs(folder: Path) -> list[Program]:
    """Return the programs of a folder. `//// name` begins one; in a file of lines, each line is one."""
    programs = []
    for path in sorted(folder.iterdir()):
        language = "typescript" if path.suffix == ".ts" else "javascript"
        if path.stem.endswith("_lines"):
            pieces = [(line[:60], line) for line in path.read_text().splitlines() if line.strip()]
        else:
            found = re.split(r"^//// (.*)\n", path.read_text(), flags=re.MULTILINE)[1:]
            pieces = list(zip(found[::2], found[1::2], strict=True))
        programs += [Program(f"{path.stem}: {name}", language, code.strip("\n")) for name, code in pieces]
    return programs
