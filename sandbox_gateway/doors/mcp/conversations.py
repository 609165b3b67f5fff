"""Keeps the tools of each session that clients use, and opens the sessions on their first use."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import NotFound, SandboxError
from sandbox_client.tools import SandboxTools
from sandbox_client.tools.facts import SessionFacts
from sandbox_client.tools.mcp_server.calls import Calls
from sandbox_gateway.backend import NewSession

if TYPE_CHECKING:
    from sandbox_client import AsyncSandbox
    from sandbox_gateway.backend import Backend, Caller

MAX_KEPT: Final = 1_000
"""Sessions whose tools are kept. Those of other sessions are made again, and only forget which variables were lost."""
METADATA: Final = {"door": "mcp"}
_NETWORKS: Final[dict[str, Any]] = {"none": "none", "public": "public", "allowlist": "some"}


class Conversations:
    """The sessions that clients of the protocol use.

    Args:
        backend: The sessions behind the gateway.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()

    def tools(self, caller: Caller, name: str) -> SandboxTools:
        """Return the tools of a session. It need not exist: the first call creates it."""
        return self._keep(caller, name).calls.tools

    async def calls(self, caller: Caller, name: str) -> Calls:
        """Return what runs the calls for a session.

        Args:
            caller: Who calls. A session of another namespace is a different one.
            name: The session's name.

        Raises:
            SandboxError: The backend does not answer.
        """
        kept = self._keep(caller, name)
        try:
            sandbox = await self._backend.connect(caller, name)
        except NotFound:
            sandbox = None
        if kept.opener.sandbox not in (None, sandbox):
            # It was deleted, and there may be another one of the same name.
            kept.opener.sandbox = None
            await kept.calls.tools.close()
        return kept.calls

    def _keep(self, caller: Caller, name: str) -> _Kept:
        # Callers with one namespace share its sessions, but for those that see only their own.
        key = (caller.namespace, caller.name if caller.sees_own_only else "", name)
        kept = self._kept.get(key)
        if kept is None:
            opener = _Opener(self._backend, caller, name)
            kept = self._kept[key] = _Kept(Calls(SandboxTools(opener)), opener)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        # Limits are those of the caller who calls now.
        kept.opener.caller = caller
        return kept


@dataclass(slots=True)
class _Kept:
    calls: Calls
    opener: _Opener


class _Opener:
    """Opens one session for SandboxTools, and creates it if it does not exist.

    Attributes:
        caller: Who calls.
        sandbox: The connection that was opened last, or None.
    """

    def __init__(self, backend: Backend, caller: Caller, name: str) -> None:
        self.caller = caller
        self.sandbox: AsyncSandbox | None = None
        self._backend = backend
        self._name = name

    async def __call__(self) -> Any:
        """Return a connection that closing does not end.

        Raises:
            SandboxError: The session could not be created, or does not answer.
        """
        try:
            sandbox = await self._backend.connect(self.caller, self._name)
        except NotFound:
            new = NewSession(name=self._name, on_timeout="suspend", metadata=METADATA)
            await self._backend.create(self.caller, new)
            sandbox = await self._backend.connect(self.caller, self._name)
        self.sandbox = sandbox
        return _Borrowed(sandbox)

    async def facts(self) -> SessionFacts:
        """Return what is known about the session, or about one that does not exist yet."""
        is_isolated = bool(self.caller.namespace)
        try:
            info = (await self._backend.get(self.caller, self._name)).info
        except SandboxError:
            return SessionFacts(is_isolated=is_isolated)
        return SessionFacts(is_isolated=is_isolated, network=_NETWORKS.get(info.egress, ""))


class _Borrowed:
    """A connection that belongs to the backend, so `close` leaves it open."""

    def __init__(self, sandbox: AsyncSandbox) -> None:
        object.__setattr__(self, "_sandbox", sandbox)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._sandbox, name, value)

    async def close(self) -> None:
        """Do nothing."""
