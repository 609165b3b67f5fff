"""The tools for code without asyncio, derived from SandboxTools as the SDK derives its synchronous API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sandbox_client.sync.derive import OwningProxy, blocking
from sandbox_client.sync.loop_thread import LoopThread
from sandbox_client.tools.limits import DEFAULT_MAX_IMAGE_EDGE, DEFAULT_MAX_TEXT
from sandbox_client.tools.toolset import SandboxTools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox_client.sandbox import AsyncSandbox


class BlockingSandboxTools(OwningProxy[SandboxTools]):
    """SandboxTools for code without asyncio. Use it as a context manager, or call `close`.

    Arguments and errors are those of SandboxTools.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[AsyncSandbox]],
        *,
        max_text: int | None = DEFAULT_MAX_TEXT,
        max_image_edge: int | None = DEFAULT_MAX_IMAGE_EDGE,
        on_cancel: Literal["interrupt", "detach"] = "interrupt",
    ) -> None:
        tools = SandboxTools(open_session, max_text=max_text, max_image_edge=max_image_edge, on_cancel=on_cancel)
        super().__init__(tools, LoopThread())

    facts = blocking(SandboxTools.facts)
    specs = blocking(SandboxTools.specs)
    instructions = blocking(SandboxTools.instructions)
    call = blocking(SandboxTools.call)
    execute_code = blocking(SandboxTools.execute_code)
    execute_command = blocking(SandboxTools.execute_command)
    file_operations = blocking(SandboxTools.file_operations)
    ci_push_to_workspace = blocking(SandboxTools.ci_push_to_workspace)
    workspace_read = blocking(SandboxTools.workspace_read)
    workspace_list = blocking(SandboxTools.workspace_list)
    workspace_write = blocking(SandboxTools.workspace_write)
