"""`sandbox run`: runs code."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from sandbox_client.cli.options import Target, with_session_options, with_target
from sandbox_client.cli.output import EXIT_FAILED
from sandbox_client.models.context import LANGUAGES
from sandbox_client.models.results import Execution, Status

if TYPE_CHECKING:
    from sandbox_client.sync.sandbox import Sandbox

_BY_SUFFIX: Final = {
    ".py": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
}
_EXIT_INTERRUPTED: Final = 130


@click.command(
    epilog="""\b
Examples:
  sandbox run script.py
  sandbox run -c 'print(6 * 7)'
  echo 'console.log(6 * 7)' | sandbox run --language javascript -
  sandbox run chart.py --save-figures figures/ --session my-session"""
)
@click.argument("file", required=False)
@click.option("-c", "--code", help="Code to run, instead of a file.")
@click.option(
    "--language", type=click.Choice(LANGUAGES), help="Language. Default: by the file's extension, else python."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Time limit in seconds.")
@click.option(
    "--save-figures", type=click.Path(file_okay=False), help="Folder in which to save the pictures that the code shows."
)
@with_session_options
@with_target
def run(
    target: Target,
    file: str | None,
    code: str | None,
    language: str | None,
    timeout: float | None,
    save_figures: str | None,
    session: str | None,
    workspace: str | None,
    store: str | None,
    egress: Literal["public", "none"],
) -> int:
    """Run code from FILE, from -c, or from standard input (-).

    Variables persist from run to run in a session of the cluster. Ctrl-C interrupts the code.
    """
    if (file is None) == (code is None):
        raise click.UsageError("give either a FILE (or - for standard input) or -c CODE")
    source = code if code is not None else _read(str(file))
    chosen = language or _BY_SUFFIX.get(Path(file or "").suffix.lower(), "python")
    with target.session_or_local(session, workspace, store, egress) as sandbox:
        try:
            execution = sandbox.run_code(
                source, chosen, timeout, on_stdout=target.printer.write_stdout, on_stderr=target.printer.write_stderr
            )
        except KeyboardInterrupt:
            _interrupt(target, sandbox, chosen)
            return _EXIT_INTERRUPTED
    saved = _save_figures(execution, Path(save_figures)) if save_figures else []
    return _report(target, execution, saved)


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from error


def _interrupt(target: Target, sandbox: Sandbox, context_id: str) -> None:
    sandbox.contexts.interrupt(context_id)
    target.printer.errors.print("interrupted")


def _save_figures(execution: Execution, folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for number, (suffix, content) in enumerate(execution.figures, start=1):
        path = folder / f"figure-{number}.{suffix}"
        path.write_bytes(content)
        saved.append(str(path))
    return saved


def _report(target: Target, execution: Execution, saved: list[str]) -> int:
    printer = target.printer
    if printer.is_json:
        printer.print_json({**_to_json(execution), "saved_figures": saved})
    else:
        if execution.text is not None:
            printer.print_text(execution.text)
        if execution.error:
            printer.write_stderr(f"{execution.error}\n")
        elif not execution.ok:
            printer.write_stderr(f"{_why(execution)}\n")
        if execution.dropped_bytes:
            printer.write_stderr(f"{execution.dropped_bytes} bytes of output were dropped: the output limit was hit\n")
        for path in saved:
            printer.write_stderr(f"saved {path}\n")
    return 0 if execution.ok else EXIT_FAILED


def _why(execution: Execution) -> str:
    return {
        Status.TIMED_OUT: f"the time limit was hit after {execution.duration:.1f} s",
        Status.OOM_KILLED: "the code was killed because it ran out of memory",
        Status.INTERRUPTED: "the code was interrupted",
        Status.LOST: "the sandbox restarted while the code ran; it was not run again",
    }.get(execution.status, f"the code ended with {execution.status}, exit code {execution.exit_code}")


def _to_json(execution: Execution) -> dict[str, Any]:
    value = dataclasses.asdict(dataclasses.replace(execution, results=()))
    value["results"] = [result.to_bundle() for result in execution.results]  # Jupyter's form of MIME bundles
    return value
