"""`sandbox files` and `sandbox push`: the files of a session."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import click

from sandbox_client.cli.options import SESSION_OPTION, Target, with_session_and_paths, with_target
from sandbox_client.cli.output import EXIT_FAILED

if TYPE_CHECKING:
    from sandbox_client.search import SearchReport
    from sandbox_client.transfer.folders import TreeReport

_RECURSIVE = click.option("-r", "--recursive", is_flag=True, help="Copy a folder with everything in it.")
_WITHIN = click.argument("path", default=".")
_EXCLUDE = click.option("--exclude", multiple=True, help="Glob of names or paths to skip. May be repeated.")
_MAX_RESULTS = click.option(
    "--max-results",
    default=1000,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Stop after this many matches.",
)


@click.group(epilog="\b\nExample:\n  sandbox files put --session my-session data.csv")
def files() -> None:
    """Work with the files of a session: its workspace and, by absolute paths, /tmp and the home folder."""


@files.command(
    epilog="""\b
Examples:
  sandbox files get --session my-session chart.png
  sandbox files get --session my-session data/out.csv ./results/
  sandbox files get --session my-session -r results ./results"""
)
@click.argument("path")
@click.argument("local", required=False)
@_RECURSIVE
@SESSION_OPTION
@with_target
def get(target: Target, path: str, local: str | None, recursive: bool, session: str) -> int:  # noqa: FBT001 - click's
    """Download PATH from the session to LOCAL. Default: the current folder.

    Exit code 1: some files of a folder were not copied. Their names and the reasons are on standard error.
    """
    if recursive:
        with target.session(session) as sandbox, target.printer.progress_bar(path) as on_progress:
            folder = local or PurePosixPath(path).name or "."
            report = sandbox.files.download_tree(path, folder, on_progress=on_progress)
        return _show_tree(target, report, folder)
    with target.session(session) as sandbox, target.printer.progress_bar(path) as on_progress:
        saved = sandbox.files.download(path, local, on_progress=on_progress)
    target.printer.print({"path": path, "local": str(saved), "size": saved.stat().st_size}, str(saved))
    return 0


@files.command(
    epilog="""\b
Examples:
  sandbox files put --session my-session data.csv
  sandbox files put --session my-session data.csv input/data.csv
  sandbox files put --session my-session data.csv --metadata source=crm
  sandbox files put --session my-session -r ./input input"""
)
@click.argument("local", type=click.Path(exists=True))
@click.argument("path", required=False)
@_RECURSIVE
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=lambda _context, _parameter, pairs: _read_metadata(pairs),
    help="Keep this text with the file, as an extended attribute. May be repeated.",
)
@SESSION_OPTION
@with_target
def put(
    target: Target,
    local: str,
    path: str | None,
    recursive: bool,  # noqa: FBT001 - click's
    metadata: dict[str, str],
    session: str,
) -> int:
    """Upload LOCAL to PATH in the session. Default: under its own name, in the workspace.

    Exit code 1: some files of a folder were not copied. Their names and the reasons are on standard error.
    """
    if recursive and metadata:
        raise click.UsageError("--metadata is for one file: leave out -r, or --metadata")
    if recursive:
        folder = path or Path(local).resolve().name
        with target.session(session) as sandbox, target.printer.progress_bar(local) as on_progress:
            report = sandbox.files.upload_tree(local, folder, on_progress=on_progress)
        return _show_tree(target, report, folder)
    if Path(local).is_dir():
        raise click.UsageError(f"{local} is a folder: use -r to upload it with everything in it")
    if path and path.endswith("/"):
        path = str(PurePosixPath(path) / Path(local).name)
    with target.session(session) as sandbox, target.printer.progress_bar(local) as on_progress:
        info = sandbox.files.upload(local, path, metadata=metadata, on_progress=on_progress)
    target.printer.print(dataclasses.asdict(info), info.path)
    return 0


@files.command(
    name="ls",
    epilog="""\b
Examples:
  sandbox files ls --session my-session
  sandbox files ls --session my-session data --depth 3""",
)
@click.argument("path", default=".")
@click.option("--depth", default=1, show_default=True, type=click.IntRange(min=1), help="Folder levels to list.")
@SESSION_OPTION
@with_target
def list_(target: Target, path: str, depth: int, session: str) -> None:
    """List the folder PATH. Default: the workspace's root."""
    with target.session(session) as sandbox:
        entries = sandbox.files.list(path, depth=depth)
    if target.printer.is_json:
        target.printer.print_json([dataclasses.asdict(entry) for entry in entries])
        return
    for entry in entries:
        modified = entry.modified.strftime("%Y-%m-%d %H:%M") if entry.modified else ""
        name = _printable(entry.path) + ("/" if entry.type == "directory" else "")
        target.printer.print_text(f"{entry.size:>12}  {modified:16}  {name}")


@files.command(
    epilog="""\b
Examples:
  sandbox files find --session my-session '*.csv'
  sandbox files find --session my-session '**/test_*.py' src --exclude node_modules"""
)
@click.argument("pattern")
@_WITHIN
@_EXCLUDE
@_MAX_RESULTS
@SESSION_OPTION
@with_target
def find(target: Target, pattern: str, path: str, exclude: tuple[str, ...], max_results: int, session: str) -> int:
    """List the files and folders below PATH whose name or path matches PATTERN, a glob. Exit code 1: no match."""
    with target.session(session) as sandbox:
        report = sandbox.files.find(pattern, path, exclude=exclude, max_results=max_results)
    for info in () if target.printer.is_json else report.matches:
        target.printer.print_text(_printable(info.path) + ("/" if info.type == "directory" else ""))
    return _end_search(target, report)


@files.command(
    epilog="""\b
Examples:
  sandbox files grep --session my-session 'TODO|FIXME' src
  sandbox files grep --session my-session -F 'a+b' --name '*.py'"""
)
@click.argument("pattern")
@_WITHIN
@click.option("--name", "name_pattern", default="", help="Search only files whose name matches this glob.")
@click.option("-F", "--literal", is_flag=True, help="Treat PATTERN as plain text.")
@click.option("-i", "--ignore-case", is_flag=True, help="Ignore the case of letters.")
@_EXCLUDE
@_MAX_RESULTS
@SESSION_OPTION
@with_target
def grep(target: Target, pattern: str, path: str, session: str, **options: Any) -> int:
    """List the lines that match PATTERN, a regular expression, in text files below PATH. Exit code 1: no match."""
    with target.session(session) as sandbox:
        report = sandbox.files.grep(pattern, path, **options)
    for match in () if target.printer.is_json else report.matches:
        target.printer.print_text(f"{_printable(match.path)}:{match.line}:{_printable(match.text)}")
    return _end_search(target, report)


@files.command(epilog="\b\nExample:\n  sandbox files watch --session my-session results")
@_WITHIN
@click.option("--recursive/--flat", default=True, help="Everything below PATH (the default), or only its entries.")
@SESSION_OPTION
@with_target
def watch(target: Target, path: str, recursive: bool, session: str) -> int:  # noqa: FBT001 - click's
    """Print changes below PATH as they happen, until Ctrl-C."""
    with target.session(session) as sandbox:
        for change in sandbox.files.watch(path, recursive=recursive):
            if target.printer.is_json:
                target.printer.print_json(dataclasses.asdict(change))
            elif change.change == "overflow":
                target.printer.write_stderr(
                    "changes were lost and the watch has ended: list the files, then watch again\n"
                )
            else:
                target.printer.print_text(f"{change.change:8} {_printable(change.path)}")
    return 0


@files.command(
    epilog="""\b
Examples:
  sandbox files rm --session my-session old.csv
  sandbox files rm --session my-session --recursive old/"""
)
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="Remove a folder with everything in it.")
@SESSION_OPTION
@with_target
def rm(target: Target, path: str, recursive: bool, session: str) -> None:  # noqa: FBT001 - click passes it by name
    """Remove PATH from the session."""
    with target.session(session) as sandbox:
        sandbox.files.remove(path, recursive=recursive)
    if target.printer.is_json:
        target.printer.print_json({"path": path, "status": "removed"})


@click.command(
    epilog="""\b
Examples:
  sandbox push my-session
  sandbox push my-session chart.png results/
  sandbox push --session my-session chart.png"""
)
@with_session_and_paths
@with_target
def push(target: Target, name: str, paths: tuple[str, ...]) -> int:
    """Save PATHS of a session to its object storage. Default: everything.

    The first word is the session's name, unless --session gives it. Exit code 1: some files were not saved. Their names
    and the reasons are on standard error.
    """
    with target.session(name) as sandbox, target.printer.progress_bar("Pushing") as show:
        report = sandbox.workspace.push(paths, on_progress=lambda at: show(at.bytes_done, at.bytes_total))
    if target.printer.is_json:
        target.printer.print_json(dataclasses.asdict(report))
    else:
        target.printer.print_text(
            f"{report.files_saved} files are saved ({report.files_moved} transferred, {report.bytes_moved} bytes), "
            f"generation {report.generation}"
        )
        for failure in report.failed:
            target.printer.write_stderr(f"not saved: {_printable(failure.path)}: {failure.reason}\n")
    return EXIT_FAILED if report.failed else 0


def _read_metadata(pairs: tuple[str, ...]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _show_tree(target: Target, report: TreeReport, folder: str) -> int:
    value = {"path": folder, **dataclasses.asdict(report)}
    target.printer.print(value, f"{folder}: {report.files} files, {report.bytes} bytes")
    for path in report.skipped:
        target.printer.write_stderr(f"skipped, not a regular file: {_printable(path)}\n")
    for failure in report.failed:
        target.printer.write_stderr(f"not copied: {_printable(failure.path)}: {_printable(failure.reason)}\n")
    return EXIT_FAILED if report.failed else 0


def _end_search(target: Target, report: SearchReport[Any]) -> int:
    if target.printer.is_json:
        target.printer.print_json(dataclasses.asdict(report))
    elif report.limit:
        target.printer.write_stderr(f"there may be more: the search stopped at its limit ({report.limit})\n")
    return 0 if report.matches else EXIT_FAILED


def _printable(name: str) -> str:
    # User code chose these names. Their control characters must not reach the terminal.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in name)
