"""The command `sandbox run`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from sandbox_client.cli.options import Target, check_words, with_session_options, with_target
from sandbox_client.cli.output import EXIT_INTERRUPTED
from sandbox_client.cli.run.file_kind import HEAD_BYTES, CannotRunError, FileKind, Kind, file_kind
from sandbox_client.cli.run.limits import Limits, with_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox_client.cli.run.cells import Cell
    from sandbox_client.cli.run.shown import Shown
    from sandbox_client.sync.sandbox import Sandbox

_LANGUAGES: Final = ("python", "javascript", "typescript")
_TIMEOUT: Final = 300.0
_MISPLACED: Final = ("--session", "--save-figures")


@dataclasses.dataclass(frozen=True, slots=True)
class _File:
    """A file to run.

    Attributes:
        path: Its path here.
        name: Its name in a session that has files of its own.
    """

    path: str
    name: str
    kind: FileKind
    words: tuple[str, ...]


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  sandbox run script.py --its-own options
  sandbox run --save-figures figures/ chart.py
  sandbox run --session my-session train.py < input.txt
  sandbox run build.sh; sandbox run tool.ts; sandbox run report.ipynb
  sandbox run -c 'print(6 * 7)'
  echo 'console.log(6 * 7)' | sandbox run --language javascript -

\b
Files: .py .js .mjs .cjs .jsx .ts .mts .cts .tsx .sh .bash .ipynb, and others
by their first line (#!/usr/bin/env ...).""",
)
@click.argument("file", required=False)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("-c", "--code", help="Code to run, instead of a file.")
@click.option(
    "--language",
    type=click.Choice(_LANGUAGES),
    help="Language. Default: by the file's suffix or first line, else python.",
)
@with_limits("Time limit in seconds. Default: 300, or for -c and standard input the session's own limit.")
@click.option(
    "--save-figures",
    type=click.Path(file_okay=False),
    help="Folder in which to save the pictures and pages that the code shows.",
)
@with_session_options
@with_target
def run(
    target: Target,
    file: str | None,
    args: tuple[str, ...],
    code: str | None,
    language: str | None,
    limits: Limits,
    save_figures: str | None,
    session: str | None,
    workspace: str | None,
    store: str | None,
    egress: Literal["public", "none"],
) -> int:
    """Run a file, or code, and exit with its exit code. Options must come before FILE.

    FILE runs as `python FILE ARGS` would, or `node`, `bash`: with standard input, and until its threads and timers have
    ended. Without --session it runs on this machine, as your user and without isolation: where it is, in the current
    folder. With --session it is copied into the session's workspace first, under its own name. Ctrl-C interrupts it;
    the second time it is killed.

    Code from -c, or from standard input (-), runs as a cell: the value of its last expression is printed, and its
    variables stay in a session that is named. A notebook runs cell by cell.
    """
    if file == "":
        raise click.UsageError("FILE is an empty text: give the name of a file")
    check_words(f"the arguments of {file}", args)
    if (file is None) == (code is None):
        raise click.UsageError("give either a FILE (or - for standard input) or -c CODE")
    if code is not None or file == "-":
        source = code if code is not None else _read_input()
        if not source.strip():
            return 0
        if session and limits.env:
            raise click.UsageError("--env cannot change the variables of a session that runs: use it with a FILE")
        with target.session_or_local(session, workspace, store, egress, **limits.for_session(session)) as sandbox:
            cell = _cell(source, language, limits.timeout)
            return _run_code(target, sandbox, cell, save_figures, is_last=not session)
    with _described(str(file), args, language, has_session=bool(session)) as found:
        folder = "" if session or workspace else _current_folder()
        with target.session_or_local(session, workspace, store, egress, **limits.for_session(session)) as sandbox:
            placed = dataclasses.replace(found, path=_place(sandbox, found, is_here=not session, folder=folder))
            return _run_file(target, sandbox, placed, folder, limits, save_figures)


def _current_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError as error:
        raise click.UsageError("the current folder no longer exists: change to another one") from error


def _cell(source: str, language: str | None, timeout: float | None) -> Cell:
    from sandbox_client.cli.run.cells import Cell  # noqa: PLC0415 - slow to import, and help does not need it

    return Cell(source, language or "python", timeout)


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"standard input is not text in UTF-8 (byte {error.start}): convert it, or run a file"
        raise click.UsageError(message) from error


@contextlib.contextmanager
def _described(path: str, words: tuple[str, ...], language: str | None, *, has_session: bool) -> Iterator[_File]:
    """Read the beginning of a file and decide how to run it. Something that is no file is copied to one.

    Raises:
        UsageError: It cannot be read, or is not a program.
    """
    _check_words(path, words, has_session=has_session)
    try:
        with open(path, "rb") as opened:  # noqa: PTH123 - also of /dev/fd
            is_file = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
            content = opened.read(HEAD_BYTES) if is_file else opened.read()
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from error
    words = words[1:] if words[:1] == ("--",) and _misplaced(words) else words
    try:
        kind = file_kind(path, content[:HEAD_BYTES], language)
    except CannotRunError as error:
        raise click.UsageError(str(error)) from error
    if kind.kind is Kind.NOTEBOOK and words:
        raise click.UsageError(f"a notebook takes no arguments: {' '.join(words)}")
    name = Path(path).name
    if is_file:
        yield _File(path, name, kind, words)
        return
    with tempfile.TemporaryDirectory(prefix="sandbox-run-") as folder:
        copy = Path(folder) / name
        copy.write_bytes(content)
        yield _File(str(copy), name, kind, words)


def _check_words(path: str, words: Sequence[str], *, has_session: bool) -> None:
    """Refuse options that stand behind FILE by mistake: the code would run on this machine, or lose its pictures."""
    if not has_session and words[:1] != ("--",) and (misplaced := _misplaced(words)):
        raise click.UsageError(
            f"{misplaced} stands behind {path}, where it belongs to the code. Put it before {path}, "
            f"or write `{path} -- ARGS` if the code has an option of that name"
        )


def _misplaced(words: Sequence[str]) -> str:
    return next((word for word in words if word.partition("=")[0] in _MISPLACED), "")


def _place(sandbox: Sandbox, file: _File, *, is_here: bool, folder: str) -> str:
    """Return the path of a file for a script that starts in a folder. Copy it to the session if that is elsewhere."""
    if file.kind.kind is Kind.NOTEBOOK:
        return file.path
    if is_here:
        return file.path if folder else str(Path(file.path).absolute())
    sandbox.files.upload(file.path, file.name)
    return file.name


def _run_file(
    target: Target, sandbox: Sandbox, file: _File, folder: str, limits: Limits, save_figures: str | None
) -> int:
    timeout = limits.timeout or _TIMEOUT
    if file.kind.kind is Kind.NOTEBOOK:
        return _run_notebook(target, sandbox, file, timeout, save_figures)
    from sandbox_client.cli.ending import (  # noqa: PLC0415 - slow to import
        command_exit_code,
        report_command_end,
        report_missing_network,
        start_exit_code,
    )
    from sandbox_client.cli.run.script import Script, fetch_shown, run_script  # noqa: PLC0415 - same
    from sandbox_client.errors import SandboxError  # noqa: PLC0415 - same
    from sandbox_client.models.results import Status  # noqa: PLC0415 - same

    printer = target.printer
    script = Script(file.path, file.words, file.kind.program, folder, timeout, limits.env)
    try:
        run_id, result = run_script(sandbox, script, shows=not printer.is_json)
    except SandboxError as error:
        code = start_exit_code(error, next(iter(script.program), ""))
        if code is None:
            raise
        printer.fail(error)
        return code
    report_missing_network(printer, result)
    report_command_end(printer, result)
    shown: list[Shown] = []
    if file.kind.kind is Kind.PYTHON and result.status is not Status.LOST:
        try:
            shown = fetch_shown(sandbox, run_id, wants_content=bool(save_figures))
        except SandboxError as error:
            # The code has ended well or not. That is what the exit code says.
            printer.write_stderr(f"the pictures that {file.path} may have shown cannot be fetched: {error}\n")
    _finish(target, shown, save_figures, dataclasses.asdict(result))
    return command_exit_code(result)


def _run_notebook(target: Target, sandbox: Sandbox, file: _File, timeout: float, save_figures: str | None) -> int:
    from sandbox_client.cli.ending import describe_execution_end, execution_exit_code  # noqa: PLC0415 - slow to import
    from sandbox_client.cli.run.cells import execution_to_json  # noqa: PLC0415 - same
    from sandbox_client.cli.run.notebook import read_notebook, run_notebook  # noqa: PLC0415 - same

    try:
        notebook = read_notebook(file.path, Path(file.path).read_bytes())
    except CannotRunError as error:
        raise click.UsageError(str(error)) from error
    executions, shown = run_notebook(target.printer, sandbox, notebook, timeout)
    last = executions[-1] if executions else None
    if last is not None and (text := describe_execution_end(last)):
        target.printer.write_stderr(f"{text}\n")
    _finish(target, shown, save_figures, {"cells": [execution_to_json(each) for each in executions]})
    return execution_exit_code(last) if last is not None else 0


def _run_code(target: Target, sandbox: Sandbox, cell: Cell, save_figures: str | None, *, is_last: bool) -> int:
    from sandbox_client.cli.ending import describe_execution_end, execution_exit_code  # noqa: PLC0415 - slow to import
    from sandbox_client.cli.run.cells import execution_to_json, run_cell, shown_files, wait_for_rest  # noqa: PLC0415 - same

    try:
        execution = run_cell(target.printer, sandbox, cell)
        waited = wait_for_rest(target.printer, sandbox, cell, execution) if is_last else execution
    except KeyboardInterrupt:
        target.printer.write_stderr("interrupted\n")
        return EXIT_INTERRUPTED
    for ended in (execution, waited) if waited is not execution else (execution,):
        if text := describe_execution_end(ended):
            target.printer.write_stderr(f"{text}\n")
    _finish(target, shown_files(execution), save_figures, execution_to_json(execution))
    return execution_exit_code(waited)


def _finish(target: Target, shown: Sequence[Shown], save_figures: str | None, value: dict[str, Any]) -> None:
    """Save or announce what was shown, and print the value for programs."""
    from sandbox_client.cli.run.shown import announce, save_shown  # noqa: PLC0415 - slow to import

    saved = save_shown(shown, save_figures) if save_figures and shown else []
    announce(target.printer, shown, saved)
    if target.printer.is_json:
        target.printer.print_json({**value, "saved_figures": saved, "unsaved_figures": len(shown) - len(saved)})
