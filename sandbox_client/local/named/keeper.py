"""The process that keeps a local session: `python -m sandbox_client.local.named.keeper FOLDER`.

It outlives the command that created the session. It starts the session's processes and ends them at the idle timeout,
at the end of the lifetime, and when a client asks. If it is killed itself, the process guard below it ends them.

Standard output gets one line of JSON for each step of the start, and then one with `ready` or `error`. Standard input
ends if the starting command is interrupted. Until the session is ready, this ends the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument, SandboxError, SessionFailed
from sandbox_client.local.named.keeper_calls import SOCKET, encode
from sandbox_client.local.named.record import Phase, Record, Run, load_record, save_record
from sandbox_client.local.named.registry import KEEPER_LOCK, Registry
from sandbox_client.local.named.state_files import lock
from sandbox_client.local.named.strays import end_strays
from sandbox_client.local.session import Places, RunningSession, start_session
from sandbox_client.options import LOCAL_DEFAULTS, complete

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCK_TIMEOUT: Final = 10.0
"""Seconds to get the lock. Programs that look at the session hold it for a moment."""
_POLL: Final = 1.0
"""Seconds between two looks at the processes."""
_IDLE_RETRY: Final = 10.0
"""Seconds until the agent is asked again after it did not answer."""

_log = logging.getLogger("sandbox_client.local.named.keeper")


class Keeper:
    """The keeper of one session.

    Args:
        folder: The session's folder.
        record: The session.
        session: Its processes.

    Attributes:
        removes_folder: Whether the session's folder is removed at its end.
    """

    def __init__(self, folder: Path, record: Record, session: RunningSession) -> None:
        endpoint, now = session.endpoint, time.time()
        run = Run(
            folder=str(session.folder),
            address=endpoint.address,
            token=endpoint.token,
            server_name=endpoint.server_name,
            ca_certificate=endpoint.ca_certificate.decode(),
            started_at=now,
            expires_at=now + record.lifetime,
        )
        self.removes_folder = False
        self._folder = folder
        self._record = dataclasses.replace(record, phase=Phase.READY, run=run, was_saved=False, problem="")
        self._session = session
        self._ended = asyncio.Event()
        self._saving = asyncio.Lock()
        self._check_idle_at = time.monotonic()

    async def open(self) -> contextlib.AsyncExitStack:
        """Accept calls of clients, and write the record. Return a stack whose closing ends the calls."""
        resources = contextlib.AsyncExitStack()
        server = await asyncio.start_unix_server(self._serve, self._session.folder / SOCKET)
        resources.callback(server.close)
        save_record(self._folder, self._record)
        return resources

    async def keep(self) -> None:
        """Wait for the end of the session. Its processes still run then, unless they crashed."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL):
                    await _first_of(self._ended, stopped)
            if problem := self._find_crash():
                _log.error("%s", problem)
                self._end(Phase.FAILED, problem)
            elif stopped.is_set():
                await self._suspend("SIGTERM")
            elif time.time() >= self._run.expires_at:
                await self._end_as(self._record.on_expiry, "the end of the lifetime")
            elif await self._is_idle():
                await self._end_as(self._record.on_idle, f"{self._record.idle_timeout:g} s without use")

    @property
    def _run(self) -> Run:
        if self._record.run is None:
            raise AssertionError("a session that runs has a run")
        return self._record.run

    def _find_crash(self) -> str:
        """Return what ended unexpectedly, or ""."""
        if self._session.guard.poll() is not None:
            return f"its process guard ended{_describe(self._session.guard.returncode)}"
        with contextlib.suppress(FileNotFoundError, ValueError):
            fact = json.loads((self._session.folder / "exited.json").read_text())
            return f"its {fact['name']} process ended{_describe(fact['code'])}"
        return ""

    async def _is_idle(self) -> bool:
        if time.monotonic() < self._check_idle_at:
            return False
        try:
            left = self._record.idle_timeout - await self._session.control.idle_seconds()
        except SandboxError as error:
            _log.warning("the agent does not say how long it has been idle: %s", error)
            left = _IDLE_RETRY
        # Earlier than this it cannot have been idle for long enough.
        self._check_idle_at = time.monotonic() + left
        return left <= 0

    async def _end_as(self, choice: str, why: str) -> None:
        if choice == "delete":
            _log.info("deleting the session: %s", why)
            self.removes_folder = True
            self._ended.set()
        else:
            await self._suspend(why)

    async def _suspend(self, why: str) -> None:
        """Save and end the session. It also ends if it cannot be saved, as its files stay in the workspace."""
        _log.info("suspending the session: %s", why)
        try:
            await self._save_and_end()
        except SandboxError as error:
            _log.exception("the session could not be saved")
            rest = f"All files are still in {self._record.workspace}"
            self._end(Phase.SUSPENDED, f"the last save to the store failed: {error}. {rest}")

    async def _save_and_end(self) -> None:
        async with self._saving:
            if not self._ended.is_set():
                await self._session.control.drain(self._record.uid)
                self._end(Phase.SUSPENDED, was_saved=True)

    def _end(self, phase: Phase, problem: str = "", *, was_saved: bool = False) -> None:
        if self._ended.is_set():
            return
        self._save(phase=phase, problem=problem, was_saved=was_saved)
        self._ended.set()

    def _save(self, **changes: Any) -> None:
        self._record = dataclasses.replace(self._record, **changes)
        try:
            save_record(self._folder, self._record)
        except OSError:
            # On a full disk the last record stays. Clients then see that this process has ended.
            _log.exception("the record could not be written")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                await self._carry_out(json.loads(await reader.readline()))
                answer: Mapping[str, Any] = {"ok": True}
            except SandboxError as error:
                answer = error.to_dict()
            except (ValueError, TypeError, KeyError) as error:
                answer = InvalidArgument(f"not a request: {error}").to_dict()
            writer.write(encode(answer))
            await writer.drain()
            writer.close()

    async def _carry_out(self, request: Mapping[str, Any]) -> None:
        verb = request["verb"]
        _log.info("a client asks: %s", verb)
        if verb == "suspend":
            await self._save_and_end()
        elif verb == "delete":
            self._ended.set()
        elif verb == "expire":
            self._save(run=dataclasses.replace(self._run, expires_at=float(request["expires_at"])))
        else:
            raise InvalidArgument(f"{verb!r} is not known", field="verb")


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _describe(code: int) -> str:
    """Return the end of a sentence about a process that ended."""
    if code >= 0:
        return f" with exit code {code}"
    with contextlib.suppress(ValueError):
        return f" by {signal.Signals(-code).name}"
    return f" by signal {-code}"


def _report(fact: Mapping[str, Any]) -> None:
    # The command that started this process may have ended.
    with contextlib.suppress(OSError):
        os.write(1, encode(fact))


async def _start(folder: Path, record: Record) -> RunningSession:
    """Start the session's processes.

    Raises:
        SandboxError: They did not start.
        OSError: The same.
    """
    # Another version may have written the record, with other options.
    known = {name: value for name, value in record.options.items() if name in LOCAL_DEFAULTS}
    options: Any = complete({**known, "on_progress": lambda step: _report({"step": step})}, LOCAL_DEFAULTS)
    places = Places(Path(record.workspace), Path(record.store), folder / "home", folder)
    starting = asyncio.ensure_future(start_session(places, record.uid, options))
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        # Only once: a second cancellation would interrupt the cleanup.
        loop.remove_reader(0)
        loop.remove_signal_handler(signal.SIGTERM)
        starting.cancel()

    loop.add_reader(0, interrupt)
    loop.add_signal_handler(signal.SIGTERM, interrupt)
    try:
        return await starting
    except asyncio.CancelledError:
        raise SessionFailed("the start was interrupted", reason="INTERRUPTED") from None
    finally:
        loop.remove_reader(0)


async def _keep(folder: Path) -> int:
    record = load_record(folder)
    async with contextlib.AsyncExitStack() as resources:
        try:
            session = await _start(folder, record)
            await resources.enter_async_context(session.resources)
            keeper = Keeper(folder, record, session)
            await resources.enter_async_context(await keeper.open())
        except (SandboxError, OSError) as error:
            _log.exception("the session did not start")
            failure = _to_sandbox_error(error)
            _report(failure.to_dict())
            save_record(folder, dataclasses.replace(record, phase=Phase.FAILED, problem=failure.message))
            return 1
        _report({"ready": True})
        _log.info("the session is ready")
        _leave_pipes()
        await keeper.keep()
    end_strays(folder / "home")
    if keeper.removes_folder:
        Registry(folder.parent).remove(folder.name)
    return 0


def _to_sandbox_error(error: SandboxError | OSError) -> SandboxError:
    if isinstance(error, SandboxError):
        return error
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return SessionFailed(text, reason=type(error).__name__)


def _leave_pipes() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def main() -> int:
    """Keep the session of the folder that the command line names, and return the exit status."""
    folder = Path(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    descriptor = os.open(folder / KEEPER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not lock(descriptor, _LOCK_TIMEOUT):
        _report(SessionFailed(f"another process keeps local/{folder.name}", reason="BUSY").to_dict())
        return 1
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return asyncio.run(_keep(folder))


if __name__ == "__main__":
    sys.exit(main())
