"""Opens one session by its name for the tools, in a cluster or on this machine."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import NotFound, SandboxError
from sandbox_client.local.address import local_name
from sandbox_client.sandbox import AsyncSandbox, note_wake
from sandbox_client.tools.facts import SessionFacts, read_facts
from sandbox_client.tools.openers.local import NamedLocalSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_client.cluster.api import ClusterOptions

_FACTS_SECONDS: Final = 5.0
"""Seconds to read the facts of a session of the cluster. An MCP client waits for them when it connects."""
_log = logging.getLogger(__name__)


def cluster_sessions(
    name: str,
    options: ClusterOptions | None = None,
    *,
    template: str = "default",
    timeout: float = 120.0,
    keep_variables: bool = False,
) -> Callable[[], Awaitable[AsyncSandbox]]:
    """Return an opener of one session of the cluster, or of `local/NAME` on this machine, for SandboxTools.

    The opener creates the session if it does not exist, and resumes it if it is suspended.

    Args:
        name: The SandboxSession's name, or `local/NAME`.
        options: The cluster and namespace.
        template: The SandboxTemplate, if the session is created.
        timeout: Seconds to wait until it is Ready.
        keep_variables: Whether a session that is created here keeps Python variables when it is suspended. An existing
            session follows its own `lifecycle.keepVariables`.
    """
    if (local := local_name(name)) is not None:
        return NamedLocalSession(local, options, timeout=timeout, keep_variables=keep_variables)
    spec = {"lifecycle": {"keepVariables": True}} if keep_variables else {}

    async def facts() -> SessionFacts:
        from sandbox_client.cluster.api import ClusterOptions  # noqa: PLC0415 - slow to import
        from sandbox_client.tools.openers.session_specs import read_specs  # noqa: PLC0415 - same

        try:
            async with asyncio.timeout(_FACTS_SECONDS):
                return read_facts(*await read_specs(options or ClusterOptions(), name, template))
        except (SandboxError, TimeoutError):
            # The first call reports that the cluster cannot be reached.
            return read_facts({}, {})

    async def open_session() -> AsyncSandbox:
        from sandbox_client.cluster.sessions import ClusterOptions, SessionApi, SessionRequest  # noqa: PLC0415 - slow to import
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        cluster = await SessionApi.open(options or ClusterOptions())
        try:
            was_suspended, created = await cluster.wake(name, timeout=timeout, on_phase=_log.debug), None
        except NotFound:
            was_suspended, created = False, await cluster.create(SessionRequest(name, template, spec=spec))
        session = await cluster.wait_ready(name, timeout=timeout, on_phase=_log.debug, since=created)
        waker = await Waker.open(cluster, name, session, timeout=timeout, on_phase=_log.debug)
        sandbox = AsyncSandbox(waker.endpoint, name=name, waker=waker, control=waker.control)
        if was_suspended:
            await note_wake(sandbox)
        return sandbox

    open_session.facts = facts  # type: ignore[attr-defined]
    return open_session
