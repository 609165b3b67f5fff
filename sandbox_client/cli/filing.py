"""`sandbox files` and `sandbox push`: files of a session."""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePosixPath

import click

from sandbox_client.cli.output import EXIT_FAILED
from sandbox_client.cli.target import Target, with_target

_SESSION = click.option("--session", required=True, help="Name of a session in the cluster.")


@click.group(epilog="\b\nExample:\n  sandbox files put --session my-session data.csv")
def files() -> None:
    """Files of a session's workspace."""


@files.command(
    epilog="""\b
Examples:
  sandbox files get --session my-session chart.png
  sandbox files get --session my-session data/out.csv ./results/"""
)
@click.argument("path")
@click.argument("local", required=False)
@_SESSION
@with_target
def get(target: Target, path: str, local: str | None, session: str) -> None:
    """Fetch PATH from the workspace to LOCAL (the current folder by default)."""
    with target.session(session) as sandbox, target.terminal.bar(path) as on_progress:
        saved = sandbox.files.download(path, local, on_progress=on_progress)
    if target.terminal.is_json:
        target.terminal.show({"path": path, "local": str(saved), "size": saved.stat().st_size})
    target.terminal.say(str(saved))


@files.command(
    epilog="""\b
Examples:
  sandbox files put --session my-session data.csv
  sandbox files put --session my-session data.csv input/data.csv"""
)
@click.argument("local", type=click.Path(exists=True, dir_okay=False))
@click.argument("path", required=False)
@_SESSION
@with_target
def put(target: Target, local: str, path: str | None, session: str) -> None:
    """Send LOCAL to PATH in the workspace (its own name by default)."""
    if path and path.endswith("/"):
        path = str(PurePosixPath(path) / Path(local).name)
    with target.session(session) as sandbox, target.terminal.bar(local) as on_progress:
        info = sandbox.files.upload(local, path, on_progress=on_progress)
    if target.terminal.is_json:
        target.terminal.show(dataclasses.asdict(info))
    target.terminal.say(info.path)


@files.command(
    name="ls",
    epilog="""\b
Examples:
  sandbox files ls --session my-session
  sandbox files ls --session my-session data --depth 3""",
)
@click.argument("path", default=".")
@click.option("--depth", default=1, show_default=True, type=click.IntRange(min=1), help="Levels of folders.")
@_SESSION
@with_target
def list_(target: Target, path: str, depth: int, session: str) -> None:
    """List PATH, the workspace's root by default."""
    with target.session(session) as sandbox:
        entries = sandbox.files.list(path, depth=depth)
    if target.terminal.is_json:
        target.terminal.show([dataclasses.asdict(entry) for entry in entries])
        return
    for entry in entries:
        modified = entry.modified.strftime("%Y-%m-%d %H:%M") if entry.modified else ""
        name = _printable(entry.path) + ("/" if entry.type == "directory" else "")
        target.terminal.say(f"{entry.size:>12}  {modified:16}  {name}")


@files.command(
    epilog="""\b
Examples:
  sandbox files rm --session my-session old.csv
  sandbox files rm --session my-session --recursive old/"""
)
@click.argument("path")
@click.option("-r", "--recursive", is_flag=True, help="Also a folder and all below it.")
@_SESSION
@with_target
def rm(target: Target, path: str, recursive: bool, session: str) -> None:  # noqa: FBT001 - click passes it by name
    """Remove PATH from the workspace."""
    with target.session(session) as sandbox:
        sandbox.files.remove(path, recursive=recursive)
    if target.terminal.is_json:
        target.terminal.show({"path": path, "status": "removed"})


@click.command(
    epilog="""\b
Examples:
  sandbox push my-session
  sandbox push my-session chart.png results/"""
)
@click.argument("session")
@click.argument("paths", nargs=-1)
@with_target
def push(target: Target, session: str, paths: tuple[str, ...]) -> int:
    """Save PATHS of SESSION (everything by default) to its object storage."""
    with target.session(session) as sandbox, target.terminal.bar("Pushing") as show:
        report = sandbox.workspace.push(paths, on_progress=lambda at: show(at.bytes_done, at.bytes_total))
    if target.terminal.is_json:
        target.terminal.show(dataclasses.asdict(report))
    else:
        target.terminal.say(
            f"{report.files_saved} files are saved ({report.files_moved} moved, {report.bytes_moved} bytes), "
            f"generation {report.generation}"
        )
        for failure in report.failed:
            target.terminal.write_stderr(f"not saved: {_printable(failure.path)}: {failure.reason}\n")
    return EXIT_FAILED if report.failed else 0


def _printable(name: str) -> str:
    # Names come from user code: control characters would reach the terminal.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in name)
