"""Opens a session on this machine by its name for the tools."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import Conflict, NotFound
from sandbox_client.sandbox import AsyncSandbox

if TYPE_CHECKING:
    from sandbox_client.cluster.api import ClusterOptions

_CREATE_ATTEMPTS: Final = 3


class NamedLocalSession:
    """A callable that connects to `local/NAME`. It creates the session if there is none, and resumes a suspended one.

    Args:
        name: The session's name, without `local/`.
        options: Options of a cluster, of which none may be set.
        timeout: Seconds to wait while another program changes the session.
        keep_variables: Whether a session that is created here keeps Python variables when it is suspended.
    """

    def __init__(
        self, name: str, options: ClusterOptions | None = None, *, timeout: float, keep_variables: bool
    ) -> None:
        self._name = name
        self._options: dict[str, Any] = {} if options is None else dataclasses.asdict(options)
        self._timeout = timeout
        self._keep_variables = keep_variables

    async def __call__(self) -> AsyncSandbox:
        """Return a sandbox. Errors as for `AsyncSandbox.connect` and `create_local`."""
        for _ in range(_CREATE_ATTEMPTS):
            with contextlib.suppress(NotFound):
                return await self._connect()
            # Another program may create it at the same moment.
            with contextlib.suppress(Conflict):
                return await AsyncSandbox.create_local(self._name, keep_variables=self._keep_variables)
        return await self._connect()

    async def _connect(self) -> AsyncSandbox:
        return await AsyncSandbox.connect(f"local/{self._name}", timeout=self._timeout, **self._options)
