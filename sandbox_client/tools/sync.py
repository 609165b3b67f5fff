"""The tools for code that is not async, derived as the SDK derives its sync face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sandbox_client.sync.derive import SyncProxy, blocking
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_client.tools.toolset import SandboxTools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from sandbox_client.sandbox import AsyncSandbox


class BlockingSandboxTools(SyncProxy[SandboxTools]):
    """SandboxTools for code that is not async; see there. Use it as a context manager, or call `close`."""

    def __init__(self, open_session: Callable[[], Awaitable[AsyncSandbox]]) -> None:
        super().__init__(SandboxTools(open_session), LoopThread())

    call = blocking(SandboxTools.call)
    execute_code = blocking(SandboxTools.execute_code)
    execute_command = blocking(SandboxTools.execute_command)
    file_operations = blocking(SandboxTools.file_operations)
    ci_push_to_workspace = blocking(SandboxTools.ci_push_to_workspace)
    workspace_read = blocking(SandboxTools.workspace_read)
    workspace_list = blocking(SandboxTools.workspace_list)
    workspace_write = blocking(SandboxTools.workspace_write)

    def close(self) -> None:
        """End the session, as SandboxTools.close does. Idempotent."""
        if self._loop.is_closed:
            return
        try:
            self._loop.run(self._core.close())
        finally:
            self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
