"""Serves SessionService, for the operator on the control port."""

from __future__ import annotations

import asyncio
import logging
import time
from importlib import metadata
from typing import TYPE_CHECKING, Final

from sandbox_agent.durations import duration_seconds
from sandbox_agent.session.gate import State
from sandbox_agent.session.limits import read_binding
from sandbox_agent.session.startup_restore import RestorePhase
from sandbox_link.protocol import OperationError, invalid
from sandbox_link.validation import shorten
from sandbox_proto.v1 import session_pb2, session_pb2_grpc, workspace_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.duration_pb2 import Duration

    from sandbox_agent.processes.registry import BackgroundRegistry
    from sandbox_agent.server.interceptors import Context
    from sandbox_agent.session.bound_session import BoundSession
    from sandbox_agent.session.gate import SessionGate
    from sandbox_agent.storage.workspace import Workspace

MAX_WAIT: Final = 300.0
"""Maximum number of seconds that Bind and Describe wait for the restore."""
STATUS_TIMEOUT: Final = 10.0
"""Seconds that the status of the workspace may take."""
STATUS_TIMEOUT_WITHOUT_CREDENTIALS: Final = 1.0
"""The same while storage waits for credentials: the operator, which sends them, waits for this answer first."""
ANSWER_SECONDS: Final = 0.5
"""Seconds before the caller's deadline at which a status that is not there is reported as missing."""
CANCEL_TIMEOUT: Final = 10.0
"""Seconds that a drain may take to stop when its time limit is over."""
_MAX_SHOWN: Final = 200
LAST_PUSH_RETRY: Final = 1.0
"""Seconds between two attempts of the last push."""
_STATE: Final = {
    State.BLANK: session_pb2.SessionDescription.STATE_BLANK,
    State.BOUND: session_pb2.SessionDescription.STATE_BOUND,
    State.DRAINING: session_pb2.SessionDescription.STATE_DRAINING,
    State.DRAINED: session_pb2.SessionDescription.STATE_DRAINED,
}
_RESTORE: Final = {
    RestorePhase.IDLE: session_pb2.SessionDescription.RESTORE_STATE_UNSPECIFIED,
    RestorePhase.RUNNING: session_pb2.SessionDescription.RESTORE_STATE_RUNNING,
    RestorePhase.DONE: session_pb2.SessionDescription.RESTORE_STATE_DONE,
    RestorePhase.FAILED: session_pb2.SessionDescription.RESTORE_STATE_FAILED,
}

_log = logging.getLogger(__name__)


class SessionServicer(session_pb2_grpc.SessionServiceServicer):
    """The gRPC service SessionService, as session.proto documents it."""

    def __init__(self, gate: SessionGate, count_running: Callable[[], int], processes: BackgroundRegistry) -> None:
        self._gate = gate
        self._count_running = count_running
        self._processes = processes
        self._version = metadata.version("sandbox-operator")
        self._drain: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[workspace_pb2.WorkspaceStatus] | None = None
        self._checks: set[asyncio.Task[workspace_pb2.WorkspaceStatus]] = set()

    async def Bind(self, request: session_pb2.BindRequest, context: Context) -> session_pb2.SessionDescription:
        await self._gate.bind(read_binding(request))
        # A runtime that was bound before this agent may run processes that an earlier agent started.
        if self._gate.session is not None and self._gate.runtime_uid == self._gate.session_uid:
            await self._processes.adopt(self._gate.session)
        return await self._describe_after(request.wait, context)

    async def Renew(self, request: session_pb2.RenewRequest, context: Context) -> session_pb2.SessionDescription:
        self._gate.renew(request.session_uid, request.s3)
        return await self._describe(context)

    async def SetLifetime(
        self, request: session_pb2.SetLifetimeRequest, context: Context
    ) -> session_pb2.SessionDescription:
        remaining = duration_seconds(request.remaining) if request.HasField("remaining") else None
        if remaining is not None and not 0 <= remaining < float("inf"):
            raise invalid("remaining", "remaining must not be negative")
        self._gate.set_lifetime(request.session_uid, remaining)
        return await self._describe(context)

    async def Drain(self, request: session_pb2.DrainRequest, context: Context) -> session_pb2.SessionDescription:
        session = self._gate.require_uid(request.session_uid)
        grace, limit = (_read_seconds(request, name) for name in ("grace", "time_limit"))
        # A task of its own: it continues if the operator gives up, and a repeated call joins it.
        if self._drain is None or (self._drain.done() and self._gate.state is not State.DRAINED):
            self._drain = asyncio.create_task(
                self._drain_session(session, grace, require_all=request.require_all_files)
            )
            self._drain.add_done_callback(_log_drain)
        draining = self._drain
        if not (await asyncio.wait({draining}, timeout=limit or None))[0]:
            draining.cancel()
            await asyncio.wait({draining}, timeout=CANCEL_TIMEOUT)
            message = f"the session was not saved within {limit:g} s: try again, or end it without its latest changes"
            raise OperationError("DEADLINE_EXCEEDED", "DRAIN_TIMEOUT", message)
        await draining
        self._checking = None  # it may have begun before the last push
        return await self._describe(context)

    async def Describe(self, request: session_pb2.DescribeRequest, context: Context) -> session_pb2.SessionDescription:
        return await self._describe_after(request.wait, context)

    async def save_last(self, grace: float, seconds: float) -> None:
        """Save unsaved changes when the process has to stop, as its pod may be about to end. Never raises.

        This is not a drain: the session's state does not change, and the operator is not notified.

        Args:
            grace: Seconds that running work gets to end.
            seconds: Time limit for everything. 0: do nothing.
        """
        session = self._gate.session
        if not seconds or session is None or session.stored is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._save_last(session, session.stored, grace)
        except TimeoutError:
            _log.warning("stopping before everything was saved", extra={"session": session.session_name})
        except Exception:  # noqa: BLE001 - a bug must not keep the process from closing down
            _log.exception("the last push failed unexpectedly")

    async def close(self) -> None:
        """Cancel a running drain, and running statuses."""
        tasks = [*self._checks, *([self._drain] if self._drain is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drain_session(self, session: BoundSession, grace: float, *, require_all: bool) -> None:
        gate = self._gate
        gate.state = State.DRAINING
        saving = session.stored.autosave if session.stored is not None else None
        try:
            await self._finish_and_push(session, grace, require_all=require_all)
        except BaseException:
            gate.state = State.BOUND
            if saving is not None:
                saving.start()
            raise
        gate.state = State.DRAINED

    async def _finish_and_push(self, session: BoundSession, grace: float, *, require_all: bool) -> None:
        gate = self._gate
        end = time.monotonic() + grace
        phase = await gate.restoration.wait(grace)
        if phase is RestorePhase.RUNNING:
            message = "the workspace is still being restored: drain again later"
            raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", message)
        if session.stored is None and require_all:
            await _require_no_files(session)  # before anything is ended, because a refused drain changes nothing
        await self._processes.end_all(max(0.0, end - time.monotonic()))
        if not await gate.wait_until_quiet(max(0.0, end - time.monotonic())):
            _log.warning("work continues after the grace period of a drain", extra={"active": gate.active})
        # After a failed restore no call was accepted, and a push would replace the stored workspace with a part.
        if session.stored is not None and phase is RestorePhase.DONE:
            await _push_last(session, session.stored, require_all=require_all)
        elif session.stored is None and require_all:
            await _require_no_files(session)

    async def _save_last(self, session: BoundSession, stored: Workspace, grace: float) -> None:
        if self._drain is not None:
            await asyncio.wait({self._drain})
        if self._gate.state is State.DRAINED or await self._gate.restoration.wait() is not RestorePhase.DONE:
            return
        await self._gate.wait_until_quiet(grace)
        while True:
            try:
                await _push_last(session, stored)
            except OperationError as error:
                _log.warning("the last push failed", extra={"reason": error.reason, "error": error.message})
                if error.reason == "RUNTIME_UNAVAILABLE":
                    return  # the containers of a pod that ends are not restarted
                await asyncio.sleep(LAST_PUSH_RETRY)
            else:
                _log.info("the last push is done", extra={"session": session.session_name})
                return

    async def _describe_after(self, wait: Duration, context: Context) -> session_pb2.SessionDescription:
        """Describe the session at the end of the restore, or after `wait`."""
        seconds = duration_seconds(wait)
        if seconds > 0:
            await self._gate.restoration.wait(min(seconds, MAX_WAIT))
        return await self._describe(context)

    async def _describe(self, context: Context) -> session_pb2.SessionDescription:
        gate = self._gate
        description = session_pb2.SessionDescription(
            state=_STATE[gate.state],
            session_uid=gate.session_uid,
            restore=_RESTORE[gate.restoration.phase],
            restore_error=gate.restoration.error,
            running=self._count_running() + self._processes.running,
            processes=self._processes.running,
            processes_ended=self._processes.ended_by_drain,
            runtime_ready=bool(gate.runtime.runtime_id),
            runtime_id=gate.runtime.runtime_id,
            agent_version=self._version,
        )
        last_active = time.time() if gate.active else gate.last_active
        description.last_active.FromMilliseconds(int(last_active * 1000))
        description.idle.FromMilliseconds(int(gate.idle * 1000))
        if (remaining := gate.remaining_lifetime) is not None:
            description.remaining_lifetime.FromMilliseconds(int(remaining * 1000))
        if gate.session is not None and gate.session.stored is not None:
            stored = gate.session.stored
            if gate.restoration.phase is not RestorePhase.RUNNING:
                description.workspace.CopyFrom(await self._status(stored, context.time_remaining()))
            description.needs_credentials = stored.needs_credentials
            if stored.credentials_expire_at is not None:
                description.credentials_expire_at.FromDatetime(stored.credentials_expire_at)
        return description

    async def _status(self, workspace: Workspace, remaining: float | None) -> workspace_pb2.WorkspaceStatus:
        """Return the status of the workspace. If that takes too long, say so: the caller needs the other fields.

        A slow status continues, and the next call gets its result.

        Args:
            workspace: The session's workspace.
            remaining: Seconds until the caller's deadline. None if it has none.
        """
        limit = STATUS_TIMEOUT_WITHOUT_CREDENTIALS if workspace.needs_credentials else STATUS_TIMEOUT
        if remaining is not None:
            limit = min(limit, max(remaining - ANSWER_SECONDS, remaining / 2))
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(workspace.status())
            self._checks.add(self._checking)
            self._checking.add_done_callback(self._checks.discard)
        checking = self._checking
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(checking)
        except (OperationError, TimeoutError) as error:
            # An unknown state counts as unsaved.
            return workspace_pb2.WorkspaceStatus(last_error=str(error) or "the status took too long", dirty=True)


def _log_drain(task: asyncio.Task[None]) -> None:
    """Log the error of a drain, as the operator that asked for it may have disconnected."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.warning("drain failed: %s", error)


async def _push_last(session: BoundSession, stored: Workspace, *, require_all: bool = False) -> None:
    if stored.autosave is not None:
        # No automatic push may lock the workspace when the pod is about to end.
        await stored.autosave.stop()
    done = await stored.push_last(session.session_name.rpartition("/")[2])
    if done.failed:
        first = done.failed[0]
        extra = {"files": len(done.failed), "first": first.path, "reason": first.reason}
        _log.warning("files were not saved", extra=extra)
        if require_all:
            raise _not_saved(done)
    if session.variables is not None:
        # After the files, as the variables belong to their commit.
        await session.variables.save()


def _not_saved(done: workspace_pb2.PushDone) -> OperationError:
    first = done.failed[0]
    name = repr(shorten(first.path[:_MAX_SHOWN])) if first.path else "some"
    others = f" and {len(done.failed) - 1} more" if len(done.failed) > 1 else ""
    message = f"not saved: {name}{others} ({first.reason}); `workspace.unsaved` has the names. Rename or remove them"
    return OperationError("FAILED_PRECONDITION", "FILES_NOT_SAVED", message)


async def _require_no_files(session: BoundSession) -> None:
    """Check that a session without storage has no files: its end deletes them.

    Raises:
        OperationError: FAILED_PRECONDITION, FILES_NOT_SAVED.
    """
    # Only here: other agents without storage do not pay for the import.
    from sandbox_agent.storage.context import DEFAULT_EXCLUDE  # noqa: PLC0415
    from sandbox_agent.storage.sandbox.scanner import Scanner  # noqa: PLC0415

    scanned = await Scanner(session.runtime).scan((), DEFAULT_EXCLUDE)
    paths = [*scanned.found, *(path for path, _ in scanned.left_out)]
    if paths:
        message = (
            f"the session has no storage, so its {len(paths)} files would be lost, such as "
            f"{shorten(paths[0][:_MAX_SHOWN])!r}: download and remove them, or delete the session. To keep "
            "files, set the chart's storage.bucket; to lose them, the template's lifecycle.onUnsavedFiles: Suspend"
        )
        raise OperationError("FAILED_PRECONDITION", "FILES_NOT_SAVED", message)


def _read_seconds(request: session_pb2.DrainRequest, name: str) -> float:
    seconds = duration_seconds(getattr(request, name))
    if not 0 <= seconds < float("inf"):
        raise invalid(name, f"{name} must not be negative")
    return seconds
