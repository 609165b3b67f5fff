"""Creates, finds, connects to, suspends, resumes and deletes the local sessions that outlive a command."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import (
    FailedPrecondition,
    SandboxError,
    SandboxUnavailable,
    SessionFailed,
)
from sandbox_client.local.durations import MAX_SECONDS, seconds_of
from sandbox_client.local.named.keeper_calls import call_keeper
from sandbox_client.local.named.launch import launch
from sandbox_client.local.named.record import Phase, Record, load_record, make_record, save_record, stored_files
from sandbox_client.local.named.registry import INCOMPLETE, KEEPER_LOCK, Registry
from sandbox_client.local.named.reports import describe_failure
from sandbox_client.local.named.state_files import wait_unlocked, write_private
from sandbox_client.local.named.strays import end_strays, remove_run_folder
from sandbox_client.options import ignore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sandbox_client.lifecycle.durations import Duration
    from sandbox_client.local.named.record import LocalRequest
    from sandbox_client.options import LocalOptions

_CHANGE_TIMEOUT: Final = 60.0
"""Seconds to wait while another program changes the session."""
_END_TIMEOUT: Final = 30.0
"""Seconds for a session's processes to end."""
_SAVE_TIMEOUT: Final = 630.0
"""Seconds for a suspend, which saves all files."""
_RECORD_TIMEOUT: Final = 2.0
"""Seconds between the creation of a session's folder and of its record, on a very slow disk."""
_POLL: Final = 0.05


async def create(request: LocalRequest, options: LocalOptions) -> Record:
    """Create and start a session.

    Args:
        request: The session.
        options: Every option of LocalOptions.

    Raises:
        Conflict: There is a session of that name, or its stored files would replace those in the workspace folder.
        InvalidArgument: An option is wrong; `field` names it.
        SessionFailed: It did not start.
    """
    registry, on_progress = Registry(), options["on_progress"] or ignore
    record = make_record(registry.folder(request.name), request, options)
    folder = registry.add(request.name)
    async with _changing(registry, request.name):
        try:
            save_record(folder, record)
            await launch(folder, on_progress)
            return _ready(folder)
        except BaseException:
            registry.remove(request.name)
            raise


async def resume(name: str, on_progress: Callable[[str], object] = ignore) -> Record:
    """Start a session that is suspended or failed. Do nothing if it is Ready.

    Raises:
        NotFound: There is no session of that name.
        SessionFailed: It did not start.
    """
    registry = Registry()
    async with _changing(registry, name) as folder:
        record = registry.read(name, is_changing=False)
        if record.phase is Phase.READY:
            return record
        await _wait_end(record, folder)
        await asyncio.to_thread(_clean, folder, record)
        if record.was_saved and record.options.get("keep_variables"):
            # Variables are restored only together with the files that belong to them.
            (folder / "home" / ".sandbox-marks.json").unlink(missing_ok=True)
        await launch(folder, on_progress)
        return _ready(folder)


async def find_ready(
    name: str,
    *,
    wakes: bool = True,
    timeout: float = 120.0,  # noqa: ASYNC109 - a bound for others' work
    on_progress: Callable[[str], object] = ignore,
) -> tuple[Record, bool]:
    """Return a session that clients can connect to, and whether it was suspended.

    Args:
        name: The session's name.
        wakes: Whether a suspended session is resumed.
        timeout: Seconds to wait while another program starts or suspends it.
        on_progress: Called with a description of each step of a start.

    Raises:
        NotFound: There is no session of that name.
        SessionFailed: It failed, or is suspended and `wakes` is false, or is still being changed.
    """
    registry, deadline = Registry(), time.monotonic() + timeout
    may_appear = time.monotonic() + _RECORD_TIMEOUT
    while True:
        try:
            record = registry.read(name)
        except SessionFailed as error:
            if error.reason != INCOMPLETE or time.monotonic() >= may_appear:
                raise
            await asyncio.sleep(_POLL)
            continue
        if record.phase is Phase.READY:
            return record, False
        if record.phase is Phase.SUSPENDED:
            if not wakes:
                message = f"{record.address} is suspended. Resume it: sandbox resume {record.address}"
                raise SessionFailed(message, reason="NOT_READY")
            return await resume(name, on_progress), True
        if record.phase is Phase.FAILED:
            raise SessionFailed(describe_failure(record), reason="NOT_READY")
        if time.monotonic() >= deadline:
            message = f"{record.address} is not ready: another command has been changing it for {timeout:g} s"
            raise SessionFailed(message, reason="NOT_READY")
        await asyncio.sleep(_POLL)


async def suspend(name: str) -> Record:
    """Save a session's files and end its processes. Do nothing if it is suspended.

    Raises:
        NotFound: There is no session of that name.
        SessionFailed: It failed.
        SandboxError: It could not be saved. It goes on.
    """
    registry = Registry()
    async with _changing(registry, name) as folder:
        record = registry.read(name, is_changing=False)
        if record.phase is Phase.FAILED:
            raise SessionFailed(describe_failure(record), reason="NOT_READY")
        if record.phase is Phase.READY:
            await call_keeper(record, "suspend", seconds=_SAVE_TIMEOUT)
        await _wait_end(record, folder)
        return registry.read(name, is_changing=False)


async def delete(name: str) -> Path | None:
    """End a session and remove its folder. A workspace folder that the user chose stays, and so do pushed files.

    Returns:
        The folder with the pushed files, or None if there are none.

    Raises:
        NotFound: There is no session of that name.
        SessionFailed: Its processes do not end.
    """
    registry = Registry()
    async with _changing(registry, name) as folder:
        try:
            record = load_record(folder)
        except (SandboxError, OSError):
            # A damaged session must be removable.
            record = None
        if registry.is_alive(name):
            with contextlib.suppress(SandboxUnavailable):
                if record is not None:
                    await call_keeper(record, "delete", seconds=5)
            if record is None or not await asyncio.to_thread(wait_unlocked, folder / KEEPER_LOCK, _END_TIMEOUT):
                await _stop_keeper(folder)
        await asyncio.to_thread(_clean, folder, record)
        await asyncio.to_thread(registry.remove, name)
    if record is None:
        return None
    stored = stored_files(Path(record.store), name)
    with contextlib.suppress(OSError):
        # The agent creates it, even if nothing is ever saved.
        stored.rmdir()
    return stored if stored.exists() else None


async def set_expiry(name: str, expires: Duration | dt.datetime | None) -> Record:
    """Move the end of a running session's lifetime. It lasts at most 28 days.

    Args:
        name: The session's name.
        expires: A duration from now, or the time. None restores the end that the session had at its start.

    Raises:
        NotFound: There is no session of that name.
        SessionFailed: It does not run.
    """
    registry = Registry()
    async with _changing(registry, name):
        record = registry.read(name, is_changing=False)
        if record.phase is not Phase.READY or record.run is None:
            raise SessionFailed(f"{record.address} does not run: it is {record.phase}", reason="NOT_READY")
        if expires is None:
            moment = record.run.started_at + record.lifetime
        elif isinstance(expires, dt.datetime):
            moment = expires.timestamp()
        else:
            moment = time.time() + seconds_of(expires, "expires")
        # The certificates of a run are not renewed.
        await call_keeper(record, "expire", seconds=5, expires_at=min(moment, record.run.started_at + MAX_SECONDS))
        return registry.read(name, is_changing=False)


@contextlib.asynccontextmanager
async def _changing(registry: Registry, name: str) -> AsyncIterator[Path]:
    """Wait for the lock for changes, hold it, and yield the session's folder. Errors as for `Registry.changing`."""
    deadline = time.monotonic() + _CHANGE_TIMEOUT
    with contextlib.ExitStack() as stack:
        while True:
            try:
                folder = stack.enter_context(registry.changing(name))
                break
            except FailedPrecondition:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(_POLL)
        yield folder


def _ready(folder: Path) -> Record:
    """Return the record of a session that has just started, and write the files for clients in other languages."""
    record = load_record(folder)
    if record.run is None:
        raise AssertionError("a session that is Ready has a run")
    write_private(folder / "ca.crt", record.run.ca_certificate.encode())
    write_private(folder / "token", record.run.token.encode())
    return record


async def _wait_end(record: Record, folder: Path) -> None:
    if not await asyncio.to_thread(wait_unlocked, folder / KEEPER_LOCK, _END_TIMEOUT):
        raise SessionFailed(f"the processes of {record.address} do not end: delete it", reason="BUSY")


async def _stop_keeper(folder: Path) -> None:
    """End a keeper that does not answer. If it is killed, its process guard ends the rest."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            # The lock says that the keeper lives, so the id is still its own.
            os.kill(int((folder / KEEPER_LOCK).read_text()), number)
        if await asyncio.to_thread(wait_unlocked, folder / KEEPER_LOCK, _END_TIMEOUT):
            return
    raise SessionFailed(f"the processes of local/{folder.name} do not end", reason="BUSY")


def _clean(folder: Path, record: Record | None) -> None:
    """End and remove what the last run left, if its process guard could not."""
    end_strays(folder / "home")
    remove_run_folder(record.run if record else None)
