"""Keeps the session that this agent serves and decides whether it may take work now. Every service asks it first.

Knows nothing of gRPC: services/session.py passes the operator's requests on. Use it on one event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hmac
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sandbox_agent.session.bound_session import BoundSession
from sandbox_agent.session.startup_restore import RestorePhase, StartupRestore
from sandbox_agent.storage.timeouts import time_limit
from sandbox_link.protocol import OperationError, Runtime

if TYPE_CHECKING:
    from sandbox_agent.session.limits import Binding
    from sandbox_agent.storage.workspace import Workspace
    from sandbox_proto.v1.session_pb2 import S3Store, WorkspaceBinding

WorkspaceBuilder = Callable[["WorkspaceBinding", Runtime, str], "Workspace"]
"""Builds a workspace from the binding, the runtime, and the session's name and uid, which identify the writer."""

_log = logging.getLogger(__name__)


class State(enum.Enum):
    """States of an agent, named as in SessionDescription.State without its prefix."""

    BLANK = "BLANK"
    BOUND = "BOUND"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"


class SessionGate:
    """The agent's session, and the rules for which calls it accepts now.

    Attributes:
        state: State of the agent.
        runtime: The runtime in the sandbox.
        restoration: The restore that Bind starts in the background.
        runtime_uid: uid of the session that the runtime was bound to when the link was last connected.
        last_active: Unix time at which a client call or execution last ended; see `active` and `idle`.
    """

    def __init__(
        self,
        runtime: Runtime,
        build_workspace: WorkspaceBuilder,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State.BLANK
        self.runtime = runtime
        # A long restore is not idle time: clients that wait for its end may not have made a call yet.
        self.restoration = StartupRestore(on_end=self._note_activity)
        self.runtime_uid = ""
        self._build_workspace = build_workspace
        self._monotonic = monotonic
        self._note_activity()
        self._binding: Binding | None = None
        self._session: BoundSession | None = None
        self._deadline: float | None = None
        self._active = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._binding_lock = asyncio.Lock()

    @property
    def session_uid(self) -> str:
        """The bound session's uid, or "" while blank."""
        return self._binding.session_uid if self._binding else ""

    @property
    def session(self) -> BoundSession | None:
        """The bound session in any state, or None while blank."""
        return self._session

    @property
    def needs_credentials(self) -> bool:
        """True if storage refused the session's credentials, so that calls wait for Renew."""
        session = self._session
        return session is not None and session.stored is not None and session.stored.needs_credentials

    @property
    def active(self) -> int:
        """Number of client calls and executions that are running."""
        return self._active

    async def require_ready(self, *, fresh: bool = True) -> BoundSession:
        """Return the session, once its workspace is restored and new work may start.

        Args:
            fresh: First fetch what other writers have stored.

        Raises:
            OperationError: FAILED_PRECONDITION with NOT_BOUND, DRAINING or LIFETIME_EXPIRED. UNAVAILABLE with
                STORAGE_UNAVAILABLE if the restore failed: an empty workspace would overwrite the stored one.
        """
        self._require_serving()
        phase = await self.restoration.wait()
        session = self._require_serving()
        if phase is RestorePhase.FAILED:
            message = f"the workspace could not be restored: {self.restoration.error}. Create the session again"
            raise OperationError("UNAVAILABLE", "STORAGE_UNAVAILABLE", message)
        if fresh and session.stored is not None and not session.stored.is_fresh():
            await session.stored.refresh_if_stale()
            session = self._require_serving()
        return session

    def require_bound(self) -> BoundSession:
        """Return the session, even while it restores or drains: for calls that only read or stop something.

        Raises:
            OperationError: FAILED_PRECONDITION with NOT_BOUND or LIFETIME_EXPIRED.
        """
        if self._session is None:
            raise OperationError("FAILED_PRECONDITION", "NOT_BOUND", "no session is bound to this agent yet: try later")
        if self.remaining_lifetime == 0.0:
            message = "this session has expired: it reached its expiry time or its maximum lifetime"
            raise OperationError("FAILED_PRECONDITION", "LIFETIME_EXPIRED", message)
        return self._session

    @property
    def idle(self) -> float:
        """Seconds since `last_active` by the monotonic clock, or 0 while something runs."""
        return 0.0 if self.active else self._monotonic() - self._active_until

    @property
    def remaining_lifetime(self) -> float | None:
        """Seconds until no call is accepted any more, at least 0. None if that never happens."""
        return None if self._deadline is None else max(0.0, self._deadline - self._monotonic())

    def is_token(self, sha256: bytes) -> bool:
        """Return whether this is the SHA-256 of the session's token. Always False while blank."""
        return self._binding is not None and hmac.compare_digest(sha256, self._binding.token_sha256)

    @contextlib.contextmanager
    def activity(self) -> Iterator[None]:
        """Count the block as running work: the session is not idle, and a drain waits for it."""
        self._active += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._active -= 1
            self._note_activity()
            if not self._active:
                self._quiet.set()

    async def wait_until_quiet(self, timeout: float) -> bool:  # noqa: ASYNC109 - a bound, not a cancellation scope
        """Wait at most `timeout` seconds for all work to end, and return whether it did."""
        try:
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    async def bind(self, binding: Binding) -> None:
        """Bind this agent to a session. A repeat for the same uid replaces token hash, lifetime and credentials.

        Raises:
            OperationError: FAILED_PRECONDITION, ALREADY_BOUND, or the error of the runtime's `configure`.
        """
        async with self._binding_lock:
            if self._binding is not None and self._binding.session_uid != binding.session_uid:
                message = f"this agent already serves session {self._binding.session_uid}"
                raise OperationError("FAILED_PRECONDITION", "ALREADY_BOUND", message, "session_uid")
            answer = await _configure(self.runtime, binding)
            if self._session is None:
                self._start_session(binding, restored=answer.get("restored") is True)
            else:
                self._binding = binding
                self._renew_from(binding)
            self.set_lifetime(binding.session_uid, binding.max_lifetime)

    def renew(self, session_uid: str, store: S3Store) -> None:
        """Replace the storage credentials. A restore that failed starts again with the new ones.

        Raises:
            OperationError: FAILED_PRECONDITION with NOT_BOUND or ALREADY_BOUND.
        """
        session = self.require_uid(session_uid)
        session.workspace.renew(store)
        self._restart_restore()

    def set_lifetime(self, session_uid: str, remaining: float | None) -> None:
        """Accept calls for this many seconds from now, or for ever if None.

        Raises:
            OperationError: FAILED_PRECONDITION with NOT_BOUND or ALREADY_BOUND.
        """
        self.require_uid(session_uid)
        self._deadline = None if remaining is None else self._monotonic() + remaining

    def require_uid(self, session_uid: str) -> BoundSession:
        """Return the bound session if it has this uid.

        Raises:
            OperationError: FAILED_PRECONDITION with NOT_BOUND or ALREADY_BOUND.
        """
        if self._session is None:
            raise OperationError("FAILED_PRECONDITION", "NOT_BOUND", "no session is bound to this agent", "session_uid")
        if session_uid != self._session.session_uid:
            message = f"this agent serves session {self._session.session_uid}"
            raise OperationError("FAILED_PRECONDITION", "ALREADY_BOUND", message, "session_uid")
        return self._session

    async def greet(self, connection: Runtime, session_uid: str, *, restored: bool) -> None:
        """Configure a runtime that started or restarted, before anything else may use its connection.

        The workspace outlives the runtime's process. A completed restore is never repeated, as it would replace newer
        files.
        """
        self.runtime_uid = session_uid
        if self._binding is None or session_uid == self._binding.session_uid:
            return
        await _configure(connection, self._binding)
        if not restored and self.restoration.phase is RestorePhase.DONE:
            await connection.call("restored", {"session_uid": self._binding.session_uid})

    async def close(self) -> None:
        """Stop the background work of the restore and the workspace."""
        await self.restoration.close()
        if self._session is not None and self._session.stored is not None:
            await self._session.stored.close()

    def _require_serving(self) -> BoundSession:
        session = self.require_bound()
        if self.state is not State.BOUND:
            message = "this session is being suspended or deleted and takes no new work: connect to it again"
            raise OperationError("FAILED_PRECONDITION", "DRAINING", message)
        return session

    def _note_activity(self) -> None:
        self.last_active, self._active_until = time.time(), self._monotonic()

    def _start_session(self, binding: Binding, *, restored: bool) -> None:
        # Without the pod's name: a session that continues in another pod may take over its interrupted push at once.
        writer = f"{binding.session_name} {binding.session_uid}"
        stored = self._build_workspace(binding.workspace, self.runtime, writer) if binding.workspace else None
        name = binding.session_name
        variables = stored.variables_of(name) if stored is not None and binding.keep_variables else None
        self._session = BoundSession(binding.session_uid, name, binding.limits, self.runtime, stored, variables)
        self._binding = binding
        self.state = State.BOUND
        self._note_activity()
        _log.info("bound", extra={"session": binding.session_name, "session_uid": binding.session_uid})
        if restored:
            self.restoration.skip()
        else:
            self._restart_restore()
        if stored is not None:
            stored.start_autosave(self.restoration.wait_done)

    def _renew_from(self, binding: Binding) -> None:
        workspace = binding.workspace
        if self._session and self._session.stored and workspace and workspace.WhichOneof("store") == "s3":
            self._session.stored.renew(workspace.s3)
        self._restart_restore()

    def _restart_restore(self) -> None:
        session = self._session
        if session is not None and self.restoration.phase in {RestorePhase.IDLE, RestorePhase.FAILED}:
            self.restoration.start(session)


async def _configure(runtime: Runtime, binding: Binding) -> dict[str, Any]:
    """Configure the runtime for the binding, and return its answer.

    Raises:
        OperationError: As the runtime reports it. UNAVAILABLE, RUNTIME_UNAVAILABLE: it did not answer in time.
    """
    arguments = {"session_uid": binding.session_uid, "env": binding.env, "limits": binding.limits.as_arguments()}
    async with time_limit():
        return await runtime.call("configure", arguments)
