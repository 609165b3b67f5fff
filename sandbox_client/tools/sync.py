"""The tools for code without asyncio, derived from SandboxTools as the SDK derives its synchronous API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_client.sync.derive import OwningProxy, blocking
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_client.tools.toolset import SandboxTools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_client.sandbox import AsyncSandbox


class BlockingSandboxTools(OwningProxy[SandboxTools]):
    """SandboxTools for code without asyncio. Use it as a context manager, or call `close`."""

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
